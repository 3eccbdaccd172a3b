//! How a rotation ends before its switch, what is recorded of it, and what does not put its end off.

use std::time::{Duration, Instant};

use crate::scene::{self, SOON, Scene, pem_of, serial};
use crate::{PROMISE, refused, root_of, rotate, status, wait_event};

#[test]
fn a_rotation_is_given_up_before_the_switch() {
    let Some(turn) = crate::cluster() else { return };
    let scene = Scene::new(&turn, "undone", &["one"]);
    scene.certificate("one", "{secretName: one, serviceAccount: default}");
    let before = scene.wait_ready("one");
    let root = root_of(&status(&turn));
    let bundle = pem_of(&scene.secret("one"), "ca.crt");

    // While no controller runs: whoever leads next records both steps.
    let scale = |replicas: &str| {
        let words = ["-n", "handfast-system", "scale", "deployment/handfast-controller", replicas];
        turn.kubectl(&words);
    };
    scale("--replicas=0");
    turn.wait(&["-n", "handfast-system", "pods"], SOON, |pods| {
        pods["items"].as_array().is_some_and(Vec::is_empty)
    });
    for step in ["start", "abort"] {
        assert_eq!(rotate(&turn, &[step]).code, Some(0));
    }
    scale("--replicas=2");
    scene::wait_installed(&turn);
    wait_event(&turn, "RotationAborted");
    let steps = || {
        let log = scene::audit(&turn);
        let lines = log.into_iter().filter(|line| line["action"] == "rotate");
        lines.map(|line| line["reason"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let told = steps();
    assert_eq!(told.iter().filter(|text| text.contains("was made, verifiers")).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|text| text.contains("was aborted")).count(), 1, "{told:?}");

    assert_eq!(rotate(&turn, &["start"]).code, Some(0));
    turn.wait(&["-n", "undone", "secret", "one"], SOON, |now| pem_of(now, "ca.crt") != bundle);
    // No pod is in the way: the objects are what is waited for.
    let deadline = Instant::now() + SOON;
    while rotate(&turn, &["confirm"]).code != Some(0) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(500));
    }
    let done = rotate(&turn, &["abort"]);
    assert!(done.code == Some(0) && done.out().contains("no rotation goes on"), "{}", done.all());
    turn.wait(&["-n", "undone", "secret", "one"], SOON, |now| pem_of(now, "ca.crt") == bundle);
    wait_event(&turn, "RotationAborted");
    assert_eq!(root_of(&status(&turn)), root);
    assert_eq!(serial(&scene.get("one")), serial(&before), "no new certificate for nothing");
    refused(&turn, &["abort"], "HF7007");
    turn.kubectl(&["delete", "namespace", "undone", "--timeout=60s"]);
}

#[test]
fn a_long_life_after_the_switch_does_not_keep_the_old_root() {
    let Some(turn) = crate::cluster() else { return };
    let scene = Scene::new(&turn, "ageing", &["long"]);
    let waits = rotate(&turn, &["run", "--min-age", "1s", "--timeout", "2m", "--applications-reload"]);
    assert!(waits.code == Some(3) && waits.all().contains("HF7053"), "{}", waits.all());
    let before = status(&turn);
    assert_eq!(before["step"], "switched");
    scene.certificate("long", "{secretName: long, serviceAccount: default, lifetime: 300d}");
    scene.wait_ready("long");
    let after = status(&turn);
    assert!(before["old_certificates_end"].is_string(), "{before:#}");
    assert_eq!(after["old_certificates_end"], before["old_certificates_end"], "{after:#}");
    let done = rotate(&turn, &[&["run", "--timeout", "4m"], &PROMISE[..]].concat());
    assert_eq!(done.code, Some(0), "{}", done.all());
    turn.kubectl(&["delete", "namespace", "ageing", "--timeout=60s"]);
}
