//! What goes wrong around the controller on a real Kubernetes: manifests that are not YAML, writers that get in its
//! way, a watch whose history is gone, a clock that is an hour off. Nothing is lost, nothing is issued twice.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test stops where something is not as expected"
)]

#[path = "kube/scene.rs"]
mod scene;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use scene::{SOON, Scene, is_ready, serial, serial_of_secret};
use serde_json::Value;
use testkit::cluster::Cluster;
use testkit::program::Program;

/// Debian's libfaketime, for programs with threads.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

fn cluster() -> Option<scene::Turn> {
    scene::take_turn(testkit::binary!())
}

#[test]
fn a_manifest_that_is_no_yaml_is_one_error_with_its_place_and_nothing_is_applied() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    cluster.kubectl(&["create", "namespace", "syntax"]);
    let dir = tempfile::tempdir().unwrap();
    let good = "apiVersion: v1\nkind: Pod\nmetadata: {name: good}\nspec:\n  containers:\n  - {name: app, image: handfast.test/pause:1}\n";
    let bad =
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: bad\n  labels: {app: bad\nspec:\n  containers: []\n";
    std::fs::write(dir.path().join("a.yaml"), good).unwrap();
    std::fs::write(dir.path().join("b.yaml"), bad).unwrap();
    let folder = dir.path().to_string_lossy().into_owned();
    let done = cluster.handfast(&["kube", "wire", "-f", &folder, "-n", "syntax", "--apply"]);
    assert_eq!(done.code, Some(2), "{}", done.all());
    assert_eq!(done.out(), "", "{}", done.all());
    let said = done.err();
    assert_eq!(said.matches("HF71").count(), 1, "one error: {said}");
    let place = said.lines().find(|line| line.contains("b.yaml")).unwrap();
    assert!(place.contains("b.yaml:5") || place.contains("b.yaml:6"), "{said}");
    assert!(said.contains("labels: {app: bad"), "the line itself: {said}");
    assert!(said.contains('^') || said.contains('╰') || said.contains('·'), "a mark below it: {said}");
    let found =
        cluster.get(&["-n", "syntax", "pods,certificates.handfast.dev,roles.rbac.authorization.k8s.io"]);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(0), "{found:#}");
    cluster.kubectl(&["delete", "namespace", "syntax", "--wait=false"]);
}

/// Issued certificates of a namespace in an audit log: name and serial, without those that were discarded.
fn handed_out(log: &[Value], namespace: &str) -> Vec<(String, String)> {
    let of = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let mine = || log.iter().filter(|line| line["namespace"] == namespace);
    let discarded: HashSet<String> =
        mine().filter(|line| line["action"] == "discard").map(|line| of(line, "serial")).collect();
    mine()
        .filter(|line| line["action"] == "issue" || line["action"] == "renew")
        .map(|line| (of(line, "name"), of(line, "serial")))
        .filter(|(_, serial)| !discarded.contains(serial))
        .collect()
}

