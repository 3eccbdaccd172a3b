use certs::Reason;
use model::identity::TrustDomain;
use time::Duration;

use super::*;
use crate::authority::{Revocation, Subject};

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);

/// Signs what is due, as a pass does.
fn publish(
    state: &State,
    published: &BTreeMap<String, String>,
    now: OffsetDateTime,
) -> (State, BTreeMap<String, String>) {
    let due = due(state, published, now);
    let state = state.with_next_lists(&due.sign, now);
    let mut lists = due.keep;
    for name in &due.sign {
        lists.insert(key(name), sign(&state, name, now).unwrap().to_pem());
    }
    (state, lists)
}

fn number(state: &State, lists: &BTreeMap<String, String>, name: &str) -> u64 {
    List::read(name, &lists[&key(name)], &state.member(name).unwrap().certificate).unwrap().0.number
}

#[test]
fn lists_are_there_from_the_beginning_and_signed_anew_only_when_they_are_due() {
    let state = State::new(TrustDomain::default(), NOW).unwrap();
    let (state, first) = publish(&state, &BTreeMap::new(), NOW);
    assert_eq!(first.keys().collect::<Vec<_>>(), ["intermediate-1.crl", "root-1.crl"]);
    // Each names one number that no certificate has, and nothing else as yet.
    for member in &state.members {
        let (_, listed) = read(member, &first).unwrap();
        assert_eq!(listed, [Serial::of_proof(&member.certificate)]);
    }
    let (state, same) = publish(&state, &first, NOW + Duration::days(3));
    assert_eq!(same, first);
    let (state, later) = publish(&state, &same, NOW + Duration::days(4));
    assert_eq!(later["root-1.crl"], first["root-1.crl"]);
    assert_eq!((number(&state, &first, "intermediate-1"), number(&state, &later, "intermediate-1")), (1, 2));
    // What somebody else put there is no list of ours.
    let mut forged = later.clone();
    forged.insert("intermediate-1.crl".to_owned(), later["root-1.crl"].clone());
    assert_eq!(due(&state, &forged, NOW + Duration::days(4)).sign, ["intermediate-1"]);
    // A list of a version that named no such number is signed anew.
    let root = state.member("root-1").unwrap();
    let old = List::sign("root-1", 1, root.issuer.as_ref().unwrap(), &[], NOW).unwrap();
    let older = BTreeMap::from([("root-1.crl".to_owned(), old.to_pem())]);
    assert!(due(&state, &older, NOW).sign.contains(&"root-1".to_owned()));
}

#[test]
fn a_revocation_is_fresh_until_a_list_names_it() {
    let state = State::new(TrustDomain::default(), NOW).unwrap();
    let (state, lists) = publish(&state, &BTreeMap::new(), NOW);
    let serial = Serial::random().unwrap();
    let revocation = Revocation {
        issuer: "intermediate-1".to_owned(),
        reason: Reason::KeyCompromise,
        at: NOW,
        not_after: NOW + Duration::days(1),
    };
    let names = |state: &State, lists: &BTreeMap<String, String>, due: &Due| {
        let all = fresh(state, &due.sign, lists, NOW);
        all.into_iter().map(|(serial, _)| serial.clone()).collect::<Vec<_>>()
    };
    let state = state.revoke(serial.clone(), revocation.clone());
    let found = due(&state, &lists, NOW);
    assert_eq!(found.sign, ["intermediate-1"]);
    assert_eq!(names(&state, &lists, &found), std::slice::from_ref(&serial));
    // Another one comes after that was seen, and before the lists are numbered: it will be on them.
    let second = Serial::random().unwrap();
    let later = state.revoke(second.clone(), revocation).with_next_lists(&found.sign, NOW);
    let both = names(&later, &lists, &found);
    assert!(both.len() == 2 && both.contains(&second) && both.contains(&serial), "{both:?}");
    let (later, lists) = publish(&later, &lists, NOW);
    let found = due(&later, &lists, NOW);
    assert!(found.sign.is_empty() && fresh(&later, &["intermediate-1".to_owned()], &lists, NOW).is_empty());
}

#[test]
fn a_new_authority_has_a_list_before_it_issues_and_a_retired_one_keeps_its_last() {
    let state = State::new(TrustDomain::default(), NOW).unwrap().start(Subject::Root, NOW).unwrap();
    let (state, lists) = publish(&state, &BTreeMap::new(), NOW);
    assert_eq!(lists.len(), 4);
    let state = state.confirm(NOW).unwrap().switch(NOW).unwrap().retire(&[], true, NOW).unwrap();
    let (state, kept) = publish(&state, &lists, NOW);
    assert_eq!(kept, lists);
    let (_, later) = publish(&state, &kept, NOW + Duration::days(8));
    assert!(!later.contains_key("intermediate-1.crl") && later.contains_key("intermediate-2.crl"));
}
