use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::*;

fn deployment(name: &str, ports: Value, annotations: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "annotations": annotations },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name, "tier": "x" } },
                "spec": { "containers": [{
                    "name": "main", "image": "i", "ports": ports,
                    "readinessProbe": { "httpGet": { "port": "health" } }
                }] }
            }
        }
    })
}

fn service(name: &str, ports: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "selector": { "app": name }, "ports": ports }
    })
}

fn shop() -> Objects {
    let mut objects = Objects::default();
    for object in [
        deployment("client", json!([]), json!({ "handfast.dev/calls": "web" })),
        deployment(
            "web",
            json!([
                { "name": "tls", "containerPort": 8443 },
                { "name": "health", "containerPort": 9000 },
                { "name": "dns", "containerPort": 5353, "protocol": "UDP" }
            ]),
            json!({}),
        ),
        deployment("stranger", json!([]), json!({})),
        service("web", json!([{ "name": "https", "port": 443, "targetPort": "tls" }])),
    ] {
        objects.add(&object, "shop").unwrap();
    }
    objects
}

fn policies(objects: Objects, edges: &[&str]) -> Vec<Policy> {
    let edges: Vec<Edge> = edges.iter().map(|edge| edge.parse().unwrap()).collect();
    generate(&resolve(objects, &edges, "shop").unwrap(), &Options::default())
}

fn named<'a>(policies: &'a [Policy], name: &str) -> &'a NetworkPolicy {
    &policies.iter().find(|policy| policy.name() == name).unwrap().policy
}

fn error(objects: Objects, edge: &str) -> String {
    let edges: Vec<Edge> = vec![edge.parse().unwrap()];
    resolve(objects, &edges, "shop").unwrap_err().to_string()
}

#[test]
fn an_annotation_opens_both_directions_on_the_pods_port_and_nothing_else() {
    let policies = policies(shop(), &[]);
    let names: Vec<&str> = policies.iter().map(Policy::name).collect();
    assert_eq!(
        names,
        ["handfast-client-egress", "handfast-web-ingress", "handfast-allow-dns", "handfast-default-deny"]
    );
    let ingress = serde_json::to_value(named(&policies, "handfast-web-ingress")).unwrap();
    assert_eq!(
        ingress["spec"],
        json!({
            "podSelector": { "matchLabels": { "app": "web" } },
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{ "podSelector": { "matchLabels": { "app": "client" } } }],
                "ports": [{ "port": 8443, "protocol": "TCP" }]
            }]
        })
    );
    let egress = serde_json::to_value(named(&policies, "handfast-client-egress")).unwrap();
    assert_eq!(egress["spec"]["egress"][0]["to"][0]["podSelector"]["matchLabels"], json!({ "app": "web" }));
    assert_eq!(egress["spec"]["egress"][0]["ports"], json!([{ "port": 8443, "protocol": "TCP" }]));
    let deny = serde_json::to_value(named(&policies, DEFAULT_DENY)).unwrap();
    assert_eq!(deny["spec"], json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }));
}

#[test]
fn dns_is_allowed_at_the_clusters_dns_only() {
    let policies = policies(shop(), &[]);
    let dns = serde_json::to_value(named(&policies, "handfast-allow-dns")).unwrap();
    assert_eq!(
        dns["spec"]["egress"],
        json!([{
            "ports": [{ "port": 53, "protocol": "UDP" }, { "port": 53, "protocol": "TCP" }],
            "to": [{
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
                "podSelector": { "matchLabels": { "k8s-app": "kube-dns" } }
            }]
        }])
    );
}

#[test]
fn the_order_and_the_number_of_times_do_not_matter() {
    let forward = policies(shop(), &["stranger=web:443", "client=web"]);
    let mut objects = shop();
    objects.workloads.reverse();
    let backward = policies(objects, &["client=web:https", "client=web:8443", "stranger=web:https"]);
    let text = |policies: &[Policy]| {
        policies.iter().map(|p| serde_json::to_string(&p.policy).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(text(&forward), text(&backward));
}

#[test]
fn another_namespace_is_named_by_the_label_that_only_the_api_server_sets() {
    let mut objects = shop();
    let mut other = deployment("batch", json!([]), json!({ "handfast.dev/calls": "shop/web:https" }));
    other["metadata"]["namespace"] = json!("jobs");
    objects.add(&other, "shop").unwrap();
    let policies = policies(objects, &[]);
    let ingress = serde_json::to_value(named(&policies, "handfast-web-ingress")).unwrap();
    let peers = ingress["spec"]["ingress"][0]["from"].as_array().unwrap();
    assert!(peers.contains(&json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "jobs" } },
        "podSelector": { "matchLabels": { "app": "batch" } }
    })));
    let denied: Vec<&str> =
        policies.iter().filter(|p| p.name() == DEFAULT_DENY).map(Policy::namespace).collect();
    assert_eq!(denied, ["jobs", "shop"]);
}

