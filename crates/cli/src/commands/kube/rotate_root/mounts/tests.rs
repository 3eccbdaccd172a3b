use serde_json::json;

use super::*;

fn managed() -> BTreeSet<String> {
    BTreeSet::from(["web-tls".to_owned()])
}

fn pod(containers: serde_json::Value, init: serde_json::Value, volumes: serde_json::Value) -> Pod {
    let running = json!({"running": {"startedAt": "2026-11-01T12:00:00Z"}});
    let status = |name: &str, state: &serde_json::Value| json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state});
    serde_json::from_value(json!({
        "metadata": {"name": "web-1", "namespace": "shop", "creationTimestamp": "2026-11-01T11:59:00Z"},
        "spec": {"containers": containers, "initContainers": init, "volumes": volumes},
        "status": {
            "phase": "Running",
            "containerStatuses": [status("main", &running)],
            "initContainerStatuses": [status("copy", &json!({"terminated": {"exitCode": 0}}))],
        },
    }))
    .unwrap()
}

fn paths(user: &User) -> Vec<(&str, Holds, bool)> {
    user.places.iter().map(|place| (place.path.as_str(), place.holds, place.frozen)).collect()
}

#[test]
fn files_are_found_in_whole_volumes_in_parts_and_under_other_names() {
    let volumes = json!([
        {"name": "tls", "secret": {"secretName": "web-tls"}},
        {"name": "all", "projected": {"sources": [
            {"secret": {"name": "web-tls", "items": [{"key": "ca.crt", "path": "own/roots.pem"}]}},
            {"configMap": {"name": "handfast-trust"}},
            {"clusterTrustBundle": {"signerName": "handfast.dev/workload", "path": "cluster.pem"}},
            {"podCertificate": {"signerName": "handfast.dev/workload", "keyType": "ED25519", "credentialBundlePath": "own.pem"}},
            {"podCertificate": {"signerName": "another.test/signer", "keyType": "ED25519", "credentialBundlePath": "x.pem"}},
        ]}},
        {"name": "other", "secret": {"secretName": "somebody-elses"}},
        {"name": "store", "secret": {"secretName": "web-tls", "items": [{"key": "keystore.jks", "path": "k.jks"}]}},
    ]);
    let containers = json!([{"name": "main", "volumeMounts": [
        {"name": "tls", "mountPath": "/tls/"},
        {"name": "tls", "mountPath": "/etc/ca.pem", "subPath": "ca.crt"},
        {"name": "all", "mountPath": "/all"},
        {"name": "other", "mountPath": "/other"},
        {"name": "store", "mountPath": "/store"},
    ]}]);
    let user = user(&pod(containers, json!([]), volumes), &managed()).unwrap();
    assert_eq!(
        paths(&user),
        [
            ("/tls/tls.crt", Holds::Leaf, false),
            ("/tls/ca.crt", Holds::Bundle, false),
            ("/etc/ca.pem", Holds::Bundle, true),
            ("/all/own/roots.pem", Holds::Bundle, false),
            ("/all/ca.crt", Holds::Bundle, false),
            ("/all/cluster.pem", Holds::Bundle, false),
            ("/all/own.pem", Holds::Leaf, false),
            ("/store/k.jks", Holds::Other, false),
        ]
    );
    assert_eq!(user.sources().len(), 4);
}

#[test]
fn an_ended_init_container_and_the_environment_keep_what_was() {
    let volumes = json!([{"name": "tls", "secret": {"secretName": "web-tls"}}]);
    let init = json!([{"name": "copy", "volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}]);
    let containers = json!([{"name": "main", "env": [
        {"name": "CA", "valueFrom": {"configMapKeyRef": {"name": "handfast-trust", "key": "ca.crt"}}},
    ]}]);
    let found = user(&pod(containers, init, volumes.clone()), &managed()).unwrap();
    assert!(found.places.is_empty());
    let kept: Vec<(&str, bool)> =
        found.kept.iter().map(|kept| (kept.container.as_str(), kept.in_environment)).collect();
    assert_eq!(kept, [("main", true), ("copy", false)]);
    // Nothing of ours, and nothing at all.
    assert!(user(&pod(json!([{"name": "main"}]), json!([]), volumes.clone()), &managed()).is_none());
    let mounted = json!([{"name": "main", "volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}]);
    assert!(user(&pod(mounted, json!([]), volumes), &BTreeSet::new()).is_none());
}
