//! The root of a mesh is replaced while its pods talk: no call fails, no container is started again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test stops where something is not as expected"
)]

#[path = "kube/scene.rs"]
mod scene;
#[path = "mesh/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use serde_json::Value;
use stage::{POD, Stage};
use testkit::cluster::{Cluster, IMAGE};
use testkit::program::Finished;

/// What is promised of pods that are not of the mesh; there are none here.
const PROMISE: [&str; 2] = ["--applications-reload", "--all-replaced"];

fn rotate(cluster: &Cluster, step: &[&str]) -> Finished {
    cluster.handfast(&[&["kube", "rotate-root"], step, &["--image", IMAGE]].concat())
}

/// Every container of the stage, and how often it was started.
fn containers(stage: &Stage<'_>) -> Vec<(String, String, i64)> {
    let mut all = Vec::new();
    for pod in ["web", "caller"] {
        let status = stage.ready(pod)["status"].clone();
        for list in ["containerStatuses", "initContainerStatuses"] {
            for one in status[list].as_array().unwrap() {
                let name = format!("{pod}/{}", one["name"].as_str().unwrap());
                let id = one["containerID"].as_str().unwrap().to_owned();
                all.push((name, id, one["restartCount"].as_i64().unwrap()));
            }
        }
    }
    all
}

/// The roots of the trust bundle.
fn bundle(stage: &Stage<'_>) -> String {
    let map = stage.cluster.get(&["-n", &stage.namespace, "configmap", "handfast-trust"]);
    map["data"]["ca.crt"].as_str().unwrap().to_owned()
}

/// Whether what a pod's proxy shows at 15008 chains to these roots.
fn shows(stage: &Stage<'_>, pod: &str, roots: &str) -> bool {
    let address = format!("{}:15008", stage.address(pod));
    let words = ["timeout", "5", "openssl", "s_client", "-connect", &address, "-showcerts", "-alpn", "h2"];
    let said = stage.cluster.exec(&words, Duration::from_secs(15)).out();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (chain, trusted) = (path("chain.pem"), path("roots.pem"));
    std::fs::write(&chain, &said).unwrap();
    std::fs::write(&trusted, roots).unwrap();
    assert!(said.contains("BEGIN CERTIFICATE"), "{pod} shows nothing: {said}");
    let verify = ["openssl", "verify", "-CAfile", &trusted, "-untrusted", &chain, &chain];
    stage.cluster.exec(&verify, Duration::from_secs(15)).code == Some(0)
}

fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + POD;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn scale(turn: &Cluster, count: u64) {
    let replicas = format!("--replicas={count}");
    turn.kubectl(&["-n", "handfast-system", "scale", "deployment", "handfast-mesh", &replicas]);
    turn.wait(&["-n", "handfast-system", "deployment", "handfast-mesh"], POD, |found| {
        found["status"]["readyReplicas"].as_u64().unwrap_or_default() == count
            && found["status"]["replicas"].as_u64().unwrap_or_default() == count
    });
}

fn report(done: &Finished) -> Value {
    serde_json::from_slice(&done.stdout).unwrap_or_default()
}

#[test]
fn the_root_is_replaced_three_times_under_load_and_no_call_fails() {
    let Some(turn) = stage::take_turn() else { return };
    let stage = Stage::new(&turn, "rotate");
    stage.strict();
    stage.server("web");
    stage.ready("web");
    stage.caller("caller");
    stage.ready("caller");
    stage.talk("caller", 20);
    let before = containers(&stage);
    let began = Instant::now();
    let mut last = bundle(&stage);
    for number in 1..=3 {
        assert!(shows(&stage, "web", &last) && shows(&stage, "caller", &last), "before rotation {number}");
        let turned = Instant::now();
        let done = rotate(&turn, &[&["run", "--timeout", "4m", "--min-age", "0s"], &PROMISE[..]].concat());
        assert_eq!(
            done.code,
            Some(0),
            "rotation {number}: {}\n{}\n{}",
            done.all(),
            stage.log("web"),
            stage.log("caller")
        );
        eprintln!("rotation {number} took {:?}\n{}", turned.elapsed(), done.err());
        until("the old root stays in the bundle", || {
            bundle(&stage).matches("BEGIN CERTIFICATE").count() == 1
        });
        let now = bundle(&stage);
        assert_ne!(now, last);
        for pod in ["web", "caller"] {
            assert!(shows(&stage, pod, &now), "{pod} does not show the new authority's certificate");
            assert!(!shows(&stage, pod, &last), "{pod} shows the former authority's certificate");
        }
        last = now;
        stage.talk("caller", 20);
    }
    let (well, failed) = stage.calls("caller");
    assert!(
        failed.is_empty(),
        "{well} calls went well, these did not: {failed:?}\n{}\n{}",
        stage.log("web"),
        stage.log("caller")
    );
    assert_eq!(containers(&stage), before, "a container was started again");
    eprintln!("three rotations in {:?}, {well} calls, none failed", began.elapsed());

    // Nobody who could say what the proxies trust: no step is taken on the strength of that.
    let done = rotate(&turn, &["start"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    scale(&turn, 0);
    let refused = rotate(&turn, &["confirm", "--applications-reload", "-o", "json"]);
    assert_eq!(refused.code, Some(3), "{}", refused.all());
    let found = report(&refused)["findings"].to_string();
    assert!(
        found.contains("Deployment handfast-system/handfast-mesh") && found.contains("Pod rotate/web"),
        "{}",
        refused.all()
    );
    scale(&turn, 2);
    stage.talk("caller", 5);
    let done = rotate(&turn, &["abort"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    let (well, failed) = stage.calls("caller");
    assert!(failed.is_empty(), "{well} calls went well, these did not: {failed:?}");
    stage.end();
}
