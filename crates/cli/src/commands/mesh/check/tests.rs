use std::collections::BTreeMap;

use controller::mesh::list::Listed;
use controller::mesh::{Objects, Options, index};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::gather::Facts;
use super::report::{Row, Verdict};
use super::*;
use crate::commands::mesh::look::{Look, Told, Uncarried};

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn told(namespace: &str, pod: &str, status: Result<Value, String>) -> Told {
    Told {
        namespace: namespace.into(),
        pod: pod.into(),
        node: "node-1".into(),
        status,
        uncarried: None,
        asked: NOW,
    }
}

fn good() -> Value {
    json!({
        "handfast": env!("CARGO_PKG_VERSION"), "time": "2026-01-01T12:00:01Z", "known": true,
        "control_plane": { "connected": true, "since": "2026-01-01T11:00:00Z", "not_understood": [] },
        "redirection": { "in_force": true, "outbound_rules": 4, "inbound_rules": 5 },
        "certificate": { "not_before": "2026-01-01T00:00:00Z", "not_after": "2026-01-02T00:00:00Z", "roots": ["aa"] },
    })
}

fn pod(name: &str, proxy: bool) -> Value {
    let annotations = if proxy { json!({ "handfast.dev/injected": "1" }) } else { json!({}) };
    let init = if proxy { json!([{ "name": "handfast-proxy" }]) } else { json!([]) };
    json!({
        "metadata": { "name": name, "namespace": "shop", "labels": { "app": name }, "annotations": annotations },
        "spec": { "initContainers": init, "containers": [{ "name": "main" }] },
        "status": { "phase": "Running", "podIP": "10.0.0.1", "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn facts(pods: Vec<Value>, policies: Vec<Value>, proxies: Vec<Told>) -> Facts {
    let objects = Objects {
        namespaces: vec![read(
            json!({ "metadata": { "name": "shop", "labels": { "handfast.dev/mesh": "enabled" } } }),
        )],
        services: vec![read(json!({
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "clusterIP": "10.96.0.9", "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
        }))],
        pods: pods.into_iter().map(read).collect(),
        ..Objects::default()
    };
    let index = index(&objects, &Options::default());
    Facts {
        look: Look {
            world: index.world(),
            index,
            policies: Ok(policies.into_iter().map(read).collect()),
            listed: Listed { objects, absent: Vec::new() },
            control_plane: None,
        },
        control_planes: Vec::new(),
        proxies,
        webhook: Ok(None),
        nodes: Ok(None),
        trust: BTreeMap::from([("shop".to_owned(), Ok(Some(String::new())))]),
        ahead: Ok(Some(0)),
    }
}

fn row<'a>(report: &'a Report, id: &str) -> &'a Row {
    report.rows.iter().find(|row| row.id == id).unwrap_or_else(|| panic!("{id}: {report:#?}"))
}

#[test]
fn a_mesh_that_is_not_there_fails_and_says_how_to_have_it() {
    let report = judge(&facts(Vec::new(), Vec::new(), Vec::new()));
    let missing = row(&report, "control-plane");
    assert_eq!(missing.verdict, Verdict::Fail);
    assert_eq!(missing.fix.as_deref(), Some("handfast mesh install --apply"));
    assert_eq!(row(&report, "webhook").verdict, Verdict::Fail);
    assert_eq!(row(&report, "proxies").verdict, Verdict::Skipped);
    assert!(report.table().contains("FAIL  control-plane"));
}

#[test]
fn each_thing_that_is_wrong_with_a_proxy_fails_its_own_row_and_no_other() {
    type Damage = fn(&mut Value);
    let cases: [(&str, Verdict, Damage); 7] = [
        ("proxies", Verdict::Fail, |status| status["control_plane"]["connected"] = json!(false)),
        ("redirection", Verdict::Fail, |status| status["redirection"]["in_force"] = json!(false)),
        ("redirection", Verdict::Skipped, |status| status["redirection"]["in_force"] = Value::Null),
        ("certificates", Verdict::Fail, |status| {
            status["certificate"]["not_after"] = json!("2026-01-01T11:00:00Z")
        }),
        ("certificates", Verdict::Warn, |status| {
            status["certificate"]["not_after"] = json!("2026-01-01T12:10:00Z")
        }),
        ("clocks", Verdict::Fail, |status| status["time"] = json!("2026-01-01T12:10:00Z")),
        ("versions", Verdict::Warn, |status| status["handfast"] = json!("0.0.1")),
    ];
    let all = ["proxies", "redirection", "certificates", "clocks", "trusted-roots", "versions", "pods"];
    for (wrong, verdict, damage) in cases {
        let mut status = good();
        damage(&mut status);
        let proxies = vec![told("shop", "web", Ok(status)), told("shop", "client", Ok(good()))];
        let report = judge(&facts(vec![pod("web", true), pod("client", true)], Vec::new(), proxies));
        for id in all {
            let expected = if id == wrong { verdict } else { Verdict::Ok };
            assert_eq!(row(&report, id).verdict, expected, "{wrong}: {id}: {report:#?}");
        }
    }
}

#[test]
fn who_does_not_answer_is_never_counted_as_fine() {
    let proxies = vec![told("shop", "web", Err("no answer".into())), told("shop", "client", Ok(good()))];
    let report = judge(&facts(vec![pod("web", true), pod("client", true)], Vec::new(), proxies));
    assert_eq!(row(&report, "proxies").verdict, Verdict::Fail);
    for id in ["redirection", "certificates"] {
        assert_eq!(row(&report, id).verdict, Verdict::Skipped, "{id}");
    }
}

#[test]
fn a_pod_from_before_the_label_and_roots_without_one_in_common_are_found() {
    let mut other = good();
    other["certificate"]["roots"] = json!(["bb"]);
    let proxies = vec![told("shop", "web", Ok(other)), told("shop", "client", Ok(good()))];
    let report =
        judge(&facts(vec![pod("web", true), pod("client", true), pod("old", false)], Vec::new(), proxies));
    assert_eq!(row(&report, "pods").evidence, ["shop/old: made before the label"]);
    assert_eq!(row(&report, "trusted-roots").verdict, Verdict::Fail);
}

#[test]
fn a_network_policy_that_lets_the_application_be_called_and_no_tunnel_is_found() {
    let policy = |ports: Value| {
        json!({
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "podSelector": { "matchLabels": { "app": "web" } }, "ingress": [{ "ports": ports }] },
        })
    };
    let judged = |policies| {
        judge(&facts(
            vec![pod("web", true), pod("client", true)],
            policies,
            vec![told("shop", "web", Ok(good()))],
        ))
    };
    let report = judged(vec![policy(json!([{ "port": 8080 }]))]);
    let found = row(&report, "network-policies");
    assert_eq!(found.verdict, Verdict::Fail);
    assert!(found.evidence[0].contains("shop/web") && found.evidence[0].contains("15008"), "{found:?}");
    let report = judged(vec![policy(json!([{ "port": 8080 }, { "port": 15008 }]))]);
    assert_eq!(row(&report, "network-policies").verdict, Verdict::Ok);
    // Whoever lets in nobody at all means it.
    let closed = json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": { "podSelector": {} } });
    assert_eq!(row(&judged(vec![closed]), "network-policies").verdict, Verdict::Ok);
}

#[test]
fn a_node_without_its_proxy_and_a_pod_that_its_node_does_not_carry_are_found() {
    let away = Told { uncarried: Some(Uncarried::NodeAway), ..told("shop", "web", Err(String::new())) };
    let mut facts = facts(vec![], vec![], vec![away]);
    let of = |facts: &Facts, id: &str| judge(facts).rows.into_iter().find(|row| row.id == id);
    let pods = of(&facts, "pods").unwrap();
    assert_eq!((pods.verdict, pods.code), (Verdict::Fail, Some("HF8082")), "{pods:?}");
    assert!(of(&facts, "nodes").is_none(), "there is no node mode");
    let set = |ready: i32| {
        let status = json!({ "numberReady": ready, "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
                             "numberMisscheduled": 0 });
        Ok(Some(read(json!({ "metadata": {}, "status": status }))))
    };
    facts.nodes = set(2);
    let nodes = of(&facts, "nodes").unwrap();
    assert!(nodes.verdict == Verdict::Fail && nodes.what.contains("2 of 3"), "{nodes:?}");
    facts.nodes = set(3);
    assert_eq!(of(&facts, "nodes").unwrap().verdict, Verdict::Ok);
}
