use std::collections::BTreeMap;

use certs::{PrivateKey, Request, Serial, issue};
use k8s_openapi::api::core::v1::Pod;
use model::identity::TrustDomain;

use super::super::evidence::Managed;
use super::super::mounts::{Kept, Source};
use super::super::served::{Port, Shown};
use super::*;

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);

fn roots(state: &State) -> Vec<Vec<u8>> {
    state.trusted_roots().map(|root| root.certificate.der.clone()).collect()
}

fn leaf(state: &State) -> Vec<u8> {
    let (member, issuer) = state.active().unwrap();
    let request = Request::new("leaf").with(certs::AltName::dns("web").unwrap());
    let key = PrivateKey::generate(certs::KeyKind::P256).unwrap();
    let above = state.above(member).unwrap();
    issue::leaf(&request, &key, &Serial::random().unwrap(), issuer, &above, None, NOW).unwrap().der
}

/// A pod that was there before, with the server or client Secret `web-tls` whole, or one file of it by subPath.
fn user(frozen: bool) -> User {
    let place = |holds, name: &str| Place {
        container: "main".into(),
        path: format!("/tls/{name}"),
        source: Source::Secret("web-tls".into()),
        holds,
        volume: "tls".into(),
        inside: name.into(),
        frozen,
    };
    User {
        pod: Pod::default(),
        name: "shop/web-1".into(),
        workload: "shop/web".into(),
        places: vec![place(Holds::Leaf, "tls.crt"), place(Holds::Bundle, "ca.crt")],
        kept: Vec::new(),
        started: BTreeMap::from([("main".to_owned(), NOW - Duration::DAY)]),
        made: NOW - Duration::DAY,
    }
}

/// What is as it has to be, but for the pod.
fn evidence(state: &State, chain: Vec<u8>, server: bool, pod: Observed) -> Evidence {
    let bundle = |title: &str| Bundle {
        title: title.into(),
        roots: Ok(roots(state)),
        lists: String::new(),
        written: Some(NOW),
    };
    let secret =
        Managed { bundle: bundle("Secret shop/web-tls"), chain: Ok(vec![chain]), server, client: !server };
    Evidence {
        bundles: BTreeMap::from([("shop".to_owned(), bundle("ConfigMap shop/handfast-trust"))]),
        secrets: BTreeMap::from([(("shop".to_owned(), "web-tls".to_owned()), secret)]),
        pods: vec![pod],
        lists: state
            .members
            .iter()
            .map(|m| (revocation::key(&m.name), format!("list of {}\n", m.name)))
            .collect(),
        list_users: Default::default(),
        mesh: false,
    }
}

fn port(leaf: &[u8], asks: Asks) -> Port {
    Port { number: 8443, shown: Ok(Shown { leaf: leaf.to_vec(), asks }) }
}

fn names(state: &State) -> Asks {
    Asks::Named(state.trusted_roots().map(|root| root.certificate.subject_der.clone()).collect())
}

fn kinds(findings: &[Finding]) -> Vec<Kind> {
    findings.iter().map(|finding| finding.kind).collect()
}

const RELOAD: Choices =
    Choices { accept_unseen: Vec::new(), applications_reload: true, leave_behind: Vec::new() };

#[test]
fn a_server_proves_by_whom_it_asks_for_that_it_has_loaded_the_new_root() {
    let before = State::new(TrustDomain::default(), NOW).unwrap();
    let old = leaf(&before);
    let state = before.start(Subject::Root, NOW).unwrap();
    let held = |roots: Vec<Vec<u8>>| vec![Ok(vec![old.clone()]), Ok(roots)];
    let judged = |seen, ports, choices: &Choices| {
        let pod = Observed { user: user(false), seen, ports };
        verifiers(&state, &evidence(&state, old.clone(), true, pod), choices)
    };
    let none = Choices::default();
    assert!(judged(held(roots(&state)), vec![port(&old, names(&state))], &none).is_empty());
    // Its file is new, its process is old: no choice helps.
    let stale = judged(held(roots(&state)), vec![port(&old, names(&before))], &RELOAD);
    assert!(kinds(&stale) == [Kind::Stale] && stale[0].why.contains("has not loaded"), "{stale:?}");
    // Kubelet has not brought it.
    let late = judged(held(roots(&before)), vec![port(&old, names(&state))], &RELOAD);
    assert!(kinds(&late) == [Kind::Stale] && late[0].why.contains("kubelet"), "{late:?}");
    // It says nothing: only a person knows.
    let silent = || judged(held(roots(&state)), vec![port(&old, Asks::Anybody)], &none);
    assert_eq!(kinds(&silent()), [Kind::Unseen]);
    assert!(judged(held(roots(&state)), vec![port(&old, Asks::Anybody)], &RELOAD).is_empty());
    let accept = |name: &str| Choices { accept_unseen: vec![name.into()], ..Choices::default() };
    for name in ["shop/web-1", "shop/web"] {
        assert!(judged(held(roots(&state)), vec![port(&old, Asks::Anybody)], &accept(name)).is_empty());
    }
    let other = judged(held(roots(&state)), vec![port(&old, Asks::Anybody)], &accept("shop/app"));
    assert_eq!(kinds(&other), [Kind::Unseen]);
    // What could not be looked into is not passed by the promise that applications reload.
    let blind = judged(vec![Err("no".into()), Err("no".into())], Vec::new(), &RELOAD);
    assert_eq!(kinds(&blind), [Kind::Unseen]);
}

