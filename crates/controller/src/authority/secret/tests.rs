use super::*;
use model::identity::TrustDomain;

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);

fn state() -> State {
    State::new(TrustDomain::default(), NOW).unwrap()
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let serial: Serial = "0A0B".parse().unwrap();
    let revocation = Revocation {
        issuer: "intermediate-1".to_owned(),
        reason: Reason::KeyCompromise,
        at: NOW,
        not_after: NOW + Duration::days(1),
    };
    let before = state().start(Subject::Root, NOW).unwrap().revoke(serial, revocation);
    let data = write(&before).unwrap();
    let after = read(&data).unwrap().unwrap();
    assert_eq!(write(&after).unwrap(), data);
    assert_eq!(after.rotation, before.rotation);
    assert_eq!(after.revocations, before.revocations);
    assert_eq!(certificates_of_pem(&after.trust_bundle_pem()).unwrap().len(), 2);
}

#[test]
fn how_long_old_leaves_may_live_is_kept() {
    let long = State { longest_leaf: Duration::days(200), ..state() };
    let switched = long.start(Subject::Root, NOW).unwrap().confirm(NOW).unwrap().switch(NOW).unwrap();
    let after = read(&write(&switched).unwrap()).unwrap().unwrap();
    assert_eq!(after.rotation, switched.rotation);
    assert_eq!(after.taken, switched.taken);
    assert_eq!(after.taken.len(), 3);
    assert_eq!(after.old_leaves_end(), Some(NOW + Duration::days(200)));
}

#[test]
fn an_empty_secret_holds_none_and_a_damaged_one_is_refused() {
    assert!(read(&BTreeMap::new()).unwrap().is_none());
    let whole = write(&state()).unwrap();
    for key in whole.keys().filter(|key| *key != "ca.crt" && *key != "root-1.key") {
        let mut data = whole.clone();
        data.remove(key);
        assert!(read(&data).is_err(), "without {key}");
        data.insert(key.clone(), ByteString(b"nonsense".to_vec()));
        assert!(read(&data).is_err(), "with a damaged {key}");
    }
    // The key of a root may be taken away: then only a new root can follow.
    let mut data = whole;
    data.remove("root-1.key");
    let state = read(&data).unwrap().unwrap();
    assert!(state.start(Subject::Intermediate, NOW).is_err());
    assert!(state.start(Subject::Root, NOW).is_ok());
}

#[test]
fn parts_of_two_authorities_do_not_mix() {
    let mut data = write(&state()).unwrap();
    let other = write(&state()).unwrap();
    for key in ["root-1.crt", "root-1.key"] {
        data.insert(key.to_owned(), other[key].clone());
    }
    assert!(read(&data).is_err());
}

#[test]
fn a_newer_version_is_refused() {
    let mut data = write(&state()).unwrap();
    let text = String::from_utf8(data[STATE].0.clone()).unwrap().replace("\"version\": 1", "\"version\": 2");
    data.insert(STATE.to_owned(), ByteString(text.into_bytes()));
    assert!(read(&data).unwrap_err().to_string().contains("version 2"));
}

#[test]
fn no_key_is_in_debug_output() {
    let state = state();
    let key = state.active().unwrap().1.key().to_pem();
    let body: String = key.lines().nth(1).unwrap().to_owned();
    assert!(!format!("{state:?}").contains(&body));
}
