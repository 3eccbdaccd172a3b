use controller::mesh::list::Listed;
use controller::mesh::{Custom, Objects, Options, index};
use serde_json::{Value, json};
use time::macros::datetime;

use super::ends::{To, source};
use super::layers::{Walk, of_call, walk};
use super::*;

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pod(namespace: &str, name: &str, address: &str, proxy: bool) -> k8s_openapi::api::core::v1::Pod {
    let annotations = if proxy { json!({ "handfast.dev/injected": "1" }) } else { json!({}) };
    let init = if proxy { json!([{ "name": "handfast-proxy", "image": "i" }]) } else { json!([]) };
    read(json!({
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name }, "annotations": annotations },
        "spec": { "serviceAccountName": name, "initContainers": init, "containers": [{ "name": "main" }] },
        "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
                    "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
}

fn custom(name: &str, spec: Value) -> Custom {
    Custom { metadata: read(json!({ "name": name, "namespace": "shop" })), spec }
}

fn objects() -> Objects {
    Objects {
        namespaces: vec![
            read(json!({ "metadata": { "name": "shop", "labels": { "handfast.dev/mesh": "enabled" } } })),
            read(json!({ "metadata": { "name": "out" } })),
        ],
        services: vec![read(json!({
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "clusterIP": "10.96.0.9", "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
        }))],
        pods: vec![
            pod("shop", "web", "10.0.0.9", true),
            pod("shop", "client", "10.0.0.1", true),
            pod("shop", "old", "10.0.0.3", false),
            pod("out", "stranger", "10.0.0.2", false),
        ],
        ..Objects::default()
    }
}

fn look(objects: Objects, policies: Vec<Value>) -> Look {
    let index = index(&objects, &Options::default());
    Look {
        world: index.world(),
        index,
        policies: Ok(policies.into_iter().map(read).collect()),
        listed: Listed { objects, absent: Vec::new() },
        control_plane: None,
    }
}

fn told(name: &str) -> Told {
    let status = json!({
        "certificate": {
            "identity": format!("spiffe://cluster.local/ns/shop/sa/{name}"),
            "not_after": "2026-01-02T00:00:00Z", "not_before": "2026-01-01T00:00:00Z", "roots": ["aa"],
        },
        "control_plane": { "connected": true },
    });
    let at = datetime!(2026-01-01 12:00 UTC);
    Told {
        namespace: "shop".into(),
        pod: name.into(),
        node: "n".into(),
        status: Ok(status),
        uncarried: None,
        asked: at,
    }
}

fn go(look: &Look, told: &[Told], from: &str, to: &str) -> Walk {
    let source = source(look, from).unwrap();
    let mut walks = walk(look, told, &source, &To::read(to).unwrap(), datetime!(2026-01-01 12:00 UTC));
    assert_eq!(walks.len(), 1);
    walks.remove(0)
}

fn last(walk: &Walk) -> (&'static str, &'static str, String) {
    let layer = walk.layers.last().unwrap();
    (layer.layer, layer.verdict, layer.what.clone())
}

#[test]
fn a_good_call_passes_every_layer() {
    let look = look(objects(), Vec::new());
    let walk = go(&look, &[told("client"), told("web")], "shop/client", "web");
    assert_eq!(walk.stopped_by(), None, "{walk:#?}");
    let layers: Vec<&str> = walk.layers.iter().map(|layer| layer.layer).collect();
    assert_eq!(layers, ["name", "route", "network policy", "TCP", "TLS, identity", "policy"]);
    assert!(walk.layers.iter().all(|layer| layer.verdict == "ok"), "{walk:#?}");
}

/// The same call where the proxy of the node carries both; without it, the destination cannot be asked, and the way there
/// is through the mesh all the same.
#[test]
fn pods_that_their_node_carries_are_asked_by_its_proxy() {
    let mut all = objects();
    all.namespaces[0] =
        read(json!({ "metadata": { "name": "shop", "labels": { "handfast.dev/mesh": "node" } } }));
    all.namespaces.push(read(json!({ "metadata": { "name": "handfast-node" } })));
    all.pods = vec![
        pod("shop", "web", "10.0.0.9", false),
        pod("shop", "client", "10.0.0.1", false),
        pod("handfast-node", "node-1", "10.0.0.5", false),
    ];
    let labels = all.pods[2].metadata.labels.get_or_insert_default();
    labels.insert("app.kubernetes.io/name".to_owned(), "handfast-node".to_owned());
    for pod in &mut all.pods {
        pod.spec.as_mut().unwrap().node_name = Some("n".to_owned());
    }
    let full = look(all.clone(), Vec::new());
    for name in ["web", "client"] {
        let pod = full.listed.objects.pods.iter().find(|pod| look::name(pod) == name).unwrap();
        let carrier = full.carrier(pod);
        assert!(matches!(carrier, Some(look::Carrier::Node(Some(_)))), "{carrier:?}");
    }
    let walk = go(&full, &[told("client"), told("web")], "shop/client", "web");
    assert_eq!(walk.stopped_by(), None, "{walk:#?}");
    assert!(walk.layers.iter().all(|layer| layer.verdict == "ok"), "{walk:#?}");

    all.pods.pop();
    let without = look(all, Vec::new());
    let pod = &without.listed.objects.pods[0];
    assert!(matches!(without.carrier(pod), Some(look::Carrier::Node(None))));
    let untold = |name: &str, why| Told { status: Err(String::new()), uncarried: Some(why), ..told(name) };
    let away = [untold("client", look::Uncarried::NodeAway), untold("web", look::Uncarried::NodeAway)];
    let walk = go(&without, &away, "shop/client", "web");
    assert_eq!(walk.stopped_by(), Some("route"), "{walk:#?}");
    assert_eq!(walk.layers.last().unwrap().code, Some("HF8082"));
    // A destination that is not carried refuses tunnels; a caller that is not carried calls in plain text.
    let walk = go(&full, &[told("client"), untold("web", look::Uncarried::NotTaken)], "shop/client", "web");
    assert_eq!((walk.stopped_by(), walk.layers.last().unwrap().code), (Some("TCP"), Some("HF8080")));
    let walk =
        go(&full, &[untold("client", look::Uncarried::NoCertificate), told("web")], "shop/client", "web");
    let (_, _, route) =
        walk.layers.iter().map(|layer| (layer.layer, layer.verdict, &layer.what)).nth(1).unwrap();
    assert!(route.contains("in plain text") && route.contains("HF8036"), "{walk:#?}");
}

#[test]
fn a_name_a_port_and_an_empty_service_each_stop_at_their_own_layer() {
    let mut all = objects();
    let look_full = look(all.clone(), Vec::new());
    let walk = go(&look_full, &[], "shop/client", "wep");
    assert_eq!(walk.stopped_by(), Some("name"));
    let (layer, _, what) = last(&go(&look_full, &[], "shop/client", "web:81"));
    assert_eq!(layer, "route");
    assert!(what.contains("no port 81"), "{what}");
    // A short name is of the caller's own namespace; and what there is elsewhere is said.
    let walk = go(&look_full, &[], "out/stranger", "web");
    assert_eq!(walk.stopped_by(), Some("name"));
    assert!(walk.layers[0].fix.as_deref().unwrap().contains("web.shop.svc"), "{walk:?}");
    all.pods.remove(0);
    assert_eq!(go(&look(all, Vec::new()), &[], "shop/client", "web").stopped_by(), Some("route"));
}

#[test]
fn a_network_policy_for_the_applications_port_alone_stops_the_tunnel_and_is_named() {
    let policy = json!({
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": { "podSelector": { "matchLabels": { "app": "web" } }, "ingress": [{ "ports": [{ "port": 8080 }] }] },
    });
    let look = look(objects(), vec![policy]);
    let (layer, verdict, what) = last(&go(&look, &[told("client"), told("web")], "shop/client", "web"));
    assert_eq!((layer, verdict), ("network policy", "stopped"));
    assert!(what.contains("15008") && what.contains("1 rule of shop/web considered, none matched"), "{what}");
    // Plain text goes to the application's own port, and passes.
    let walk = go(&look, &[told("web")], "out/stranger", "web.shop");
    assert_eq!(walk.stopped_by(), None, "{walk:#?}");
}

#[test]
fn a_pod_that_was_made_before_the_label_stops_at_tcp_as_the_destination() {
    let look = look(objects(), Vec::new());
    let (layer, _, what) = last(&go(&look, &[told("client")], "shop/client", "shop/old:80"));
    assert_eq!(layer, "TCP");
    assert!(what.contains("no proxy"), "{what}");
}

#[test]
fn an_ended_certificate_and_a_foreign_root_stop_at_tls() {
    let look = look(objects(), Vec::new());
    let mut web = told("web");
    web.status.as_mut().unwrap()["certificate"]["not_after"] = json!("2026-01-01T11:00:00Z");
    let (layer, _, what) = last(&go(&look, &[told("client"), web], "shop/client", "web"));
    assert_eq!(layer, "TLS, identity");
    assert!(what.contains("ended at"), "{what}");
    let mut web = told("web");
    web.status.as_mut().unwrap()["certificate"]["roots"] = json!(["bb"]);
    let (layer, _, what) = last(&go(&look, &[told("client"), web], "shop/client", "web"));
    assert_eq!(layer, "TLS, identity");
    assert!(what.contains("no root in common"), "{what}");
    // Nobody was asked: that stops nothing, and is said.
    let walk = go(&look, &[], "shop/client", "web");
    assert_eq!(walk.stopped_by(), None);
    assert!(walk.layers.iter().any(|layer| layer.verdict == "unknown"));
}

#[test]
fn the_policy_layer_names_the_rule_or_says_how_many_did_not_match() {
    let allow = |principal: &str| {
        json!({ "action": "ALLOW", "rules": [
            { "from": [{ "source": { "principals": ["cluster.local/ns/shop/sa/nobody"] } }] },
            { "from": [{ "source": { "principals": [principal] } }] },
        ] })
    };
    let both = [told("client"), told("web")];
    let mut all = objects();
    all.authorization_policies = vec![custom("only", allow("cluster.local/ns/shop/sa/client"))];
    let (_, verdict, what) = last(&go(&look(all.clone(), Vec::new()), &both, "shop/client", "web"));
    assert_eq!(verdict, "ok");
    assert!(what.contains("rule 1 of shop/only"), "{what}");
    all.authorization_policies = vec![custom("only", allow("cluster.local/ns/shop/sa/other"))];
    let (layer, verdict, what) = last(&go(&look(all.clone(), Vec::new()), &both, "shop/client", "web"));
    assert_eq!((layer, verdict), ("policy", "stopped"));
    assert_eq!(what, "2 rules of shop/only considered, none matched");
    all.authorization_policies = vec![custom("deny", json!({ "action": "DENY", "rules": [{}] }))];
    let (_, _, what) = last(&go(&look(all.clone(), Vec::new()), &both, "shop/client", "web"));
    assert!(what.contains("denied by rule 0 of shop/deny"), "{what}");
    // Strict, and a caller outside of the mesh.
    all.authorization_policies.clear();
    all.peer_authentications = vec![custom("default", json!({ "mtls": { "mode": "STRICT" } }))];
    let (layer, verdict, what) = last(&go(&look(all, Vec::new()), &both, "out/stranger", "web.shop"));
    assert_eq!((layer, verdict), ("policy", "stopped"));
    assert!(what.contains("plain text"), "{what}");
}

#[test]
fn ends_are_read_as_a_person_writes_them() {
    let to = |text| To::read(text).map(|to| (to.host, to.port));
    assert_eq!(to("web"), Ok(("web".into(), None)));
    assert_eq!(to("shop/web:80"), Ok(("shop/web".into(), Some(80))));
    assert_eq!(to("[fd00::1]:80"), Ok(("fd00::1".into(), Some(80))));
    assert!(to("10.0.0.1").is_err() && to("web:x").is_err() && to("").is_err());
    let look = look(objects(), Vec::new());
    assert_eq!(source(&look, "shop/sa/web").unwrap().name, "web");
    assert!(source(&look, "shop/nobody").unwrap_err().contains("client"));
    assert!(source(&look, "client").is_err() && source(&look, "shop/x/client").is_err());
}

#[test]
fn a_real_call_is_told_by_its_record() {
    assert_eq!(of_call(&json!({ "record": { "secured": "hbone", "code": null } })).verdict, "ok");
    let refused = of_call(&json!({ "record": { "secured": "none", "code": "HF8011", "detail": "401" } }));
    assert_eq!((refused.verdict, refused.code), ("stopped", Some("HF8011")));
    assert_eq!(of_call(&json!({ "record": null })).verdict, "unknown");
}

#[test]
fn what_goes_around_the_callers_proxy_is_said_to_go_in_plain_text() {
    let mut all = objects();
    let skip = json!({ "handfast.dev/injected": "1", "handfast.dev/skip-outbound-ports": "80" });
    all.pods[1].metadata.annotations = read(skip);
    let route = |walk: &Walk| walk.layers[1].what.clone();
    let walk = go(&look(all, Vec::new()), &[told("client"), told("web")], "shop/client", "web");
    assert!(route(&walk).contains("plain text: port 80 is excepted"), "{walk:#?}");
    let mut client = told("client");
    client.status.as_mut().unwrap()["redirection"] = json!({ "in_force": false });
    let walk = go(&look(objects(), Vec::new()), &[client, told("web")], "shop/client", "web");
    assert!(route(&walk).contains("not redirected"), "{walk:#?}");
}
