use serde_json::json;
use time::OffsetDateTime;

use super::*;

fn told(status: Result<Value, String>) -> Told {
    let at = OffsetDateTime::UNIX_EPOCH;
    Told {
        namespace: "handfast-system".into(),
        pod: "mesh-1".into(),
        node: "n".into(),
        status,
        uncarried: None,
        asked: at,
    }
}

fn pair(namespace: &str, pod: &str) -> (String, String) {
    (namespace.to_owned(), pod.to_owned())
}

#[test]
fn a_proxy_that_is_behind_one_that_is_away_and_a_pod_without_one_are_each_named() {
    let status = json!({
        "handfast": "1.0", "generation": 7, "workloads": 3, "services": 1, "policies": 0, "changed": "then",
        "proxies": [{
            "node": "ztunnel~10.0.0.1~web-1.shop~shop.svc.cluster.local",
            "identity": "spiffe://cluster.local/ns/shop/sa/web",
            "since": "2026-01-01T00:00:00Z",
            "types": {
                "workloads": { "behind": { "resources": 2, "since": "2026-01-01T00:00:05Z" }, "refused": null },
                "policies": { "behind": null, "refused": { "why": "no sense", "at": "2026-01-01T00:00:01Z" } },
            },
        }],
    });
    let wanted = Wanted {
        with_sidecar: vec![pair("shop", "web-1"), pair("shop", "client")],
        without_proxy: vec![pair("shop", "old")],
        ..Wanted::default()
    };
    let document = document(&[told(Ok(status))], &wanted, None);
    let proxy = &document.proxies[0];
    assert_eq!((proxy.namespace.as_str(), proxy.pod.as_str(), proxy.behind), ("shop", "web-1", 2));
    assert_eq!(proxy.behind_since.as_deref(), Some("2026-01-01T00:00:05Z"));
    assert_eq!(proxy.refused.as_deref(), Some("policies, 2026-01-01T00:00:01Z: no sense"));
    let missing: Vec<&str> = document.missing.iter().map(|one| one.pod.as_str()).collect();
    assert_eq!(missing, ["client", "old"]);
    let text = table(&document);
    for part in ["2 behind since", "refused policies", "shop/old: it was made before"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_pod_that_its_node_carries_is_missing_when_that_proxy_is_away_or_not_connected() {
    let status = json!({ "handfast": "1.0", "proxies": [{
        "node": "ztunnel~10.0.0.1~node-1.handfast-node~handfast-node.svc.cluster.local", "types": {},
    }] });
    let of = |pod: &str, proxy: Option<&str>, status| {
        let said = Told { namespace: "shop".into(), pod: pod.into(), ..told(status) };
        (said, proxy.map(str::to_owned))
    };
    let carried = || Ok(json!({ "identity": "spiffe://cluster.local/ns/shop/sa/a" }));
    let by_node = vec![
        of("a", Some("node-1"), carried()),
        of("b", Some("node-2"), carried()),
        of("c", None, Err("away".into())),
        of("d", Some("node-1"), Err("it waits for its certificate (HF8036)".into())),
    ];
    let wanted = Wanted { by_node, ..Wanted::default() };
    let document = document(&[told(Ok(status))], &wanted, Some("shop"));
    let missing: Vec<(&str, &str)> =
        document.missing.iter().map(|one| (one.pod.as_str(), one.why.as_str())).collect();
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(missing[0].0 == "b" && missing[0].1.contains("node-2, is not connected"), "{missing:?}");
    assert!(missing[1].0 == "c" && missing[1].1.contains("no proxy of the mesh"), "{missing:?}");
    assert!(missing[2].0 == "d" && missing[2].1.contains("HF8036"), "{missing:?}");
    assert_eq!((document.by_node.len(), document.by_node[0].pod.as_str()), (1, "a"));
    assert!(table(&document).contains("spiffe://cluster.local/ns/shop/sa/a  node-1"), "{}", table(&document));
    assert_eq!(document.proxies.len(), 1, "it carries pods of the namespace that was asked for");
}

#[test]
fn a_control_plane_that_does_not_answer_is_said_and_not_left_out() {
    let document = document(&[told(Err("no answer".into()))], &Wanted::default(), None);
    assert_eq!(document.control_planes[0].error.as_deref(), Some("no answer"));
    assert!(table(&document).contains("does not answer: no answer"));
}

#[test]
fn a_time_is_shown_without_parts_of_seconds() {
    assert_eq!(moment("2026-01-01T00:00:00.123Z"), "2026-01-01T00:00:00Z");
    assert_eq!(moment("2026-01-01T00:00:00.5+02:00"), "2026-01-01T00:00:00+02:00");
    assert_eq!(moment("then"), "then");
}
