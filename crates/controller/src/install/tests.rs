use super::*;

fn installation() -> Installation {
    Installation {
        namespace: "handfast-system".to_owned(),
        image: "example.test/handfast:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        replicas: 2,
        trust_domain: "cluster.local".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        min_lifetime: "1h".to_owned(),
        max_lifetime: "365d".to_owned(),
        metrics_from: None,
    }
}

fn objects() -> Vec<Value> {
    installation().objects().unwrap()
}

fn rules() -> Vec<Value> {
    let all = objects();
    all.iter().filter_map(|object| object.get("rules")?.as_array()).flatten().cloned().collect()
}

#[test]
fn no_right_is_a_wildcard_and_every_right_on_secrets_is_on_names() {
    let rules = rules();
    assert!(rules.len() > 8);
    for rule in rules {
        assert!(!rule.to_string().contains('*'), "{rule}");
        let has = |list: &str, word: &str| rule[list].as_array().unwrap().iter().any(|entry| entry == word);
        if has("resources", "secrets") || has("resources", "signers") {
            assert!(rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty()), "{rule}");
        }
        for escalating in ["escalate", "bind", "impersonate", "delete", "deletecollection"] {
            assert!(!has("verbs", escalating), "{rule}");
        }
    }
}

#[test]
fn the_pod_is_restricted() {
    let all = objects();
    let deployment = all.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["capabilities"]["drop"][0], "ALL");
}

#[test]
fn probes_have_a_port_of_their_own_and_a_policy_lets_one_namespace_reach_the_metrics() {
    let all = objects();
    let deployment = all.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], "probes");
    }
    assert!(all.iter().all(|object| object["kind"] != "NetworkPolicy"), "only where it is asked for");
    let with = Installation { metrics_from: Some("monitoring".to_owned()), ..installation() };
    let all = with.objects().unwrap();
    let policy = all.iter().find(|object| object["kind"] == "NetworkPolicy").unwrap();
    let ingress = policy["spec"]["ingress"].as_array().unwrap();
    assert_eq!(ingress.len(), 1, "{policy:#}");
    assert_eq!(ingress[0]["ports"], json!([{ "port": "metrics" }]));
    let from = &ingress[0]["from"][0]["namespaceSelector"]["matchLabels"];
    assert_eq!(from["kubernetes.io/metadata.name"], "monitoring");
}

#[test]
fn the_authority_is_made_empty() {
    let all = objects();
    let secret = all.iter().find(|object| object["kind"] == "Secret").unwrap();
    assert!(secret.get("data").is_none() && secret.get("stringData").is_none());
}

fn chart() -> Vec<chart::File> {
    let installation = Installation {
        namespace: "handfast-system".to_owned(),
        image: "example.test/handfast:1".to_owned(),
        pull_policy: "Never".to_owned(),
        replicas: 1,
        trust_domain: "example.org".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        min_lifetime: "1h".to_owned(),
        max_lifetime: "365d".to_owned(),
        metrics_from: None,
    };
    // Like YAML as far as templates go: each value is on a line of its own, without quotes and commas.
    let lines = |object: &Value| serde_json::to_string_pretty(object).unwrap().replace(['"', ','], "");
    chart::files(&installation, "1.2.3", lines).unwrap()
}

#[test]
fn a_chart_has_a_template_for_every_object_and_no_mark_is_left() {
    let files = chart();
    for (name, text) in &files {
        assert!(!text.contains("HANDFAST-"), "{name}: {text}");
        assert_eq!(
            text.matches("{{- end }}").count(),
            text.matches("{{- if").count() + text.matches("{{- with").count()
        );
    }
    // All objects but the namespace; the disruption budget too, though the default is one replica.
    let templates =
        files.iter().filter(|(name, _)| name.starts_with("templates/") && name.ends_with(".yaml")).count();
    assert_eq!(templates, objects().len() - 1 + 3, "and a network policy, a pod monitor and a rule");
    let of = |wanted: &str| &files.iter().find(|(name, _)| name == wanted).unwrap().1;
    assert!(of("Chart.yaml").contains("version: 1.2.3\nappVersion: \"1.2.3\"\n"));
    assert!(of("templates/role.yaml").contains("namespace: {{ .Release.Namespace | quote }}"));
    // What `kube wire` writes names the service account of one namespace.
    assert!(
        of("templates/deployment.yaml")
            .contains("{{- if ne .Release.Namespace \"handfast-system\" }}\n{{- fail ")
    );
}

#[test]
fn a_charts_defaults_are_the_installation() {
    let files = chart();
    let values = &files.iter().find(|(name, _)| name == "values.yaml").unwrap().1;
    for line in [
        "image: example.test/handfast:1",
        "imagePullPolicy: Never",
        "replicas: 1",
        "trustDomain: example.org",
        "minLifetime: 1h",
        "maxLifetime: 365d",
    ] {
        assert!(values.contains(line), "{line} is not in\n{values}");
    }
    assert!(values.contains("# Image of the controller.\n"));
}

#[test]
fn the_schema_takes_no_value_that_it_does_not_know() {
    let schema = values::Values::schema();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["podMonitor"]["additionalProperties"], false);
    assert_eq!(schema["properties"]["replicas"]["minimum"], 1);
    let required = schema["required"].as_array().unwrap();
    assert!(required.iter().any(|name| name == "image") && !required.iter().any(|name| name == "global"));
}

#[test]
fn the_nodes_proxy_reads_pods_and_namespaces_and_has_its_rights_in_a_namespace_of_its_own() {
    let mesh = mesh::MeshInstallation {
        image: "example.test/handfast:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        replicas: 1,
        trust_domain: "cluster.local".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        crds: false,
        node: None,
    };
    assert!(mesh.objects().iter().all(|object| object["kind"] != "DaemonSet"));
    let node = |plugin| node::NodeInstallation {
        cni_conf_dir: "/etc/cni/net.d".to_owned(),
        cni_bin_dir: "/opt/cni/bin".to_owned(),
        plugin,
    };
    let all = mesh::MeshInstallation { node: Some(node(true)), ..mesh.clone() }.objects();
    let one = |kind: &str| {
        let of_node =
            |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == "handfast-node";
        all.iter().find(of_node).unwrap().clone()
    };
    let rules = json!([{ "apiGroups": [""], "resources": ["namespaces", "pods"], "verbs": ["get", "list", "watch"] }]);
    assert_eq!(one("ClusterRole")["rules"], rules);
    assert_eq!(one("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "privileged");
    let set = one("DaemonSet");
    assert_eq!(set["metadata"]["namespace"], "handfast-node");
    let pod = &set["spec"]["template"]["spec"];
    assert!(pod["hostNetwork"].is_null());
    let container = &pod["containers"][0];
    assert!(container["securityContext"]["privileged"].is_null());
    assert_eq!(
        container["securityContext"]["capabilities"]["add"],
        json!(["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"])
    );
    // Without a plugin nothing of the node is mounted but the folder of its socket.
    let without = mesh::MeshInstallation { node: Some(node(false)), ..mesh }.objects();
    let set = without.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    assert_eq!(volumes.iter().filter(|volume| !volume["hostPath"].is_null()).count(), 1);
}
