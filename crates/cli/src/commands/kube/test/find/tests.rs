//! Tests of [`super`]: who is found, and who is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use serde_json::{Value, json};

fn pod(name: &str, ip: &str, server: Option<&str>, client: Option<&str>) -> Value {
    let mounts: Vec<Value> = [("s", server, SERVER_MOUNT), ("c", client, CLIENT_MOUNT)]
        .into_iter()
        .filter(|(_, secret, _)| secret.is_some())
        .map(|(volume, _, path)| json!({"name": volume, "mountPath": path}))
        .collect();
    let volumes: Vec<Value> = [("s", server), ("c", client)]
        .into_iter()
        .filter_map(|(volume, secret)| Some(json!({"name": volume, "secret": {"secretName": secret?}})))
        .collect();
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "volumeMounts": mounts, "ports": [{"name": "mtls", "containerPort": 9443}]}],
            "volumes": volumes},
        "status": {"phase": "Running", "podIP": ip},
    })
}

fn service(name: &str, ports: Value) -> Service {
    serde_json::from_value(
        json!({"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports}}),
    )
    .unwrap()
}

fn read(values: Vec<Value>) -> Vec<Pod> {
    values.into_iter().map(|value| serde_json::from_value(value).unwrap()).collect()
}

#[test]
fn an_edge_goes_from_a_client_to_the_secure_port_of_every_server_pod() {
    let pods = read(vec![
        pod("web", "10.0.0.1", Some("web-server-tls"), None),
        pod("app", "10.0.0.2", None, Some("app-client-tls")),
        pod("plain", "10.0.0.3", None, None),
    ]);
    let ports =
        json!([{"name": "metrics", "port": 9090}, {"name": "https", "port": 443, "targetPort": "mtls"}]);
    let services = [service("web", ports), service("plain", json!([{"port": 80}]))];
    let (found, notes) = edges(&pods, &services, &Wanted::default());
    assert_eq!((found.len(), notes.len()), (1, 0));
    assert_eq!((found[0].client.name.as_str(), found[0].client.mounted.volume.as_str()), ("app", "c"));
    let server = ServerPod {
        name: "web".into(),
        address: "10.0.0.1:9443".parse().unwrap(),
        secret: "web-server-tls".into(),
    };
    assert_eq!((found[0].port, &found[0].servers), (443, &vec![server]));
    for (wanted, count) in [
        (Wanted { server: Some("web".into()), ..Wanted::default() }, 1),
        (Wanted { server: Some("other".into()), ..Wanted::default() }, 0),
        (Wanted { client: Some("app-client-tls".into()), ..Wanted::default() }, 1),
        (Wanted { client: Some("web".into()), ..Wanted::default() }, 0),
        (Wanted { port: Some("metrics".into()), ..Wanted::default() }, 1),
    ] {
        assert_eq!(edges(&pods, &services, &wanted).0.len(), count, "{wanted:?}");
    }
}

#[test]
fn declared_calls_narrow_the_edges_and_dead_pods_are_said() {
    let mut caller = pod("app", "10.0.0.2", None, Some("app-client-tls"));
    caller["metadata"]["annotations"] = json!({"handfast.dev/calls": "db, web:8443"});
    let mut dead = pod("db", "10.0.0.4", Some("db-server-tls"), None);
    dead["status"]["phase"] = json!("Pending");
    let pods = read(vec![
        caller,
        dead,
        pod("web", "10.0.0.1", Some("w"), None),
        pod("mail", "10.0.0.5", Some("m"), None),
    ]);
    let one = json!([{"port": 8443}]);
    let services = [service("web", one.clone()), service("db", one.clone()), service("mail", one)];
    let (found, notes) = edges(&pods, &services, &Wanted::default());
    let names: Vec<_> = found.iter().map(|edge| edge.service.as_str()).collect();
    assert_eq!(names, ["web"]);
    assert_eq!(notes, ["pod db does not run"]);
}