#[test]
fn writers_that_get_in_the_way_lose_nothing_and_nothing_is_issued_twice() {
    const NAMES: [&str; 3] = ["one", "two", "three"];
    const CHANGES: usize = 6;
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    let scene = Scene::new(&turn, "contended", &NAMES);
    for name in NAMES {
        scene.certificate(name, &format!("{{secretName: {name}, serviceAccount: default, lifetime: 90d}}"));
        scene.wait_ready(name);
    }
    // For each, one changes what is wanted - each change is one renewal - while another writes to the Secret all the
    // time, and a third to the Certificate.
    std::thread::scope(|scope| {
        for name in NAMES {
            let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            for kind in ["secret", "certificate.handfast.dev"] {
                let done = std::sync::Arc::clone(&done);
                scope.spawn(move || {
                    let end = Instant::now() + Duration::from_secs(150);
                    let mut count = 0;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        assert!(Instant::now() < end, "the changes do not end");
                        count += 1;
                        let value = format!("example.com/seen={count}");
                        let words = ["-n", "contended", "annotate", kind, name, &value, "--overwrite"];
                        cluster.kubectl(&words);
                    }
                    cluster.kubectl(&[
                        "-n",
                        "contended",
                        "annotate",
                        kind,
                        name,
                        "example.com/seen=last",
                        "--overwrite",
                    ]);
                });
            }
            scope.spawn(move || {
                for change in 0..CHANGES {
                    let before = cluster.get(&["-n", "contended", "certificate.handfast.dev", name]);
                    let lifetime = format!(r#"{{"spec":{{"lifetime":"{}d"}}}}"#, 80 - change);
                    let object = format!("certificate.handfast.dev/{name}");
                    cluster.kubectl(&["-n", "contended", "patch", &object, "--type=merge", "-p", &lifetime]);
                    cluster.wait(&["-n", "contended", "certificate.handfast.dev", name], SOON, |now| {
                        is_ready(now) && serial(now) != serial(&before)
                    });
                }
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
        }
    });
    let log = scene::audit(cluster);
    let issued = handed_out(&log, "contended");
    let serials: HashSet<&String> = issued.iter().map(|(_, serial)| serial).collect();
    assert_eq!(serials.len(), issued.len(), "a serial number was handed out twice: {issued:?}");
    for name in NAMES {
        let (certificate, secret) = (scene.wait_ready(name), scene.secret(name));
        assert_eq!(serial_of_secret(&secret), serial(&certificate));
        for object in [&certificate, &secret] {
            assert_eq!(
                object["metadata"]["annotations"]["example.com/seen"], "last",
                "what others wrote is lost"
            );
        }
        // The first one, and one for each change: not one more.
        let mine: Vec<_> = issued.iter().filter(|(of, _)| of == name).collect();
        assert_eq!(mine.len(), 1 + CHANGES, "{mine:?}\n{log:#?}");
        assert_eq!(certificate["status"]["revision"], 1 + CHANGES);
        assert_eq!(mine.last().unwrap().1, serial(&certificate));
    }
    let refused =
        log.iter().filter(|line| line["namespace"] == "contended" && line["action"] == "discard").count();
    eprintln!("{refused} writes met a conflict and were discarded");
    cluster.kubectl(&["delete", "namespace", "contended", "--wait=false"]);
}

/// No controller but those that the test starts.
fn alone(cluster: &Cluster) {
    cluster.kubectl(&["-n", "handfast-system", "scale", "deployment/handfast-controller", "--replicas=0"]);
    cluster.wait(&["-n", "handfast-system", "pods"], SOON, |pods| {
        pods["items"].as_array().is_some_and(Vec::is_empty)
    });
}

fn back(cluster: &Cluster) {
    cluster.kubectl(&["-n", "handfast-system", "scale", "deployment/handfast-controller", "--replicas=2"]);
    scene::wait_installed(cluster);
}

fn ask(cluster: &Cluster, port: &str) -> String {
    let url = format!("http://127.0.0.1:{port}/metrics");
    cluster.exec(&["curl", "-s", "--max-time", "5", &url], Duration::from_secs(10)).out()
}

fn audit_of(program: &Program) -> Vec<Value> {
    program.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn a_watch_whose_history_is_gone_begins_anew() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    let scene = Scene::new(&turn, "compacted", &["kept", "gone", "new"]);
    alone(cluster);
    // Without an election: a leader that was paused would step back, and begin with new lists anyway.
    let words = ["kube", "controller", "--listen", "127.0.0.1:19412"];
    let mut controller = cluster.start_handfast(&words, &[("HANDFAST_LOG_FORMAT", "json")]);
    controller.wait_for("the lead", SOON, |program| program.stderr().contains("\"leads\""));
    for name in ["kept", "gone"] {
        scene.certificate(name, &format!("{{secretName: {name}, serviceAccount: default}}"));
    }
    let (kept, _) = (scene.wait_ready("kept"), scene.wait_ready("gone"));
    assert!(ask(cluster, "19412").contains("name=\"gone\""));

    controller.signal("STOP");
    cluster.kubectl(&["-n", "compacted", "delete", "certificate.handfast.dev", "gone"]);
    scene.certificate("new", "{secretName: new, serviceAccount: default}");
    let revision = cluster.kubectl(&[
        "-n",
        "compacted",
        "get",
        "certificate.handfast.dev",
        "new",
        "-o",
        "jsonpath={.metadata.resourceVersion}",
    ]);
    let compact = format!(r#"{{"revision":"{}","physical":true}}"#, revision.trim());
    let words = [
        "curl",
        "-sS",
        "--fail",
        "--max-time",
        "20",
        "-d",
        &compact,
        "http://127.0.0.1:2379/v3/kv/compaction",
    ];
    let done = cluster.exec(&words, Duration::from_secs(30));
    assert_eq!(done.code, Some(0), "{}", done.all());
    // The API server's own memory of the history ends with it, and so do the controller's connections.
    cluster.control(&["restart-apiserver"]);
    controller.signal("CONT");

    let limit = Duration::from_secs(120);
    cluster.wait(&["-n", "compacted", "certificate.handfast.dev", "new"], limit, is_ready);
    let log = controller.stderr();
    assert!(log.contains("too old resource version") || log.contains("Expired"), "no 410 was met:\n{log}");
    assert_eq!(serial(&scene.get("kept")), serial(&kept), "issued again for nothing");
    let deadline = Instant::now() + SOON;
    while ask(cluster, "19412").contains("name=\"gone\"") {
        assert!(Instant::now() < deadline, "it still counts what was deleted meanwhile");
        std::thread::sleep(Duration::from_millis(500));
    }
    let issued = handed_out(&audit_of(&controller), "compacted");
    let names: Vec<&str> = issued.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 3, "{issued:?}");
    controller.signal("TERM");
    assert_eq!(controller.finish(Duration::from_secs(15)).code, Some(0));
    back(cluster);
    cluster.kubectl(&["delete", "namespace", "compacted", "--wait=false"]);
}

#[test]
fn a_clock_that_is_an_hour_ahead_issues_nothing_until_it_is_right() {
    if !std::path::Path::new(FAKETIME).exists() {
        testkit::skipped("libfaketime is not installed (tests/cluster/tools)");
        return;
    }
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    let scene = Scene::new(&turn, "early", &["before", "during", "after"]);
    alone(cluster);
    // It waits when the controller begins: nothing may be issued before the clocks were compared.
    scene.certificate("before", "{secretName: before, serviceAccount: default}");
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    std::fs::write(&clock, "+3600\n").unwrap();
    let clock_file = clock.to_string_lossy().into_owned();
    let environment = [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_TIMESTAMP_FILE", clock_file.as_str()),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("HANDFAST_POD_NAME", "early"),
        ("HANDFAST_LOG_FORMAT", "json"),
    ];
    let words = ["kube", "controller", "--leader-elect", "--listen", "127.0.0.1:19413"];
    let mut controller = cluster.start_handfast(&words, &environment);
    controller.wait_for("the lead", SOON, |program| program.stderr().contains("\"leads\""));
    let message =
        |found: &Value| found["status"]["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
    scene.certificate("during", "{secretName: during, serviceAccount: default}");
    for name in ["before", "during"] {
        let found = scene.wait(name, |found| message(found).starts_with("HF7020"));
        assert_eq!(found["status"]["conditions"][0]["status"], "False");
        assert!(message(&found).contains("ahead of the API server's"), "{found:#}");
        assert!(scene.secret(name).is_null());
    }
    let metrics = ask(cluster, "19413");
    let ahead = metrics.lines().find_map(|line| line.strip_prefix("handfast_clock_ahead_seconds ")).unwrap();
    assert!((3590.0..3610.0).contains(&ahead.trim().parse::<f64>().unwrap()), "{ahead}");
    assert!(metrics.contains("handfast_reconcile_failures_total{reason=\"controller_clock\"}"), "{metrics}");
    assert_eq!(handed_out(&audit_of(&controller), "early"), [], "issued by a wrong clock");

    std::fs::write(&clock, "+0\n").unwrap();
    for name in ["before", "during"] {
        let limit = Duration::from_secs(120);
        cluster.wait(&["-n", "early", "certificate.handfast.dev", name], limit, is_ready);
    }
    let issued = handed_out(&audit_of(&controller), "early");
    assert_eq!(issued.len(), 2, "{issued:?}");

    // Where another one stands by whose clock is right, that one takes over.
    let words = ["kube", "controller", "--leader-elect", "--listen", "127.0.0.1:19414"];
    let more = [("HANDFAST_POD_NAME", "right"), ("HANDFAST_LOG_FORMAT", "json")];
    let mut right = cluster.start_handfast(&words, &more);
    right.wait_for("standing by", SOON, |_| ask(cluster, "19414").contains("handfast_leader 0"));
    std::fs::write(&clock, "+3600\n").unwrap();
    right.wait_for("the lead", SOON, |program| program.stderr().contains("\"leads\""));
    scene.certificate("after", "{secretName: after, serviceAccount: default}");
    scene.wait_ready("after");
    assert_eq!(scene::leader(cluster), "right");
    assert_eq!(handed_out(&audit_of(&controller), "early").len(), 2, "issued by a wrong clock");
    right.signal("TERM");
    assert_eq!(right.finish(Duration::from_secs(15)).code, Some(0));
    controller.signal("TERM");
    assert_eq!(controller.finish(Duration::from_secs(15)).code, Some(0));
    back(cluster);
    cluster.kubectl(&["delete", "namespace", "early", "--wait=false"]);
}
