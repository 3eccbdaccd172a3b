//! Parts of the mesh are killed.

use std::time::{Duration, Instant};

use super::stage::{self, POD, Stage, run_in};

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

/// kill -9 of a proxy: kubelet starts it again, nothing goes around it meanwhile, and the pod's application lives on.
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
    let process = proxy_process("killed", "web");
    let before = stage.ready("web")["status"]["containerStatuses"][0]["containerID"].clone();
    let killed = Instant::now();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(process).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let mut failed = 0;
    let back = loop {
        let said = stage.call("client", "http://web/");
        if said.code == Some(0) && stage::proxy_process_of("killed", "web").is_some_and(|now| now != process)
        {
            break killed.elapsed();
        }
        failed += usize::from(said.code != Some(0));
        let plain = run_in(&turn, "default", "killed-stranger", &["timeout", "2", "wget", "-qO-", &url]);
        assert_ne!(plain.code, Some(0), "plain text goes around a proxy that is away: {}", plain.all());
        assert!(killed.elapsed() < Duration::from_secs(60), "it did not come back:\n{}", stage.log("web"));
    };
    eprintln!("serving again after {back:?}, {failed} calls failed");
    let after = stage.ready("web")["status"]["containerStatuses"][0]["containerID"].clone();
    assert_eq!(before, after, "the application was not touched");
    turn.kubectl(&["delete", "pod", "killed-stranger", "--wait=false"]);
    stage.end();
}

fn proxy_process(namespace: &str, pod: &str) -> i32 {
    stage::proxy_process_of(namespace, pod).unwrap_or_else(|| panic!("{namespace}/{pod} has no proxy"))
}
