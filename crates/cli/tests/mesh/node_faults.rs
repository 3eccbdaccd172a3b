//! Node mode while the node's proxy is killed, or away.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::cluster::{BUSYBOX, Cluster};

use super::node::{connections, log};
use super::stage::{self, ProxyProcesses, Stage, run_in};

/// The pod of the node's proxy.
fn proxy(cluster: &Cluster) -> Option<String> {
    let pods = cluster.get(&["-n", "handfast-node", "pods"]);
    let first = pods["items"].as_array()?.first()?;
    Some(first["metadata"]["name"].as_str()?.to_owned())
}

/// kill -9, of the process that works and of the one that looks after it: what comes meanwhile is refused, nothing goes around, and the next one takes all pods in again.
#[test]
fn a_killed_node_proxy_leaves_its_pods_closed_until_the_next_one_carries_them() {
    let Some(turn) = stage::take_turn_with_node() else { return };
    let stage = Stage::labelled(&turn, "struck", "handfast.dev/mesh: node");
    stage.strict();
    stage.server("web");
    stage.client("client");
    stage::stranger(&turn, "struck-stranger");
    stage.ready("web");
    stage.ready("client");
    stage.call_until("client", "http://web/", true);
    let before = stage.ready("web")["status"]["containerStatuses"][0]["containerID"].clone();
    let name = proxy(&turn).unwrap();
    for struck in [|both: ProxyProcesses| both.worker, |both: ProxyProcesses| both.supervisor] {
        let before = stage::proxy_processes("handfast-node", &name).unwrap();
        let killed = Instant::now();
        stage::kill(struck(before));
        let mut failed = 0;
        loop {
            let from_outside = run_in(
                &turn,
                "default",
                "struck-stranger",
                &["timeout", "2", "wget", "-qO-", "http://web.struck/"],
            );
            assert_ne!(from_outside.code, Some(0), "a stranger was served while the proxy was away");
            let now = stage::proxy_processes("handfast-node", &name);
            let is_another = now.is_some_and(|now| now.worker != before.worker);
            match stage.call("client", "http://web/").code {
                Some(0) if is_another => break,
                Some(0) => {}
                _ => failed += 1,
            }
            assert!(killed.elapsed() < Duration::from_secs(60), "it did not come back:\n{}", log(&turn));
        }
        eprintln!("carried again {:?} after kill -9, {failed} calls failed", killed.elapsed());
    }
    // Not by a way around: the new proxy has the line.
    let lines = connections(&turn, "struck/web");
    assert!(lines.iter().any(|line| line["secured"] == "hbone"), "{lines:#?}");
    let after = stage.ready("web")["status"]["containerStatuses"][0]["containerID"].clone();
    assert_eq!(before, after, "the application was not touched");
    turn.kubectl(&["delete", "pod", "struck-stranger", "--wait=false"]);
    stage.end();
}

/// While the node's proxy is away for longer, no pod of a labelled namespace starts, those of others do, and nothing of the
/// running ones is open.
#[test]
fn while_the_node_proxy_is_away_a_labelled_pod_does_not_start_and_others_do() {
    let Some(turn) = stage::take_turn_with_node() else { return };
    let stage = Stage::labelled(&turn, "alone", "handfast.dev/mesh: node");
    stage.server("web");
    stage.client("client");
    stage.ready("web");
    stage.ready("client");
    stage.call_until("client", "http://web/", true);
    let nowhere = |selector: &str| {
        let patch = format!("{{\"spec\": {{\"template\": {{\"spec\": {{\"nodeSelector\": {selector}}}}}}}}}");
        turn.kubectl(&["-n", "handfast-node", "patch", "daemonset", "handfast-node", "-p", &patch]);
    };
    nowhere("{\"nowhere\": \"1\"}");
    turn.wait(&["-n", "handfast-node", "pods"], stage::POD, |found| {
        found["items"].as_array().is_some_and(Vec::is_empty)
    });
    assert_ne!(stage.call("client", "http://web/").code, Some(0), "the pods are closed");
    let pod = |namespace: &str| {
        turn.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: late, namespace: {namespace}}}, spec: {{restartPolicy: Never, \
             terminationGracePeriodSeconds: 1, containers: [{{name: app, image: '{BUSYBOX}', imagePullPolicy: Never, \
             command: [sh, -c, 'timeout 10 wget -qO- http://web.alone/; exec sleep 1000']}}]}}}}"
        ));
    };
    pod("alone");
    pod("default");
    turn.wait(&["-n", "default", "pod", "late"], stage::POD, |pod| pod["status"]["phase"] == "Running");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let events = turn.get(&["-n", "alone", "events"]);
        if events["items"].as_array().is_some_and(|all| {
            all.iter().any(|one| one["message"].as_str().unwrap_or_default().contains("HF8082"))
        }) {
            break;
        }
        assert!(Instant::now() < deadline, "kubelet does not say why it waits: {events:#}");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(turn.get(&["-n", "alone", "pod", "late"])["status"]["phase"], "Pending");
    nowhere("null");
    turn.wait(&["-n", "alone", "pod", "late"], stage::POD, |pod| pod["status"]["phase"] == "Running");
    stage.call_until("client", "http://web/", true);
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_secured = |line: &Value| line["secured"] == "hbone";
    while !connections(&turn, "alone/late").iter().any(is_secured) {
        assert!(Instant::now() < deadline, "{}", log(&turn));
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(
        connections(&turn, "alone/late").iter().all(is_secured),
        "{:#?}",
        connections(&turn, "alone/late")
    );
    turn.kubectl(&["delete", "pod", "late", "--wait=false"]);
    stage.end();
}