#[test]
fn probes_from_nodes_are_allowed_only_when_asked_and_only_on_their_ports() {
    let graph = resolve(shop(), &[], "shop").unwrap();
    let policies = generate(&graph, &Options { nodes: vec!["192.0.2.0/24".to_owned()] });
    let ingress = serde_json::to_value(named(&policies, "handfast-web-ingress")).unwrap();
    assert_eq!(
        ingress["spec"]["ingress"][1],
        json!({
            "from": [{ "ipBlock": { "cidr": "192.0.2.0/24" } }],
            "ports": [{ "port": 9000, "protocol": "TCP" }]
        })
    );
}

#[test]
fn addresses_stand_for_what_is_outside() {
    let policies = policies(shop(), &["0.0.0.0/0=web", "web=203.0.113.0/24:443", "web=[2001:db8::/32]:443"]);
    let ingress = serde_json::to_value(named(&policies, "handfast-web-ingress")).unwrap();
    assert!(ingress.to_string().contains("0.0.0.0/0"));
    let egress = serde_json::to_value(named(&policies, "handfast-web-egress")).unwrap();
    assert_eq!(egress["spec"]["egress"][0]["to"][0], json!({ "ipBlock": { "cidr": "2001:db8::/32" } }));
    assert_eq!(egress["spec"]["egress"][0]["to"][1], json!({ "ipBlock": { "cidr": "203.0.113.0/24" } }));
}

#[test]
fn what_is_declared_wrongly_is_said_with_what_there_is() {
    let text = error(shop(), "client=wep");
    assert!(text.contains("\"wep\"") && text.contains("client, stranger, web"), "{text}");
    let text = error(shop(), "client=web:444");
    assert!(text.contains("has no port 444; it has: https TCP/443"), "{text}");
    let text = error(shop(), "client=stranger");
    assert!(text.contains("does not declare any port"), "{text}");
    for (edge, why) in [
        ("web", "CLIENT=SERVER"),
        ("a:1=web", "only the server has a port"),
        ("10.0.0.1/8=web", "bits set behind its prefix"),
        ("10.0.0.0/33=web", "prefix length"),
        ("web=203.0.113.0/24", "need a port"),
        ("client=web:", "is missing"),
        ("client=web:0", "0 is no port"),
        ("client=We b", "no name"),
        ("client=web:99999", "no port"),
        ("1.2.3.4/32=5.6.7.8/32:1", "has to be a workload"),
    ] {
        let text = edge.parse::<Edge>().unwrap_err().to_string();
        assert!(text.contains(why), "{edge}: {text}");
    }
}

