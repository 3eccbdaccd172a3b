//! Objects of a cluster, and what follows from them.

use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::codes::mesh as codes;
use model::mesh::{AppProtocol, Mode, Port, PortModes, Tunnel, Workload, WorkloadKind};
use serde_json::{Value, json};

use super::{Custom, Index, Objects, Options, Problem, index};

pub(super) fn custom(namespace: &str, name: &str, spec: Value) -> Custom {
    let metadata =
        ObjectMeta { name: Some(name.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() };
    Custom { metadata, spec }
}

pub(super) fn namespace(name: &str, in_mesh: bool) -> Namespace {
    let labels = if in_mesh { json!({ "handfast.dev/mesh": "enabled" }) } else { json!({}) };
    serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } })).unwrap()
}

/// A pod that is ready, with a named port, and an address that comes of its name.
pub(super) fn pod(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Pod {
    let labels: Value = labels.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect();
    let ip = name.bytes().fold(0_u8, u8::wrapping_add);
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": { "nodeName": "n1", "serviceAccountName": name,
                  "containers": [{ "name": "c", "ports": [{ "name": "web", "containerPort": 8080 }] }] },
        "status": { "podIP": format!("10.244.0.{ip}"), "phase": "Running",
                    "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
    .unwrap()
}

fn changed(mut pod: Pod, change: impl FnOnce(&mut Value)) -> Pod {
    let mut json = serde_json::to_value(&pod).unwrap();
    change(&mut json);
    pod = serde_json::from_value(json).unwrap();
    pod
}

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": spec }))
        .unwrap()
}

fn usual() -> Service {
    service(json!({ "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "selector": { "app": "web" },
        "ports": [{ "name": "http-web", "port": 80, "targetPort": "web" }, { "port": 53, "protocol": "UDP" }] }))
}

fn slice(endpoints: Value) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": { "name": "web-1", "namespace": "shop", "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{ "name": "http-web", "port": 9090, "protocol": "TCP" }],
    }))
    .unwrap()
}

fn objects(pods: Vec<Pod>) -> Objects {
    Objects { namespaces: vec![namespace("shop", true)], services: vec![usual()], pods, ..Objects::default() }
}

fn run(objects: &Objects) -> Index {
    index(objects, &Options::default())
}

fn one(objects: &Objects) -> Workload {
    let found = run(objects);
    assert_eq!(found.problems, []);
    let [workload] = &found.workloads[..] else { panic!("{:?}", found.workloads) };
    workload.clone()
}

fn ports(workload: &Workload) -> Vec<Port> {
    workload.services.values().flatten().copied().collect()
}