#[test]
fn a_client_is_believed_when_it_started_with_the_new_root() {
    let before = State::new(TrustDomain::default(), NOW).unwrap();
    let old = leaf(&before);
    let state = before.start(Subject::Root, NOW).unwrap();
    let judged = |user: User, held: Vec<Vec<u8>>| {
        let pod = Observed { user, seen: vec![Ok(vec![old.clone()]), Ok(held)], ports: Vec::new() };
        verifiers(&state, &evidence(&state, old.clone(), false, pod), &Choices::default())
    };
    assert_eq!(kinds(&judged(user(false), roots(&state))), [Kind::Unseen]);
    let at = |made: OffsetDateTime, started: OffsetDateTime| {
        let started = BTreeMap::from([("main".to_owned(), started)]);
        User { made, started, ..user(false) }
    };
    let soon = NOW + Duration::seconds(30);
    assert!(judged(at(soon, soon), roots(&state)).is_empty(), "a new pod");
    assert_eq!(
        kinds(&judged(at(NOW - Duration::DAY, soon), roots(&state))),
        [Kind::Unseen],
        "kubelet's delay"
    );
    assert!(judged(at(NOW - Duration::DAY, NOW + Duration::minutes(3)), roots(&state)).is_empty());
    // By subPath it is what it was at the start: all of it, or nothing.
    assert!(judged(user(true), roots(&state)).is_empty());
    let frozen = judged(user(true), roots(&before));
    assert!(kinds(&frozen) == [Kind::Stale] && frozen[0].why.contains("subPath"), "{frozen:?}");
    let kept = Kept { container: "main".into(), source: Source::Trust, in_environment: true };
    let environment = User { kept: vec![kept], ..user(true) };
    assert_eq!(kinds(&judged(environment, roots(&state))), [Kind::Unseen]);
}

#[test]
fn the_old_root_stays_while_anything_shows_its_certificates() {
    let before = State::new(TrustDomain::default(), NOW).unwrap();
    let old = leaf(&before);
    let state = before.start(Subject::Root, NOW).unwrap().confirm(NOW).unwrap().switch(NOW).unwrap();
    let new = leaf(&state);
    let judged = |held: &[u8], ports: Vec<Port>, server: bool, choices: &Choices, now| {
        let seen = vec![Ok(vec![held.to_vec()]), Ok(roots(&state))];
        let pod = Observed { user: user(false), seen, ports };
        presenters(&state, &evidence(&state, new.clone(), server, pod), choices, now)
    };
    let none = Choices::default();
    let shows = |leaf: &[u8]| vec![port(leaf, Asks::Nobody)];
    assert!(judged(&new, shows(&new), true, &none, NOW).is_empty());
    let serves = judged(&new, shows(&old), true, &RELOAD, NOW);
    assert!(kinds(&serves) == [Kind::Stale] && serves[0].why.contains("still serves"), "{serves:?}");
    assert_eq!(kinds(&judged(&old, shows(&new), true, &RELOAD, NOW)), [Kind::Stale], "kubelet's delay");
    let silent = Port { number: 8443, shown: Err("no TLS there".into()) };
    assert_eq!(kinds(&judged(&new, vec![silent], true, &RELOAD, NOW)), [Kind::Unseen]);
    assert_eq!(kinds(&judged(&new, Vec::new(), true, &RELOAD, NOW)), [Kind::Unseen], "it names no port");
    // A client: seen by nobody, until nothing that it may hold is valid.
    assert_eq!(kinds(&judged(&new, Vec::new(), false, &none, NOW)), [Kind::Unseen]);
    assert!(judged(&new, Vec::new(), false, &RELOAD, NOW).is_empty());
    assert!(judged(&new, Vec::new(), false, &none, NOW + Duration::days(91)).is_empty());
    // A Secret that was not replaced yet.
    let pod = Observed { user: user(false), seen: Vec::new(), ports: Vec::new() };
    let found = secrets(&state, &evidence(&state, old, true, pod.clone()));
    assert!(kinds(&found) == [Kind::Stale] && found[0].object == "Secret shop/web-tls", "{found:?}");
    assert!(secrets(&state, &evidence(&state, new, true, pod)).is_empty());
}