#[test]
fn what_a_policy_cannot_do_is_said() {
    let mut objects = shop();
    let mut same = deployment("canary", json!([]), json!({}));
    same["spec"]["template"]["metadata"]["labels"]["app"] = json!("client");
    objects.add(&same, "shop").unwrap();
    let mut host = deployment("agent", json!([]), json!({}));
    host["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    objects.add(&host, "shop").unwrap();
    let mut public = service("public", json!([{ "port": 443 }]));
    public["spec"]["type"] = json!("LoadBalancer");
    public["spec"]["selector"] = json!({ "app": "web" });
    objects.add(&public, "shop").unwrap();
    let warnings = resolve(objects, &[], "shop").unwrap().warnings.join("\n");
    assert!(warnings.contains("allowed to Deployment shop/client is allowed to Deployment shop/canary too"));
    assert!(warnings.contains("Deployment shop/agent uses the node's network"));
    assert!(warnings.contains("--edge 0.0.0.0/0=public"));
}

#[test]
fn every_kind_of_workload_is_read_and_those_that_belong_to_another_are_not() {
    let pod = |labels: Value| json!({ "metadata": { "labels": labels }, "spec": { "containers": [] } });
    let mut objects = Objects::default();
    let list = json!({ "kind": "List", "items": [
        { "kind": "Pod", "metadata": { "name": "p", "labels": { "a": "1" } }, "spec": { "containers": [] } },
        { "kind": "Job", "metadata": { "name": "j" }, "spec": { "template": pod(json!({})) } },
        { "kind": "CronJob", "metadata": { "name": "c" },
          "spec": { "jobTemplate": { "spec": { "template": pod(json!({ "a": "2" })) } } } },
        { "kind": "StatefulSet", "metadata": { "name": "s" }, "spec": {
            "selector": { "matchLabels": { "a": "3" } }, "template": pod(json!({ "a": "3" })) } },
        { "kind": "DaemonSet", "metadata": { "name": "d" }, "spec": {
            "selector": { "matchLabels": { "a": "4" } }, "template": pod(json!({ "a": "4" })) } },
        { "kind": "Pod", "metadata": { "name": "owned", "labels": { "a": "3" }, "ownerReferences": [
            { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "u", "controller": true }] },
          "spec": { "containers": [] } },
        { "kind": "ConfigMap", "metadata": { "name": "x" } }
    ]});
    objects.add(&list, "n").unwrap();
    objects.sort();
    let names: Vec<String> = objects.workloads.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["CronJob n/c", "DaemonSet n/d", "Job n/j", "Pod n/p", "StatefulSet n/s"]);
    let job = &objects.workloads[2];
    assert_eq!(job.labels["batch.kubernetes.io/job-name"], "j");
    let bare = json!({ "kind": "Pod", "metadata": { "name": "p" }, "spec": { "containers": [] } });
    assert!(objects.add(&bare, "n").unwrap_err().to_string().contains("no labels"));
    let wrong = json!({ "kind": "Pod", "metadata": { "name": "p" }, "spec": { "containers": 5 } });
    assert!(objects.add(&wrong, "n").is_err());
}

#[test]
fn two_workloads_of_one_name_have_policies_of_their_own() {
    let mut objects = shop();
    let mut job = deployment("client", json!([]), json!({ "handfast.dev/calls": "web" }));
    job["kind"] = json!("StatefulSet");
    job["spec"]["selector"]["matchLabels"] = json!({ "tier": "x" });
    objects.add(&job, "shop").unwrap();
    let policies = policies(objects, &[]);
    let names: Vec<&str> = policies.iter().map(Policy::name).filter(|n| n.ends_with("egress")).collect();
    assert_eq!(names, ["handfast-deployment-client-egress", "handfast-statefulset-client-egress"]);
}

#[test]
fn names_never_grow_beyond_what_the_api_takes() {
    let long = "a".repeat(253);
    let mut objects = Objects::default();
    objects.add(&deployment(&long, json!([{ "containerPort": 1 }]), json!({})), "shop").unwrap();
    for policy in policies(objects, &[&format!("{long}={long}")]) {
        assert!(policy.name().len() <= 253);
    }
}

#[test]
fn the_sidecars_port_is_opened_before_and_after_the_manifest_is_wired() {
    let ports =
        json!([{ "name": "plain", "containerPort": 8080 }, { "name": "health", "containerPort": 9000 }]);
    for (target, annotation) in
        [(json!("plain"), "8443:8080"), (json!(8443), "8443:8080, calls"), (json!(8080), "8443:8080")]
    {
        let mut objects = Objects::default();
        let mut calls = json!({ "handfast.dev/sidecar": annotation });
        if annotation.contains("calls") {
            calls["handfast.dev/calls"] = json!("");
        }
        for object in [
            deployment("client", json!([]), json!({ "handfast.dev/calls": "web" })),
            deployment("web", ports.clone(), calls),
            service("web", json!([{ "name": "http", "port": 80, "targetPort": target }])),
        ] {
            objects.add(&object, "shop").unwrap();
        }
        let graph = resolve(objects, &[], "shop").unwrap();
        let opened: Vec<u16> = graph.allowed.iter().map(|allowed| allowed.port.number).collect();
        assert_eq!(opened, [8443], "{target}");
    }
}
