//! Who may call whom.

use std::time::{Duration, Instant};

use super::stage::{self, Stage};

/// A policy decides about new calls at once, and about open ones within five seconds.
#[test]
fn a_policy_decides_about_new_connections_and_open_ones() {
    let Some(turn) = stage::take_turn() else { return };
    let stage = Stage::new(&turn, "policies");
    stage.server("web");
    stage.client("teller");
    stage.client("gossip");
    for pod in ["web", "teller", "gossip"] {
        stage.ready(pod);
    }
    stage.call_until("gossip", "http://web/", true);
    let from = |who: &str| {
        format!(
            "action: ALLOW, rules: [{{from: [{{source: {{principals: [cluster.local/ns/policies/sa/{who}]}}}}]}}]"
        )
    };

    // A connection that waits for its request, from the one who will not be allowed.
    let open_for = std::thread::scope(|scope| {
        let open = scope.spawn(|| {
            let began = Instant::now();
            let command = "mkfifo /tmp/f; sleep 60 > /tmp/f 2> /dev/null & timeout 60 nc web 80 < /tmp/f";
            stage.run("gossip", &["sh", "-c", command]);
            began.elapsed()
        });
        std::thread::sleep(Duration::from_secs(3));
        stage.policy("teller-only", "web", &from("teller"));
        let changed = Instant::now();
        let closed = |line: &serde_json::Value| {
            line["code"] == "HF8017" && line["source"] == "spiffe://cluster.local/ns/policies/sa/gossip"
        };
        // Within five seconds; the rest is for looking.
        while !stage.connections("web").iter().any(closed) {
            let lines = stage.connections("web");
            assert!(changed.elapsed() < Duration::from_secs(10), "it was not closed: {lines:#?}");
            std::thread::sleep(Duration::from_millis(200));
        }
        open.join().unwrap()
    });
    assert!(open_for < Duration::from_secs(50), "the caller's end was not closed: {open_for:?}");
    stage.call_until("gossip", "http://web/", false);
    stage.call_until("teller", "http://web/", true);
    // The reason names the policy and how many rules were looked at.
    let lines = stage.connections("web");
    let why = |line: &serde_json::Value| {
        line["code"] == "HF8004"
            && line["detail"]
                .as_str()
                .is_some_and(|text| text.contains("1 rule of policies/teller-only considered, none matched"))
    };
    assert!(lines.iter().any(why), "{lines:#?}");

    // DENY comes before ALLOW.
    let deny =
        "action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/policies/sa/teller]}}]}]";
    stage.policy("not-the-teller", "web", deny);
    stage.call_until("teller", "http://web/", false);
    turn.kubectl(&["-n", "policies", "delete", "authorizationpolicy", "not-the-teller"]);
    stage.call_until("teller", "http://web/", true);

    // What is not understood closes, and is named by the control plane.
    stage.policy("by-path", "web", "action: ALLOW, rules: [{to: [{operation: {paths: [/]}}]}]");
    stage.call_until("teller", "http://web/", false);
    let log = turn.kubectl(&[
        "-n",
        "handfast-system",
        "logs",
        "-l",
        "app.kubernetes.io/name=handfast-mesh",
        "--tail=-1",
    ]);
    assert!(log.contains("HF8031") && log.contains("by-path"), "{log}");
    turn.kubectl(&["-n", "policies", "delete", "authorizationpolicy", "by-path"]);
    stage.call_until("teller", "http://web/", true);

    // Only tried: said, and not done.
    turn.apply(
        "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: tried, namespace: policies, \
         annotations: {istio.io/dry-run: 'true'}}, spec: {selector: {matchLabels: {app: web}}, action: DENY, rules: [{}]}}",
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        stage.call_until("teller", "http://web/", true);
        if stage.connections("web").iter().any(|line| line["would_refuse"].is_string()) {
            break;
        }
        assert!(Instant::now() < deadline, "{:#?}", stage.connections("web"));
    }
    stage.end();
}
