use time::Duration;

use super::*;
use crate::{AltName, InitOptions, Request};

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn web() -> Request {
    Request::new("web").with(AltName::dns("web.test").unwrap())
}

/// Opens the folder anew, as a process does after the one before was killed, and does one step.
fn step<T>(dir: &Path, work: impl FnOnce(&mut Authority) -> Result<T>) -> Result<T> {
    work(&mut Authority::open(dir)?)
}

fn roots(dir: &Path) -> usize {
    certificates_of_pem(&std::fs::read_to_string(dir.join("ca.crt")).unwrap()).unwrap().len()
}

fn refused<T: std::fmt::Debug>(result: Result<T>, why: &str) {
    match result {
        Err(Error::Rotation(text)) => assert!(text.contains(why), "{text}"),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_root_is_rotated_step_by_step_and_each_unsafe_step_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, at) = (dir.path(), now());
    drop(Authority::init(dir, &InitOptions::default(), "me", at).unwrap());
    let old = step(dir, |ca| ca.issue(&web(), "me", at)).unwrap();
    // What a try of the trust stores left holds nothing up.
    let proof = Request::new(crate::PROOF.0).with(AltName::dns("localhost").unwrap());
    step(dir, |ca| ca.issue(&proof, crate::PROOF.1, at)).unwrap();

    refused(step(dir, |ca| ca.rotate_switch("me", at)), "no rotation");
    refused(step(dir, |ca| ca.rotate_retire("me", at)), "no rotation");
    step(dir, |ca| ca.rotate_start(Subject::Root, "me", at)).unwrap();
    assert_eq!(roots(dir), 2, "both are distributed");
    refused(step(dir, |ca| ca.rotate_start(Subject::Root, "me", at)), "goes on already");
    refused(step(dir, |ca| ca.rotate_switch("me", at)), "distributing");
    refused(step(dir, |ca| ca.rotate_confirm(&[], false, "me", at)), "nobody has said");
    let lacking = dir.join("copy.crt");
    std::fs::write(&lacking, Authority::open(dir).unwrap().root_pem().unwrap()).unwrap();
    refused(step(dir, |ca| ca.rotate_confirm(&[&lacking], true, "me", at)), "lacks 1 of the 2");
    refused(step(dir, |ca| ca.rotate_confirm(&[&dir.join("ca.crt")], false, "me", at)), "own bundle");
    std::fs::copy(dir.join("ca.crt"), &lacking).unwrap();
    step(dir, |ca| ca.rotate_confirm(&[&lacking], false, "me", at)).unwrap();
    assert_eq!(step(dir, |ca| Ok(ca.issuer().name.clone())).unwrap(), "intermediate-1", "not switched yet");
    refused(step(dir, |ca| ca.rotate_retire("me", at)), "confirmed");
    step(dir, |ca| ca.rotate_switch("me", at)).unwrap();
    assert_eq!(step(dir, |ca| Ok(ca.issuer().name.clone())).unwrap(), "intermediate-2");
    refused(step(dir, |ca| ca.rotate_abort("me", at)), "switched");
    refused(
        step(dir, |ca| ca.rotate_retire("me", at)),
        "1 live certificates still chain to intermediate-1 (web)",
    );
    assert_eq!(roots(dir), 2, "the old one is still trusted");

    step(dir, |ca| ca.revoke(&old.serial, crate::Reason::Superseded, "me", at)).unwrap();
    assert!(step(dir, |ca| ca.old_live(&ca.rotation()?.unwrap(), at)).unwrap().is_empty());
    step(dir, |ca| ca.rotate_retire("me", at)).unwrap();
    assert_eq!(roots(dir), 1);
    let new = step(dir, |ca| ca.issue(&web(), "me", at)).unwrap();
    assert_eq!(new.record.issuer, "intermediate-2");
}

#[test]
fn public_files_are_healed_after_a_kill_between_the_commit_and_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    drop(Authority::init(dir, &InitOptions::default(), "me", now()).unwrap());
    let before = std::fs::read(dir.join("ca.crt")).unwrap();
    step(dir, |ca| ca.rotate_start(Subject::Root, "me", now())).unwrap();
    // As if the process had died right after the commit: the old bundle, and no certificate file.
    std::fs::write(dir.join("ca.crt"), before).unwrap();
    std::fs::remove_file(dir.join("authorities/root-2.crt")).unwrap();
    drop(Authority::open(dir).unwrap());
    assert_eq!(roots(dir), 2);
    assert!(dir.join("authorities/root-2.crt").exists());
}

#[test]
fn a_key_left_by_a_start_that_was_killed_before_its_commit_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    drop(Authority::init(dir, &InitOptions::default(), "me", now()).unwrap());
    crate::write_private(&dir.join("root/root-2.key"), b"left behind").unwrap();
    step(dir, |ca| ca.rotate_start(Subject::Root, "me", now())).unwrap();
    assert_eq!(std::fs::read(dir.join("root/root-2.key.unused-1")).unwrap(), b"left behind");
}

#[test]
fn an_aborted_rotation_leaves_the_old_authority_alone_and_another_can_begin() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    drop(Authority::init(dir, &InitOptions::default(), "me", now()).unwrap());
    step(dir, |ca| ca.rotate_start(Subject::Root, "me", now())).unwrap();
    step(dir, |ca| ca.rotate_abort("me", now())).unwrap();
    assert_eq!(roots(dir), 1);
    let again = step(dir, |ca| ca.rotate_start(Subject::Root, "me", now())).unwrap();
    assert_eq!((again.new_root.as_str(), again.new_issuer.as_str()), ("root-3", "intermediate-3"));
}

#[test]
fn the_root_can_be_rotated_after_it_expired_and_the_intermediate_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let options = InitOptions {
        root_lifetime: Duration::days(20),
        intermediate_lifetime: Duration::days(10),
        ..InitOptions::default()
    };
    drop(Authority::init(dir, &options, "me", now()).unwrap());
    let late = now() + Duration::days(30);
    refused(step(dir, |ca| ca.rotate_start(Subject::Intermediate, "me", late)), "expired");
    step(dir, |ca| ca.rotate_start(Subject::Root, "me", late)).unwrap();
    step(dir, |ca| ca.rotate_confirm(&[], true, "me", late)).unwrap();
    step(dir, |ca| ca.rotate_switch("me", late)).unwrap();
    step(dir, |ca| ca.rotate_retire("me", late)).unwrap();
    step(dir, |ca| ca.issue(&web(), "me", late)).unwrap();
}

#[test]
fn the_intermediate_alone_is_rotated_below_its_root_and_needs_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    drop(Authority::init(dir, &InitOptions::default(), "me", now()).unwrap());
    let (here, away) = (dir.join("root"), dir.join("away"));
    std::fs::rename(&here, &away).unwrap();
    let offline = step(dir, |ca| ca.rotate_start(Subject::Intermediate, "me", now()));
    assert!(matches!(offline, Err(Error::RootOffline(_))));
    std::fs::rename(&away, &here).unwrap();
    step(dir, |ca| ca.rotate_start(Subject::Intermediate, "me", now())).unwrap();
    assert_eq!(roots(dir), 1);
    step(dir, |ca| ca.rotate_confirm(&[], false, "me", now())).unwrap();
    step(dir, |ca| ca.rotate_switch("me", now())).unwrap();
    step(dir, |ca| ca.rotate_retire("me", now())).unwrap();
    assert_eq!(step(dir, |ca| Ok(ca.issuer().name.clone())).unwrap(), "intermediate-2");
}
