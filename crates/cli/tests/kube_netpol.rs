//! `handfast kube netpol`, its proof and `handfast kube rbac` on a real Kubernetes. The steps are in `tests/netpol/check`,
//! which a person can run too; here each part of it is a test, and each says what it has to have seen: a script that
//! skips a step does not pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as expected")]

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use testkit::cluster::Cluster;
use testkit::program::Program;

/// Runs a part of the script; gives what it found to be so, a line each. `None` where this machine can have no cluster.
fn part(name: &str) -> Option<Vec<String>> {
    static TURN: Mutex<()> = Mutex::new(());
    // All parts use one namespace. One that failed has poisoned it: the others go on.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let binary = testkit::binary!();
    let cluster = Cluster::shared(binary)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/netpol/check");
    let mut command = Command::new(script);
    command.arg(binary).arg(name).env("HANDFAST_CLUSTER_DIR", cluster.dir());
    let done = Program::run(&mut command, b"", Duration::from_secs(420));
    assert_eq!(done.code, Some(0), "{}", done.all());
    Some(done.out().lines().filter_map(|line| line.strip_prefix("ok  ")).map(str::to_owned).collect())
}

fn assert_seen(seen: &[String], wanted: &[&str]) {
    for wanted in wanted {
        assert!(seen.iter().any(|line| line == wanted), "nothing was seen of: {wanted}\n{}", seen.join("\n"));
    }
}

#[test]
fn a_plain_bridge_is_told_from_an_enforcing_network_and_what_is_open_or_blocked_is_named() {
    let Some(seen) = part("policies") else { return };
    let wanted = [
        "a plain bridge enforces nothing: exit 3",
        "manifests and the cluster give the same policies",
        "kubectl takes the written policies",
        "a second time changes nothing",
        "policies that nobody enforces prove nothing: exit 3",
        "with enforcement all rows hold: exit 0",
        "and so do real requests of the real pods",
        "a declared edge that is blocked is told apart: HF7411",
        "what is open too far is told with its policy: HF7412",
        "a probe that cannot run is no verdict: exit 1",
        "the control namespace is never one under test",
    ];
    assert_seen(&seen, &wanted);
}

#[test]
fn a_proof_that_is_killed_leaves_nothing_and_serves_nobody() {
    let Some(seen) = part("killed") else { return };
    let wanted = [
        "no Service sends traffic to a probe",
        "no workload adopts one",
        "after a kill they vanish by themselves",
    ];
    assert_seen(&seen, &wanted);
}

#[test]
fn everybody_who_can_read_a_key_is_found_with_the_way() {
    let Some(seen) = part("rbac") else { return };
    let wanted = [
        "no key is printed",
        "who can read it is found",
        "who can read another Secret only is not",
        "who can patch it reads it in the answer",
        "as the API server itself shows",
        "who can start pods there is found",
        "who can replace the image of a pod with the key is found",
        "who can act as a reader is found",
        "the annotation names expected readers",
        "and nobody else is",
        "Roles open one Secret by its name",
        "for that one and no more",
    ];
    assert_seen(&seen, &wanted);
}
