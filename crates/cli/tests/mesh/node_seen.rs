//! What is seen of pods that the proxy of their node carries: the same as of those with a proxy of their own.

use std::time::Duration;

use serde_json::Value;
use testkit::program::Finished;

use super::node::carried;
use super::stage::{self, Stage, run_in};

fn json(done: &Finished) -> Value {
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}\n{}", done.all()))
}

#[test]
fn status_check_explain_tap_and_preview_know_pods_that_their_node_carries() {
    let Some(turn) = stage::take_turn_with_node() else { return };
    let stage = Stage::labelled(&turn, "viewed", "handfast.dev/mesh: node");
    stage.server("web");
    stage.client("client");
    stage::stranger(&turn, "viewed-stranger");
    for pod in ["web", "client"] {
        stage.ready(pod);
        carried(&turn, &format!("viewed/{pod}"));
    }
    stage.call_until("client", "http://web/", true);

    let done = turn.handfast(&["mesh", "status", "-n", "viewed", "-o", "json", "--fail-on", "missing"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert_eq!(json(&done)["proxies"][0]["namespace"], "handfast-node", "{}", done.all());
    let done = turn.handfast(&["mesh", "check", "-o", "json"]);
    let report = json(&done);
    let rows = report["rows"].as_array().unwrap();
    for id in ["proxies", "redirection", "certificates", "trusted-roots", "clocks"] {
        let row = rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{report:#}"));
        assert_eq!(row["verdict"], "ok", "{row:#}");
    }

    // A call that is good, also when it is really made from the pod's network; and the layer that stops one.
    let explain = |rest: &[&str]| {
        turn.handfast(&[&["mesh", "explain", "viewed/client", "web", "-o", "json"], rest].concat())
    };
    let done = explain(&["--live"]);
    let said = json(&done);
    assert_eq!(done.code, Some(0), "{said:#}");
    let layers = said["layers"].as_array().unwrap();
    let layer = |name: &str| layers.iter().find(|layer| layer["layer"] == name).unwrap().clone();
    assert_eq!(layer("TLS, identity")["verdict"], "ok", "{said:#}");
    assert!(layer("live")["what"].as_str().unwrap().contains("hbone"), "{said:#}");
    stage.policy(
        "not-the-client",
        "web",
        "action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/viewed/sa/client]}}]}]",
    );
    stage.call_until("client", "http://web/", false);
    let done = explain(&["--live"]);
    assert_eq!((done.code, json(&done)["stopped_by"].as_str()), (Some(3), Some("policy")), "{}", done.all());
    assert!(done.out().contains("HF8003") && done.out().contains("\"live\""), "{}", done.all());
    turn.kubectl(&["-n", "viewed", "delete", "authorizationpolicy", "not-the-client"]);
    stage.call_until("client", "http://web/", true);

    // Only of the pod that was asked for, though one proxy tells of both.
    let words = ["mesh", "tap", "web", "-n", "viewed", "-o", "json", "--for", "8s"];
    let mut tap = turn.start_handfast(&words, &[]);
    tap.wait_for("it listens", Duration::from_secs(20), |tap| tap.stderr().contains("listening to 1 of 1"));
    let plain =
        run_in(&turn, "default", "viewed-stranger", &["timeout", "5", "wget", "-qO-", "http://web.viewed/"]);
    assert_eq!(plain.code, Some(0), "{}", plain.all());
    assert_eq!(stage.call("client", "http://web/").code, Some(0));
    let tapped = tap.finish(Duration::from_secs(60));
    let lines: Vec<Value> = tapped.out().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(lines.iter().all(|line| line["pod"] == "viewed/web"), "{lines:#?}");
    // Kubelet asks every second, too.
    let calls = lines.iter().filter(|line| line["not_secured_because"] != "probe");
    let secured: Vec<&str> = calls.filter_map(|line| line["secured"].as_str()).collect();
    assert_eq!(secured, ["plain", "hbone"], "{lines:#?}");

    let done = turn.handfast(&["mesh", "strict", "--preview", "-n", "viewed", "-o", "json"]);
    let preview = json(&done);
    assert_eq!(done.code, Some(3), "{preview:#}");
    let callers: Vec<&str> =
        preview["inbound"].as_array().unwrap().iter().filter_map(|pair| pair["caller"].as_str()).collect();
    assert_eq!(callers, ["default/viewed-stranger"], "{preview:#}");
    turn.kubectl(&["delete", "pod", "viewed-stranger", "--wait=false"]);
    stage.end();
}