#[test]
fn objects_have_to_hold_the_new_root_and_lists_be_published() {
    let before = State::new(TrustDomain::default(), NOW).unwrap();
    let old = leaf(&before);
    let state = before.start(Subject::Root, NOW).unwrap();
    let pod = Observed { user: user(false), seen: Vec::new(), ports: Vec::new() };
    assert!(bundles(&state, &evidence(&state, old.clone(), true, pod.clone()), NOW).is_empty());
    let mut late = evidence(&state, old, true, pod);
    late.lists.remove("root-2.crl");
    if let Some(bundle) = late.bundles.get_mut("shop") {
        bundle.roots = Ok(roots(&before));
    }
    let objects: Vec<String> =
        bundles(&state, &late, NOW).into_iter().map(|finding| finding.object).collect();
    assert_eq!(objects, ["ConfigMap shop/handfast-trust", "revocation list of root-2"]);
}

#[test]
fn pods_that_ask_for_revocation_have_the_new_lists_before_anything_is_issued() {
    let before = State::new(TrustDomain::default(), NOW).unwrap();
    let old = leaf(&before);
    for subject in [Subject::Root, Subject::Intermediate] {
        let state = before.start(subject, NOW).unwrap();
        let pod = Observed { user: user(false), seen: Vec::new(), ports: Vec::new() };
        let mut found = evidence(&state, old.clone(), true, pod);
        let later = NOW + Duration::minutes(3);
        assert!(bundles(&state, &found, later).is_empty(), "nobody there asks");
        found.list_users.insert("shop".into());
        let lacks = bundles(&state, &found, later);
        assert!(!lacks.is_empty() && lacks[0].why.contains("lacks the revocation list of"), "{lacks:?}");
        let all: String = found.lists.values().cloned().collect();
        found.bundles.get_mut("shop").unwrap().lists = all;
        let early = bundles(&state, &found, NOW + Duration::seconds(30));
        assert!(!early.is_empty() && early[0].why.contains("kubelet may not have"), "{early:?}");
        assert!(bundles(&state, &found, later).is_empty());
    }
}

#[test]
fn what_is_left_behind_is_named_and_nothing_else_is() {
    let finding = |object: &str| stale(object.to_owned(), "old".to_owned());
    let objects = [
        "ConfigMap shop/handfast-trust",
        "Pod shop/web-1",
        "Secret bank/web-tls",
        "revocation list of root-2",
    ];
    let part = |given: &[&str]| {
        let choices =
            Choices { leave_behind: given.iter().map(|name| (*name).into()).collect(), ..Choices::default() };
        let (counts, left) = choices.part(objects.iter().map(|object| finding(object)).collect());
        assert_eq!(counts.len() + left.len(), objects.len());
        left.into_iter().map(|finding| finding.object).collect::<Vec<_>>()
    };
    assert!(part(&[]).is_empty());
    assert_eq!(part(&["shop"]), objects[..2]);
    assert_eq!(part(&["shop/web-1", "bank/other"]), ["Pod shop/web-1"]);
    assert!(part(&["root-2", "of", "web-1"]).is_empty());
}

#[test]
fn a_certificate_that_the_kubelet_asked_for_is_looked_at_too() {
    let before = State::new(TrustDomain::default(), NOW).unwrap();
    let old = leaf(&before);
    let state = before.start(Subject::Root, NOW).unwrap().confirm(NOW).unwrap().switch(NOW).unwrap();
    let new = leaf(&state);
    let own = |made: OffsetDateTime, held: &[u8], choices: &Choices| {
        let mut user = user(false);
        user.places.truncate(1);
        user.places[0].source = Source::Pod;
        user.made = made;
        let pod = Observed { user, seen: vec![Ok(vec![held.to_vec()])], ports: Vec::new() };
        kinds(&presenters(&state, &evidence(&state, new.clone(), true, pod), choices, NOW))
    };
    let none = Choices::default();
    assert_eq!(own(NOW - Duration::DAY, &old, &RELOAD), [Kind::Stale]);
    assert_eq!(own(NOW - Duration::DAY, &new, &none), [Kind::Unseen], "its process may hold the old one");
    assert!(own(NOW - Duration::DAY, &new, &RELOAD).is_empty());
    assert!(own(NOW + Duration::minutes(1), &new, &none).is_empty(), "made after the switch");
}
