use serde_json::json;

use super::*;
use controller::names::{INJECTED_ANNOTATION, MESH_PROXY};

fn pod(change: serde_json::Value) -> Pod {
    let mut pod = json!({
        "metadata": { "name": "web", "namespace": "shop", "uid": "1" },
        "spec": { "serviceAccountName": "web", "containers": [{ "name": "app",
            "readinessProbe": { "httpGet": { "port": 8080 } } }] },
    });
    for (field, value) in change.as_object().unwrap() {
        for (key, value) in value.as_object().unwrap() {
            pod[field][key] = value.clone();
        }
    }
    serde_json::from_value(pod).unwrap()
}

fn namespace(name: &str, label: &str) -> Namespace {
    serde_json::from_value(json!({ "metadata": { "name": name, "labels": { MESH_LABEL: label } } })).unwrap()
}

#[test]
fn only_pods_of_labelled_namespaces_with_a_network_of_their_own_are_ours() {
    let shop = namespace("shop", "node");
    assert!(is_ours(&pod(json!({})), &shop));
    assert!(!is_ours(&pod(json!({})), &namespace("shop", "enabled")));
    assert!(!is_ours(&pod(json!({})), &namespace("kube-system", "node")));
    for change in [
        json!({ "spec": { "hostNetwork": true } }),
        json!({ "status": { "phase": "Succeeded" } }),
        json!({ "metadata": { "labels": { MESH_LABEL: "disabled" } } }),
        json!({ "metadata": { "annotations": { MESH_LABEL: "disabled" } } }),
        json!({ "metadata": { "annotations": { INJECTED_ANNOTATION: "1" } },
                "spec": { "initContainers": [{ "name": MESH_PROXY }] } }),
    ] {
        assert!(!is_ours(&pod(change.clone()), &shop), "{change}");
    }
    // To say that one was injected is not enough.
    assert!(is_ours(&pod(json!({ "metadata": { "annotations": { INJECTED_ANNOTATION: "1" } } })), &shop));
}

#[test]
fn a_pod_says_by_its_manifest_what_it_needs() {
    let node = Node {
        cluster: "Kubernetes".to_owned(),
        trust_domain: TrustDomain::default(),
        addresses: vec!["192.0.2.10".parse().unwrap()],
    };
    let annotations =
        json!({ "metadata": { "annotations": { "handfast.dev/skip-outbound-ports": "5432" } } });
    let wanted = node.wanted(&pod(annotations), false).unwrap();
    assert_eq!(wanted.identity.to_string(), "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(wanted.workload, "Kubernetes//Pod/shop/web");
    assert!(wanted.probes.ports.contains(&8080) && !wanted.is_new);
    assert_eq!(wanted.redirection.outbound.ports, [53, 5432]);
    let wrong = json!({ "metadata": { "annotations": { "handfast.dev/skip-outbound-ports": "all" } } });
    let wanted = node.wanted(&pod(wrong), true).unwrap();
    assert!(wanted.redirection.outbound.ports == [53] && wanted.is_new);
}
