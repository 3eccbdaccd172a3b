use certs::PrivateKey;

use super::*;

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);

fn state() -> State {
    State::new(TrustDomain::default(), NOW).unwrap()
}

fn roots(state: &State) -> Vec<&str> {
    state.trusted_roots().map(|root| root.name.as_str()).collect()
}

#[test]
fn a_root_is_rotated_step_by_step_and_trusted_until_nothing_needs_it() {
    let s = state();
    assert!(s.confirm(NOW).is_err() && s.switch(NOW).is_err() && s.retire(&[], true, NOW).is_err());
    let s = s.start(Subject::Root, NOW).unwrap();
    assert_eq!(s.active().unwrap().0.name, "intermediate-1");
    assert_eq!(roots(&s), ["root-1", "root-2"]);
    assert!(s.start(Subject::Root, NOW).is_err(), "one rotation at a time");
    assert!(s.switch(NOW).is_err(), "not before the confirmation");
    let s = s.confirm(NOW).unwrap().switch(NOW).unwrap();
    assert_eq!(s.active().unwrap().0.name, "intermediate-2");
    assert_eq!(roots(&s), ["root-1", "root-2"]);
    assert!(s.abort(NOW).is_err(), "not after the switch");
    assert!(s.retire(&["shop/web".to_owned()], true, NOW).is_err());
    assert!(s.retire(&[], false, NOW + Duration::days(89)).is_err(), "an unseen leaf may live");
    let s = s.retire(&[], false, NOW + Duration::days(90)).unwrap();
    assert_eq!(roots(&s), ["root-2"]);
    assert!(s.member("intermediate-1").unwrap().issuer.is_none(), "its key is gone");
    assert!(s.rotation.is_none());
}

#[test]
fn an_intermediate_is_rotated_below_the_same_root() {
    let s = state().start(Subject::Intermediate, NOW).unwrap();
    let s = s.confirm(NOW).unwrap().switch(NOW).unwrap();
    assert_eq!(s.active().unwrap().0.name, "intermediate-2");
    let s = s.retire(&[], true, NOW).unwrap();
    assert_eq!(roots(&s), ["root-1"]);
    let again = s.start(Subject::Root, NOW).unwrap().confirm(NOW).unwrap().switch(NOW).unwrap();
    let again = again.retire(&[], true, NOW).unwrap();
    assert_eq!(roots(&again), ["root-2"]);
}

#[test]
fn a_long_life_that_is_asked_for_after_the_switch_does_not_keep_the_old_authority() {
    let asked = |state: &State, days| State { longest_leaf: Duration::days(days), ..state.clone() };
    let switched =
        |state: &State| state.start(Subject::Root, NOW).unwrap().confirm(NOW).unwrap().switch(NOW).unwrap();
    let s = switched(&asked(&state(), 200));
    let end = Some(NOW + Duration::days(200));
    assert_eq!(s.old_leaves_end(), end);
    assert_eq!(s.longest_leaf, certs::DEFAULT_LIFETIME, "the new one has signed nothing longer");
    let later = asked(&s, 36500);
    assert_eq!(later.old_leaves_end(), end);
    assert_eq!(later.longest_leaf_of("intermediate-1"), Duration::days(200));
    assert_eq!(later.longest_leaf_of("intermediate-2"), Duration::days(36500));
    // It counts when the new one is the old one.
    let next = later.retire(&[], true, NOW).unwrap().start(Subject::Intermediate, NOW).unwrap();
    let next = next.confirm(NOW).unwrap().switch(NOW).unwrap();
    assert_eq!(next.longest_leaf_of("intermediate-2"), Duration::days(36500));
}

#[test]
fn an_aborted_rotation_leaves_the_old_authority() {
    let s = state().start(Subject::Root, NOW).unwrap().abort(NOW).unwrap();
    assert_eq!(roots(&s), ["root-1"]);
    assert_eq!(s.active().unwrap().0.name, "intermediate-1");
    assert_eq!(s.start(Subject::Root, NOW).unwrap().rotation.unwrap().new, "intermediate-3");
}

#[test]
fn a_root_is_rotated_after_the_old_one_has_ended() {
    let late = NOW + Duration::days(4000);
    let s = state().start(Subject::Root, late).unwrap().confirm(late).unwrap().switch(late).unwrap();
    s.active().unwrap().0.certificate.check_time(late).unwrap();
    assert_eq!(roots(&s.retire(&[], false, late).unwrap()), ["root-2"]);
    assert!(state().start(Subject::Intermediate, late).is_err());
}

#[test]
fn an_intermediate_of_another_authority_is_imported_with_its_chain() {
    let other = state();
    let (member, issuer) = other.active().unwrap();
    let key = || PrivateKey::from_pem(&issuer.key().to_pem(), None).unwrap();
    let chain = other.intermediates_pem(member) + &other.trust_bundle_pem();
    let s = State::import(TrustDomain::default(), &chain, key(), NOW).unwrap();
    assert!(s.member("root-1").unwrap().issuer.is_none());
    assert_eq!(s.trust_bundle_pem(), other.trust_bundle_pem());
    let short = other.intermediates_pem(member);
    assert!(State::import(TrustDomain::default(), &short, key(), NOW).is_err(), "the root is missing");
    assert!(
        State::import(TrustDomain::default(), &other.trust_bundle_pem(), key(), NOW).is_err(),
        "another key"
    );
}

#[test]
fn revoked_certificates_are_forgotten_after_their_end() {
    let serial: Serial = "0A0B".parse().unwrap();
    let revocation = Revocation {
        issuer: "intermediate-1".to_owned(),
        reason: Reason::default(),
        at: NOW,
        not_after: NOW + Duration::days(2),
    };
    let s = state().revoke(serial, revocation);
    // A list lives a week, and one that names it has to come after its end.
    assert_eq!(s.pruned(NOW + Duration::days(9) - Duration::SECOND).revocations.len(), 1);
    assert!(s.pruned(NOW + Duration::days(9)).revocations.is_empty());
}

#[test]
fn a_revocation_on_the_wrong_list_moves_to_the_right_one() {
    let serial: Serial = "0A0B".parse().unwrap();
    let of = |issuer: &str, days: i64| Revocation {
        issuer: issuer.to_owned(),
        reason: Reason::default(),
        at: NOW + Duration::days(days),
        not_after: NOW + Duration::days(9),
    };
    let s = state().revoke(serial.clone(), of("intermediate-2", 0));
    let again = s.revoke(serial.clone(), of("intermediate-2", 1));
    assert_eq!(again.revocations[&serial].at, NOW, "the first word stands");
    let corrected = s.revoke(serial.clone(), of("intermediate-1", 1));
    assert_eq!(corrected.revocations[&serial].issuer, "intermediate-1");
    assert_eq!(corrected.revocations.len(), 1);
}
