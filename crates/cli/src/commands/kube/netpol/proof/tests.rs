use controller::netpol::{Edge, Objects, resolve};
use serde_json::json;

use super::control::Enforced;
use super::matrix::{Row, Verdict, contains, rows};
use super::pods::{Role, Stand, plan};
use super::report::Report;

fn stands(edges: &[&str]) -> (controller::netpol::Graph, Vec<Stand>) {
    let mut objects = Objects::default();
    for (name, ports) in [("client", json!([])), ("web", json!([{ "containerPort": 8443 }]))] {
        let object = json!({
            "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } },
            "spec": { "containers": [{ "name": "main", "ports": ports }] }
        });
        objects.add(&object, "shop").unwrap();
    }
    let edges: Vec<Edge> = edges.iter().map(|edge| edge.parse().unwrap()).collect();
    let graph = resolve(objects, &edges, "shop").unwrap();
    let mut stands = plan(&graph, 50, false).ok().unwrap();
    for (number, stand) in stands.iter_mut().enumerate() {
        stand.address = format!("10.244.0.{}", number + 1);
    }
    (graph, stands)
}

fn title(row: &Row) -> String {
    let way = if row.allowed { "->" } else { "-x" };
    format!("{} {way} {} {}", row.client, row.server, row.port)
}

#[test]
fn every_pair_is_tried_and_only_the_declared_one_may_connect() {
    let (graph, stands) = stands(&["client=web"]);
    let titles: Vec<String> = rows(&graph, &stands).iter().map(title).collect();
    assert_eq!(
        titles,
        [
            "Pod shop/client -> Pod shop/web TCP/8443",
            "Pod shop/client -x Pod shop/web TCP/60606 (undeclared)",
            "Pod shop/client -x stranger TCP/60606 (undeclared)",
            "Pod shop/client -> DNS kubernetes.default.svc",
            "Pod shop/web -x Pod shop/client TCP/60606 (undeclared)",
            "Pod shop/web -x stranger TCP/60606 (undeclared)",
            "Pod shop/web -> DNS kubernetes.default.svc",
            "stranger -x Pod shop/client TCP/60606 (undeclared)",
            "stranger -x Pod shop/web TCP/8443",
            "stranger -x Pod shop/web TCP/60606 (undeclared)",
        ]
    );
}

#[test]
fn what_an_edge_for_addresses_covers_is_not_judged() {
    let (graph, stands) = stands(&["0.0.0.0/0=web"]);
    let rows = rows(&graph, &stands);
    let skipped: Vec<String> = rows.iter().filter(|row| row.verdict == Verdict::Skipped).map(title).collect();
    assert_eq!(skipped, ["Pod shop/client -x Pod shop/web TCP/8443", "stranger -x Pod shop/web TCP/8443"]);
}

#[test]
fn too_many_pods_are_refused_before_anything_starts() {
    let (graph, _) = stands(&[]);
    assert!(plan(&graph, 4, false).is_err());
    assert_eq!(
        plan(&graph, 5, false).ok().unwrap().iter().filter(|s| matches!(s.role, Role::Workload(_))).count(),
        2
    );
}

#[test]
fn half_an_enforcement_is_a_finding() {
    let (graph, stands) = stands(&["client=web"]);
    let report = |ingress, egress| Report::new(Enforced { ingress, egress }, rows(&graph, &stands)).failed;
    assert_eq!(report(true, true), 0);
    assert_eq!(report(true, false), 1);
    assert_eq!(report(false, false), 1);
}

#[test]
fn networks_hold_their_own_addresses_only() {
    for (network, address, inside) in [
        ("0.0.0.0/0", "10.244.0.3", true),
        ("10.244.0.0/24", "10.244.0.3", true),
        ("10.244.0.0/24", "10.244.1.3", false),
        ("10.244.0.3/32", "10.244.0.3", true),
        ("::/0", "10.244.0.3", false),
        ("2001:db8::/32", "2001:db8::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
    ] {
        assert_eq!(contains(network, address), inside, "{network} {address}");
    }
}

#[test]
fn a_probe_is_not_put_where_a_service_would_publish_it() {
    let (mut graph, _) = stands(&[]);
    let service = json!({
        "kind": "Service", "metadata": { "name": "peers" },
        "spec": { "selector": { "app": "web" }, "publishNotReadyAddresses": true, "ports": [{ "port": 1 }] }
    });
    graph.objects.add(&service, "shop").unwrap();
    assert!(plan(&graph, 50, false).is_err());
    assert!(plan(&graph, 50, true).is_ok());
}
