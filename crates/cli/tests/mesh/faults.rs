//! Parts of the mesh are killed.

use std::time::{Duration, Instant};

use super::stage::{self, POD, ProxyProcesses, Stage, run_in};

/// The control plane away: what is known goes on, new connections too; whoever comes then waits, and nothing is lost
/// when it is back.
#[test]
fn pods_go_on_without_the_control_plane_and_catch_up_when_it_is_back() {
    let Some(turn) = stage::take_turn() else { return };
    let stage = Stage::new(&turn, "away");
    stage.server("web");
    stage.client("client");
    stage.ready("web");
    stage.ready("client");
    stage.call_until("client", "http://web/", true);
    let scale = |count: &str| {
        turn.kubectl(&[
            "-n",
            "handfast-system",
            "scale",
            "deployment",
            "handfast-mesh",
            &format!("--replicas={count}"),
        ]);
    };
    scale("0");
    let selector = ["-n", "handfast-system", "pods", "-l", "app.kubernetes.io/name=handfast-mesh"];
    turn.wait(&selector, POD, |found| found["items"].as_array().is_some_and(Vec::is_empty));
    for _ in 0..5 {
        let said = stage.call("client", "http://web/");
        assert_eq!(said.code, Some(0), "{}\n{}", said.all(), stage.log("client"));
    }
    // No pod of the mesh is made without its proxy.
    let refused = turn.try_kubectl(&["-n", "away", "run", "late", "--image=none", "--dry-run=server"]);
    assert!(
        refused.code == Some(1) && refused.err().contains("inject.mesh.handfast.dev"),
        "{}",
        refused.all()
    );
    stage.policy(
        "nobody",
        "web",
        "action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/x/sa/y]}}]}]",
    );
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(stage.call("client", "http://web/").code, Some(0), "nobody has told of the policy yet");
    scale("2");
    turn.wait(&["-n", "handfast-system", "deployment", "handfast-mesh"], POD, |found| {
        found["status"]["availableReplicas"] == 2
    });
    // Proxies try again within 15 seconds.
    let deadline = Instant::now() + Duration::from_secs(60);
    while stage.call("client", "http://web/").code == Some(0) {
        assert!(Instant::now() < deadline, "the policy did not arrive:\n{}", stage.log("web"));
        std::thread::sleep(Duration::from_millis(500));
    }
    stage.end();
}

/// The API server ends and comes back: no call is lost meanwhile, and what changes afterwards is heard of.
#[test]
fn the_api_server_starts_anew_and_calls_go_on_and_changes_arrive_afterwards() {
    let Some(turn) = stage::take_turn() else { return };
    let stage = Stage::new(&turn, "anew");
    stage.strict();
    stage.server("web");
    stage.ready("web");
    stage.caller("caller");
    stage.ready("caller");
    stage.talk("caller", 5);
    turn.control(&["restart-apiserver"]);
    stage.talk("caller", 20);
    let (well, failed) = stage.calls("caller");
    assert!(failed.is_empty(), "{well} calls went well, these did not: {failed:?}\n{}", stage.log("caller"));
    // A policy, and a pod that was not there before: with its proxy, its certificate and its address.
    stage.client("late");
    stage.ready("late");
    stage.call_until("late", "http://web/", true);
    stage.policy(
        "not-the-late",
        "web",
        "action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/anew/sa/late]}}]}]",
    );
    stage.call_until("late", "http://web/", false);
    let (well, failed) = stage.calls("caller");
    assert!(failed.is_empty(), "{well} calls went well, these did not: {failed:?}\n{}", stage.log("caller"));
    stage.end();
}

/// kill -9 of a proxy, of the process that works and of the one that looks after it: it comes back, nothing goes around it
/// meanwhile, and the pod's application lives on.
#[test]
fn a_killed_proxy_comes_back_and_nothing_goes_around_it() {
    let Some(turn) = stage::take_turn() else { return };
    let stage = Stage::new(&turn, "killed");
    stage.strict();
    stage.server("web");
    stage.client("client");
    stage.ready("web");
    stage.ready("client");
    stage.call_until("client", "http://web/", true);
    stage::stranger(&turn, "killed-stranger");
    let url = format!("http://{}:8080/", stage.address("web"));
    let container =
        || stage.ready("web")["status"]["containerStatuses"][0]["containerID"].as_str().unwrap().to_owned();
    let restarts = || stage.ready("web")["status"]["initContainerStatuses"][1]["restartCount"].clone();
    let application = container();
    // Calls until another process is there than before, and serves. Says how many calls failed.
    let call_until_back = |before: ProxyProcesses| {
        let killed = Instant::now();
        let mut failed = 0;
        loop {
            let said = stage.call("client", "http://web/");
            let now = stage::proxy_processes("killed", "web");
            if said.code == Some(0) && now.is_some_and(|now| now.worker != before.worker) {
                eprintln!("serving again after {:?}, {failed} calls failed", killed.elapsed());
                return failed;
            }
            failed += usize::from(said.code != Some(0));
            let plain = run_in(&turn, "default", "killed-stranger", &["timeout", "2", "wget", "-qO-", &url]);
            assert_ne!(plain.code, Some(0), "plain text goes around a proxy that is away: {}", plain.all());
            assert!(
                killed.elapsed() < Duration::from_secs(60),
                "it did not come back:\n{}",
                stage.log("web")
            );
        }
    };
    let before = stage::proxy_processes("killed", "web").unwrap();
    stage::kill(before.worker);
    let failed = call_until_back(before);
    assert!(failed <= 1, "only a call that is under way is lost: the ports stay open");
    let after = stage::proxy_processes("killed", "web").unwrap();
    assert_eq!(after.supervisor, before.supervisor, "the container is the same");
    assert_eq!(restarts(), 0, "kubelet did nothing");
    assert!(stage.log("web").contains("HF8037"), "{}", stage.log("web"));
    let counted = stage.metrics("web");
    assert!(counted.contains("handfast_mesh_proxy_restarts_total 1\n"), "{counted}");

    stage::kill(after.supervisor);
    call_until_back(after);
    assert_ne!(stage::proxy_processes("killed", "web").unwrap().supervisor, after.supervisor);
    assert_eq!(restarts(), 1, "kubelet started the container again");
    assert_eq!(container(), application, "the application was not touched");
    turn.kubectl(&["delete", "pod", "killed-stranger", "--wait=false"]);
    stage.end();
}
