use model::mesh::{Change, Workload, World};
use serde_json::{Value, json};

use super::join::{join, told};
use super::*;

fn world() -> World {
    let mut world = World::default();
    for (namespace, name, address) in [("shop", "web", "10.0.0.9"), ("out", "stranger", "10.0.0.2")] {
        world.apply(Change::Workload(Workload {
            uid: format!("c//Pod/{namespace}/{name}-1"),
            name: format!("{name}-1"),
            namespace: namespace.to_owned(),
            workload_name: name.to_owned(),
            addresses: vec![address.parse().unwrap()],
            ..Workload::default()
        }));
    }
    world
}

fn seen(direction: &str, source: &str, destination: &str, why: &str) -> Value {
    json!({ "direction": direction, "workload": "c//Pod/shop/web-1", "source": source, "destination": destination, "port": 8080, "service": "",
            "why": why, "count": 2, "first": "2026-01-01T00:00:00Z", "last": "2026-01-02T00:00:00Z" })
}

fn status(pairs: &[Value]) -> Value {
    json!({ "started": "2026-01-01T00:00:00Z", "plain": { "forgotten": 0, "pairs": pairs } })
}

#[test]
fn plain_callers_are_named_by_workload_and_probes_are_none() {
    let pairs = [
        seen("inbound", "10.0.0.2", "10.0.0.9", "permissive"),
        seen("inbound", "10.0.0.77", "10.0.0.9", "permissive"),
        seen("inbound", "10.0.0.1", "10.0.0.9", "probe"),
        seen("outbound", "10.0.0.9", "203.0.113.7", "destination_unknown"),
    ];
    // The proxy of a node tells of other pods too.
    let mut other = seen("inbound", "10.0.0.2", "10.0.0.8", "permissive");
    other["workload"] = json!("c//Pod/shop/other-1");
    let pairs = [&pairs[..], &[other]].concat();
    let preview = join(&world(), &[], &[told("web-1", Ok(status(&pairs)))], Vec::new());
    let callers: Vec<&str> = preview.inbound.iter().map(|pair| pair.caller.as_str()).collect();
    assert_eq!(callers, ["10.0.0.77 (nobody known)", "out/stranger"]);
    assert!(preview.inbound.iter().all(|pair| pair.called == "shop/web" && pair.port == 8080));
    assert_eq!(preview.outbound.len(), 1);
    assert_eq!(preview.outbound[0].caller, "shop/web");
    assert!(!preview.is_clear());
    let text = table(&preview);
    assert!(text.contains("out/stranger") && text.contains("shop/web"), "{text}");
}

#[test]
fn replicas_of_one_caller_are_one_line_and_who_was_not_asked_makes_it_incomplete() {
    let mut world = world();
    world.apply(Change::Workload(Workload {
        uid: "c//Pod/out/stranger-2".into(),
        name: "stranger-2".into(),
        namespace: "out".into(),
        workload_name: "stranger".into(),
        addresses: vec!["10.0.0.3".parse().unwrap()],
        ..Workload::default()
    }));
    let pairs = [
        seen("inbound", "10.0.0.2", "10.0.0.9", "permissive"),
        seen("inbound", "10.0.0.3", "10.0.0.9", "permissive"),
    ];
    let preview = join(&world, &[], &[told("web-1", Ok(status(&pairs)))], Vec::new());
    assert_eq!(preview.inbound.len(), 1);
    assert_eq!(preview.inbound[0].count, 4);
    let silent = join(&world, &[], &[told("web-1", Err("no answer".into()))], Vec::new());
    assert!(!silent.is_clear() && silent.inbound.is_empty());
    let old = join(&world, &[], &[told("web-1", Ok(json!({ "version": 1 })))], Vec::new());
    assert!(!old.is_clear());
    assert!(join(&world, &[], &[told("web-1", Ok(status(&[])))], Vec::new()).is_clear());
}