#[test]
fn a_pod_of_the_mesh_is_reached_through_its_service() {
    let found = run(&objects(vec![pod("shop", "web", &[("app", "web")])]));
    let web = &found.workloads[0];
    assert_eq!(web.uid, "Kubernetes//Pod/shop/web");
    assert_eq!(web.identity().unwrap().to_string(), "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(ports(web), [Port { service: 80, target: 8080, protocol: AppProtocol::Http11 }]);
    assert_eq!((web.node.as_str(), web.healthy, web.tunnel), ("n1", true, Tunnel::Hbone));
    assert_eq!(found.services[0].name.to_string(), "shop/web.shop.svc.cluster.local");
    assert_eq!(found.services[0].ports, [Port { service: 80, target: 0, protocol: AppProtocol::Http11 }]);
    let world = found.world();
    assert!(world.at("10.96.0.7".parse().unwrap()).is_some());
    assert!(world.service_called("web", "shop").is_some());
}

#[test]
fn selectors_readiness_and_the_ends_of_pods_are_seen() {
    let web = || pod("shop", "web", &[("app", "web")]);
    let other = pod("shop", "other", &[("app", "other")]);
    assert!(one(&objects(vec![other])).services.is_empty());
    // A selector is for its own namespace.
    assert!(one(&objects(vec![pod("bank", "web", &[("app", "web")])])).services.is_empty());
    let unready = changed(web(), |pod| pod["status"]["conditions"][0]["status"] = "False".into());
    let workload = one(&objects(vec![unready.clone()]));
    assert!(!workload.healthy && workload.services.len() == 1);
    let ended = changed(web(), |pod| pod["status"]["phase"] = "Succeeded".into());
    assert!(run(&objects(vec![ended])).workloads.is_empty());
    let ending = changed(web(), |pod| pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into());
    assert!(!one(&objects(vec![ending])).healthy);
    let waiting = changed(web(), |pod| pod["status"] = json!({ "phase": "Pending" }));
    let workload = one(&objects(vec![waiting]));
    assert!(workload.addresses.is_empty() && !workload.healthy);
    let mut published = objects(vec![unready]);
    published.services = vec![service(json!({ "clusterIP": "None", "publishNotReadyAddresses": true,
        "selector": { "app": "web" }, "ports": [{ "port": 80 }] }))];
    assert!(one(&published).healthy);
    assert!(run(&published).services[0].addresses.is_empty());
    // A Service without a selector selects nobody, not everybody.
    let mut open = objects(vec![web()]);
    open.services = vec![service(json!({ "clusterIP": "10.96.0.7", "ports": [{ "port": 80 }] }))];
    assert!(one(&open).services.is_empty());
}

#[test]
fn what_a_pod_calls_opaque_is_not_looked_into_whatever_its_service_declares() {
    let spoken = |annotation: Value| {
        let web = pod("shop", "web", &[("app", "web")]);
        let web = changed(web, |pod| pod["metadata"]["annotations"] = annotation);
        ports(&one(&objects(vec![web])))[0].protocol
    };
    assert_eq!(spoken(json!({})), AppProtocol::Http11);
    assert_eq!(spoken(json!({ "handfast.dev/opaque-ports": "7000, 8080" })), AppProtocol::Tcp);
    assert_eq!(
        spoken(json!({ "handfast.dev/opaque-ports": "80,x" })),
        AppProtocol::Http11,
        "the pod's ports"
    );
}

#[test]
fn slices_say_who_is_behind_a_service_where_there_are_any() {
    let mut all = objects(vec![pod("shop", "web", &[("app", "web")]), pod("shop", "two", &[("app", "web")])]);
    let ready = json!({ "addresses": ["10.244.0.1"], "conditions": { "ready": true },
                        "targetRef": { "kind": "Pod", "name": "two", "namespace": "shop" } });
    all.endpoint_slices = vec![slice(json!([ready]))];
    let found = run(&all);
    let (two, web) = (&found.workloads[0], &found.workloads[1]);
    assert_eq!(ports(two), [Port { service: 80, target: 9090, protocol: AppProtocol::Http11 }]);
    assert!(two.healthy && web.services.is_empty());
    let unready = json!({ "addresses": ["10.244.0.1"], "conditions": { "ready": false },
                          "targetRef": { "kind": "Pod", "name": "two" } });
    all.endpoint_slices = vec![slice(json!([unready]))];
    let found = run(&all);
    assert!(!found.workloads[0].healthy && found.workloads[0].services.len() == 1);
    // An empty slice is an answer.
    all.endpoint_slices = vec![slice(Value::Null)];
    assert!(run(&all).workloads.iter().all(|workload| workload.services.is_empty()));
}

#[test]
fn an_endpoint_that_is_no_pod_is_called_as_it_is_and_takes_nobodys_address() {
    let mut all = objects(vec![pod("shop", "web", &[("app", "web")])]);
    let web = run(&all).workloads[0].addresses[0];
    let bank: Service = serde_json::from_value(json!({
        "metadata": { "name": "ledger", "namespace": "bank" },
        "spec": { "clusterIP": "10.96.0.9", "ports": [{ "port": 80 }] } }))
    .unwrap();
    all.services.push(bank);
    all.endpoint_slices = vec![slice(json!([
        { "addresses": [web.to_string()] },
        { "addresses": ["10.96.0.9"] },
        { "addresses": ["192.0.2.7"], "conditions": { "ready": false } },
        { "addresses": ["192.0.2.8"], "targetRef": { "kind": "Pod", "name": "gone" } },
        { "addresses": ["no address"] },
    ]))];
    let found = run(&all);
    let uids: Vec<&str> = found.workloads.iter().map(|workload| workload.uid.as_str()).collect();
    assert_eq!(
        uids,
        [
            "Kubernetes//Pod/shop/web",
            "Kubernetes/discovery.k8s.io/EndpointSlice/shop/web-1/10.96.0.9",
            "Kubernetes/discovery.k8s.io/EndpointSlice/shop/web-1/192.0.2.7",
        ]
    );
    assert_eq!(found.workloads[0].services.len(), 1);
    assert!(found.workloads[1].healthy && !found.workloads[2].healthy);
    assert_eq!(found.workloads[1].tunnel, Tunnel::None);
    let owner = found.world().at("10.96.0.9".parse().unwrap()).unwrap();
    assert!(matches!(owner, model::mesh::Owner::Service(service) if service.short == "ledger"));
}

#[test]
fn being_in_the_mesh_is_chosen_by_the_namespace_and_left_by_the_pod() {
    let web = || pod("shop", "web", &[("app", "web")]);
    assert_eq!(one(&objects(vec![web()])).tunnel, Tunnel::Hbone);
    // Carried by its node's proxy: that is the mesh all the same, and no mistake.
    let mut by_node = objects(vec![web()]);
    for namespace in &mut by_node.namespaces {
        let labels = namespace.metadata.labels.get_or_insert_default();
        labels.insert("handfast.dev/mesh".to_owned(), "node".to_owned());
    }
    let found = run(&by_node);
    assert!(found.workloads[0].tunnel == Tunnel::Hbone && found.problems.is_empty(), "{:?}", found.problems);
    for field in ["labels", "annotations"] {
        let out = changed(web(), |pod| pod["metadata"][field]["handfast.dev/mesh"] = "disabled".into());
        assert_eq!(one(&objects(vec![out])).tunnel, Tunnel::None, "{field}");
        let odd = changed(web(), |pod| pod["metadata"][field]["handfast.dev/mesh"] = "off".into());
        let found = run(&objects(vec![odd]));
        assert_eq!(found.workloads[0].tunnel, Tunnel::Hbone);
        assert_eq!(found.problems[0].code, &codes::MESH_ANNOTATION);
    }
    let node = changed(web(), |pod| pod["spec"]["hostNetwork"] = true.into());
    let workload = one(&objects(vec![node]));
    assert!(workload.host_network && workload.tunnel == Tunnel::None);
    let mut plain = objects(vec![web()]);
    plain.namespaces = vec![namespace("shop", false), namespace("bank", true)];
    assert_eq!(one(&plain).tunnel, Tunnel::None);
    plain.namespaces = vec![];
    assert_eq!(one(&plain).tunnel, Tunnel::None);
}

#[test]
fn what_the_mesh_and_the_cluster_need_to_start_is_never_in_the_mesh_and_a_label_there_is_told() {
    let cases = [("kube-system", "node"), ("handfast-system", "node"), ("handfast-node", "node")];
    for (of, label) in cases.into_iter().chain([("kube-system", "enabled")]) {
        let mut named = namespace(of, true);
        named.metadata.labels.get_or_insert_default().insert("handfast.dev/mesh".into(), label.into());
        let objects =
            Objects { namespaces: vec![named], pods: vec![pod(of, "dns", &[])], ..Objects::default() };
        for injected in [true, false] {
            let found = index(&objects, &Options { injected, ..Options::default() });
            assert_eq!(found.workloads[0].tunnel, Tunnel::None, "{of} {label}");
            let [problem] = &found.problems[..] else { panic!("{of} {label}: {:?}", found.problems) };
            assert_eq!((problem.kind, &*problem.name, problem.closes), ("Namespace", of, false));
            assert!(problem.message.contains("never in the mesh"), "{problem}");
        }
    }
}

#[test]
fn what_is_spoken_on_a_port_is_read_as_istio_reads_it() {
    for (port, spoken) in [
        (json!({ "port": 80, "name": "http" }), AppProtocol::Http11),
        (json!({ "port": 80, "name": "HTTP-web" }), AppProtocol::Http11),
        (json!({ "port": 80, "name": "http2-x" }), AppProtocol::Http2),
        (json!({ "port": 80, "name": "grpc-x" }), AppProtocol::Grpc),
        (json!({ "port": 80, "name": "grpc-web" }), AppProtocol::Unknown),
        (json!({ "port": 80, "name": "tcp-x" }), AppProtocol::Tcp),
        (json!({ "port": 80, "name": "tls-x" }), AppProtocol::Tls),
        (json!({ "port": 80, "name": "https" }), AppProtocol::Tls),
        (json!({ "port": 80, "name": "httpx" }), AppProtocol::Unknown),
        (json!({ "port": 80, "name": "http", "appProtocol": "tcp" }), AppProtocol::Tcp),
        (json!({ "port": 80, "appProtocol": "kubernetes.io/h2c" }), AppProtocol::Http2),
        (json!({ "port": 80, "appProtocol": "kubernetes.io/wss" }), AppProtocol::Tls),
        (json!({ "port": 3306 }), AppProtocol::Tcp),
        (json!({ "port": 80 }), AppProtocol::Unknown),
    ] {
        let spec = json!({ "clusterIP": "10.96.0.7", "ports": [port] });
        let found = run(&Objects { services: vec![service(spec)], ..Objects::default() });
        assert_eq!(found.services[0].ports[0].protocol, spoken, "{port}");
    }
}

#[test]
fn a_workload_is_named_after_what_made_its_pods() {
    let owned = |kind: &str, name: &str| {
        changed(pod("shop", "web", &[("pod-template-hash", "abc12")]), |pod| {
            pod["metadata"]["ownerReferences"] =
                json!([{ "kind": kind, "name": name, "controller": true, "apiVersion": "x", "uid": "u" }]);
        })
    };
    for (kind, name, expected) in [
        ("ReplicaSet", "web-front-abc12", (WorkloadKind::Deployment, "web-front")),
        ("ReplicaSet", "odd", (WorkloadKind::Pod, "odd")),
        ("StatefulSet", "db", (WorkloadKind::Pod, "db")),
        ("Job", "once", (WorkloadKind::Job, "once")),
        ("Job", "nightly-28123456", (WorkloadKind::CronJob, "nightly")),
        ("Job", "report-2026", (WorkloadKind::Job, "report-2026")),
    ] {
        let found = one(&objects(vec![owned(kind, name)]));
        assert_eq!((found.kind, found.workload_name.as_str()), expected, "{kind} {name}");
    }
    assert_eq!(one(&objects(vec![pod("shop", "web", &[])])).workload_name, "web");
}

#[test]
fn an_application_is_called_as_its_labels_say() {
    for (labels, expected) in [
        (&[][..], ("web", "latest")),
        (&[("app", "front"), ("version", "v1")], ("front", "v1")),
        (&[("app", "a"), ("app.kubernetes.io/name", "b"), ("app.kubernetes.io/version", "2")], ("b", "2")),
        (
            &[
                ("app.kubernetes.io/name", "b"),
                ("service.istio.io/canonical-name", "c"),
                ("version", "v1"),
                ("service.istio.io/canonical-revision", "3"),
            ],
            ("c", "3"),
        ),
        (&[("app", "")], ("web", "latest")),
    ] {
        let found = one(&objects(vec![pod("shop", "web", labels)]));
        assert_eq!((found.canonical_name.as_str(), found.canonical_revision.as_str()), expected);
        assert_eq!(found.cluster, "Kubernetes");
    }
}

/// The modes of the pod `web` under these, in the order of their age, and what is wrong.
fn inbound(peers: &[(&str, &str, Value)]) -> (PortModes, Vec<Problem>) {
    let mut all = objects(vec![pod("shop", "web", &[("app", "web")])]);
    for (age, (namespace, name, spec)) in peers.iter().enumerate() {
        let mut peer = custom(namespace, name, spec.clone());
        let metadata = json!({ "creationTimestamp": format!("2026-01-01T00:00:{age:02}Z") });
        let aged: ObjectMeta = serde_json::from_value(metadata).unwrap();
        peer.metadata.creation_timestamp = aged.creation_timestamp;
        all.peer_authentications.insert(0, peer);
    }
    let found = run(&all);
    (found.workloads[0].modes.inbound.clone(), found.problems)
}

#[test]
fn the_narrowest_peer_authentication_that_says_something_counts() {
    let mode = |mode: &str| json!({ "mtls": { "mode": mode } });
    let of_web = |mode: &str, ports: Value| json!({ "selector": { "matchLabels": { "app": "web" } }, "mtls": { "mode": mode }, "portLevelMtls": ports });
    let root = "handfast-system";
    let strict_but = |port, mode| PortModes { all: Mode::Strict, ports: [(port, mode)].into() };
    for (peers, expected) in [
        (vec![], Mode::Permissive.into()),
        (vec![(root, "a", mode("STRICT"))], Mode::Strict.into()),
        (vec![("bank", "a", mode("STRICT"))], Mode::Permissive.into()),
        (vec![(root, "a", mode("STRICT")), ("shop", "b", mode("DISABLE"))], Mode::Disabled.into()),
        (vec![(root, "a", mode("STRICT")), ("shop", "b", mode("UNSET"))], Mode::Strict.into()),
        (vec![(root, "a", mode("STRICT")), ("shop", "b", json!({}))], Mode::Strict.into()),
        (
            vec![
                (root, "a", mode("STRICT")),
                ("shop", "b", of_web("UNSET", json!({ "80": { "mode": "PERMISSIVE" } }))),
            ],
            strict_but(80, Mode::Permissive),
        ),
        (
            vec![(
                "shop",
                "b",
                of_web("STRICT", json!({ "80": { "mode": "DISABLE" }, "81": { "mode": "UNSET" } })),
            )],
            strict_but(80, Mode::Disabled),
        ),
    ] {
        let (found, problems) = inbound(&peers);
        assert_eq!((found, problems), (expected, vec![]), "{peers:?}");
    }
}

#[test]
fn the_oldest_of_two_counts_and_the_other_is_named() {
    let mode = |mode: &str| json!({ "mtls": { "mode": mode } });
    let (modes, problems) = inbound(&[("shop", "z", mode("STRICT")), ("shop", "a", mode("DISABLE"))]);
    assert_eq!(modes, Mode::Strict.into());
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(
        (problem.code, problem.name.as_str(), problem.closes),
        (&codes::PEER_AUTHENTICATION_UNUSED, "a", false)
    );
}

#[test]
fn a_peer_authentication_that_cannot_be_understood_means_strict() {
    let web = json!({ "matchLabels": { "app": "web" } });
    for (namespace, spec, path) in [
        ("shop", json!({ "mtls": { "mode": "strict" } }), "spec.mtls.mode"),
        ("shop", json!({ "mtls": "STRICT" }), "spec.mtls"),
        ("shop", json!({ "mode": "PERMISSIVE" }), "spec.mode"),
        ("shop", json!({ "portLevelMtls": { "80": { "mode": "DISABLE" } } }), "spec.portLevelMtls"),
        ("shop", json!({ "selector": web, "portLevelMtls": { "0": {} } }), "spec.portLevelMtls.0"),
        ("shop", json!({ "selector": web, "portLevelMtls": { "http": {} } }), "spec.portLevelMtls.http"),
        ("handfast-system", json!({ "selector": web, "mtls": { "mode": "DISABLE" } }), "spec.selector"),
    ] {
        let (modes, problems) = inbound(&[(namespace, "p", spec.clone())]);
        assert_eq!(modes, Mode::Strict.into(), "{spec}");
        assert_eq!(problems[0].path.to_string(), path, "{spec}");
        assert!(problems[0].closes);
    }
    let other = json!({ "selector": { "matchLabels": { "app": "x" } }, "mtls": { "mode": "?" } });
    assert_eq!(inbound(&[("shop", "p", other)]).0, Mode::Permissive.into());
}

fn outbound(pod_has: Value, namespace_has: Value) -> (PortModes, Vec<Problem>) {
    let web = changed(pod("shop", "web", &[]), |pod| pod["metadata"]["annotations"] = pod_has);
    let mut all = objects(vec![web.clone(), changed(web, |pod| pod["metadata"]["name"] = "two".into())]);
    let annotations: ObjectMeta = serde_json::from_value(json!({ "annotations": namespace_has })).unwrap();
    all.namespaces[0].metadata.annotations = annotations.annotations;
    let found = run(&all);
    assert_eq!(found.workloads[0].modes, found.workloads[1].modes);
    (found.workloads[0].modes.outbound.clone(), found.problems)
}

#[test]
fn the_mode_of_calls_is_the_pods_else_the_namespaces_and_a_wrong_one_is_strict() {
    const ALL: &str = "handfast.dev/outbound-mode";
    const PORTS: &str = "handfast.dev/outbound-modes";
    let strict_but = |port, mode| PortModes { all: Mode::Strict, ports: [(port, mode)].into() };
    for (on_pod, on_namespace, expected) in [
        (json!({}), json!({}), Mode::Permissive.into()),
        (json!({}), json!({ ALL: "strict" }), Mode::Strict.into()),
        (json!({ ALL: "disabled" }), json!({ ALL: "strict" }), Mode::Disabled.into()),
        (json!({}), json!({ ALL: "strict", PORTS: "443=permissive" }), strict_but(443, Mode::Permissive)),
        (
            json!({ PORTS: " 443 = disabled " }),
            json!({ ALL: "strict", PORTS: "80=disabled" }),
            strict_but(443, Mode::Disabled),
        ),
        // The exceptions of a namespace are none from what a pod asks for itself.
        (json!({ ALL: "strict" }), json!({ PORTS: "443=permissive" }), Mode::Strict.into()),
    ] {
        assert_eq!(
            outbound(on_pod.clone(), on_namespace.clone()),
            (expected, vec![]),
            "{on_pod} {on_namespace}"
        );
    }
    for (key, text) in [
        (ALL, "Strict"),
        (ALL, ""),
        (PORTS, ""),
        (PORTS, "443"),
        (PORTS, "443=permissive,"),
        (PORTS, "443=plain"),
        (PORTS, "0=permissive"),
        (PORTS, "443=permissive,443=strict"),
    ] {
        let (modes, problems) = outbound(json!({}), json!({ ALL: "permissive", (key): text }));
        assert_eq!(modes, Mode::Strict.into(), "{key} {text:?}");
        // Said once, not for each pod.
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!((problem.kind, problem.name.as_str(), problem.code.id), ("Namespace", "shop", "HF8033"));
    }
}

#[test]
fn the_order_of_objects_changes_nothing() {
    let mut all = objects(vec![pod("shop", "web", &[("app", "web")]), pod("shop", "two", &[("app", "web")])]);
    all.authorization_policies = vec![
        custom("shop", "b", json!({ "selector": { "matchLabels": { "app": "web" } }, "rules": [{}] })),
        custom("shop", "a", json!({ "rules": [{}] })),
        custom("shop", "c", json!({ "rules": 1 })),
    ];
    let forth = run(&all);
    all.pods.reverse();
    all.authorization_policies.reverse();
    let back = run(&all);
    assert_eq!(
        (forth.workloads, forth.policies, forth.problems),
        (back.workloads, back.policies, back.problems)
    );
}

#[test]
fn in_a_cluster_a_pod_is_reached_through_the_proxy_that_it_has_and_no_other() {
    let pod = |name: &str, injected: bool| -> Pod {
        let mut pod = serde_json::json!({
            "metadata": { "name": name, "namespace": "shop", "annotations": {} },
            "spec": { "nodeName": "one", "containers": [] },
            "status": { "phase": "Running", "podIP": "10.0.0.1" },
        });
        if injected {
            pod["metadata"]["annotations"]["handfast.dev/injected"] = "1".into();
            pod["spec"]["initContainers"] = serde_json::json!([{ "name": "handfast-proxy" }]);
        }
        serde_json::from_value(pod).unwrap()
    };
    let namespace = |label: &str| -> k8s_openapi::api::core::v1::Namespace {
        let labels = serde_json::json!({ "handfast.dev/mesh": label });
        serde_json::from_value(serde_json::json!({ "metadata": { "name": "shop", "labels": labels } }))
            .unwrap()
    };
    let options = Options { injected: true, ..Options::default() };
    let tunnel = |namespaces: Vec<_>, injected: bool| {
        let objects = Objects { namespaces, pods: vec![pod("web", injected)], ..Objects::default() };
        let found = index(&objects, &options);
        (found.workloads[0].tunnel, found.workloads[0].modes.outbound.all)
    };
    // Labelled a moment ago: the pod that runs has no proxy yet.
    assert_eq!(tunnel(vec![namespace("enabled")], false).0, Tunnel::None);
    assert_eq!(tunnel(vec![namespace("enabled")], true).0, Tunnel::Hbone);
    // The label is gone and the proxy is not.
    assert_eq!(tunnel(vec![namespace("disabled")], true).0, Tunnel::Hbone);
    assert_eq!(tunnel(vec![namespace("node")], false).0, Tunnel::Hbone);
    // What the namespace says is not known yet.
    assert_eq!(tunnel(Vec::new(), true), (Tunnel::Hbone, model::mesh::Mode::Strict));
}
