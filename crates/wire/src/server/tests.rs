//! What one proxy is told, step by step; no sockets.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::mesh::policy::Scope;
use model::mesh::{Change, Memberships, Policy, Workload, World};

use super::session::{Ended, Session};
use crate::catalog::{Catalog, Type};
use crate::convert::tests::{policy, service, trust, workload};
use crate::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Status};

/// A control plane and one proxy.
struct Pair {
    world: World,
    catalog: Arc<Catalog>,
    session: Session,
}

/// An answer: whether it is of addresses, its resources, and what is gone.
type Said = (bool, Vec<String>, Vec<String>);

impl Pair {
    fn new(changes: impl IntoIterator<Item = Change>) -> Self {
        let (world, catalog) = (World::default(), Arc::default());
        let mut pair = Self { world, catalog, session: Session::new(100) };
        pair.change(changes);
        pair
    }

    fn change(&mut self, changes: impl IntoIterator<Item = Change>) {
        changes.into_iter().for_each(|change| self.world.apply(change));
        self.catalog = self.catalog.next(&Arc::new(self.world.clone()));
    }

    fn ask(&mut self, of: Type, subscribe: &[&str], unsubscribe: &[&str]) {
        self.ask_with(of, subscribe, unsubscribe, BTreeMap::new());
    }

    fn ask_with(
        &mut self,
        of: Type,
        subscribe: &[&str],
        unsubscribe: &[&str],
        initial: BTreeMap<String, String>,
    ) {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let request = DeltaDiscoveryRequest {
            type_url: of.url().into(),
            resource_names_subscribe: texts(subscribe),
            resource_names_unsubscribe: texts(unsubscribe),
            initial_resource_versions: initial,
            ..DeltaDiscoveryRequest::default()
        };
        assert_eq!(self.session.request(request), Ok(None));
    }

    fn answers(&mut self) -> Vec<DeltaDiscoveryResponse> {
        self.session.answers(&self.catalog).unwrap()
    }

    fn word(&mut self, answer: &DeltaDiscoveryResponse, refused: Option<&str>) {
        let status = |message: &str| Status { code: 3, message: message.into(), details: Vec::new() };
        let request = DeltaDiscoveryRequest {
            type_url: answer.type_url.clone(),
            response_nonce: answer.nonce.clone(),
            error_detail: refused.map(status),
            ..DeltaDiscoveryRequest::default()
        };
        let verdict = self.session.request(request).unwrap().unwrap();
        assert_eq!(verdict.refused.as_deref(), refused);
    }

    /// What is said until nothing more is, with a yes to each.
    fn all(&mut self) -> Vec<Said> {
        let mut all = Vec::new();
        loop {
            let answers = self.answers();
            if answers.is_empty() {
                return all;
            }
            for answer in answers {
                self.word(&answer, None);
                all.push(said(answer));
            }
        }
    }
}

fn said(answer: DeltaDiscoveryResponse) -> Said {
    let mut names: Vec<String> = answer.resources.into_iter().map(|resource| resource.name).collect();
    names.sort();
    (answer.type_url == Type::Address.url(), names, answer.removed_resources)
}

fn lists(number: u8, policies: &[&str]) -> Workload {
    Workload {
        uid: format!("u{number}"),
        addresses: vec![[10, 0, 0, number].into()],
        policies: policies.iter().map(|policy| (*policy).to_owned()).collect(),
        modes: model::mesh::Modes::default(),
        ..workload()
    }
}

fn selected(name: &str) -> Change {
    Change::Policy(Policy { name: name.into(), scope: Scope::Selected, dry_run: false, ..policy() })
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn both(pair: &mut Pair) {
    pair.ask(Type::Address, &[], &[]);
    pair.ask(Type::Authorization, &[], &[]);
}

#[test]
fn policies_come_before_who_lists_them_and_go_after_nobody_does() {
    let mut pair = Pair::new([selected("a"), Change::Workload(lists(1, &["bank/a"]))]);
    pair.ask(Type::Address, &[], &[]);
    assert!(pair.session.waits_for_policies());
    pair.ask(Type::Authorization, &[], &[]);
    assert!(!pair.session.waits_for_policies() && pair.session.is_beginning());
    let none = Vec::new();
    assert_eq!(pair.all(), [(false, texts(&["bank/a"]), none.clone()), (true, texts(&["u1"]), none.clone())]);
    assert!(!pair.session.is_beginning());
    // One change that does all of it.
    pair.change([
        Change::PolicyGone("bank/a".into()),
        selected("b"),
        Change::Workload(lists(1, &["bank/b"])),
    ]);
    assert_eq!(
        pair.all(),
        [
            (false, texts(&["bank/b"]), none.clone()),
            (true, texts(&["u1"]), none.clone()),
            (false, none.clone(), texts(&["bank/a"])),
        ]
    );
    // It came back before it was gone for the proxy.
    pair.change([Change::PolicyGone("bank/b".into()), Change::Workload(lists(1, &[]))]);
    let answers = pair.answers();
    let [address, gone] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(said(address.clone()), (true, texts(&["u1"]), none.clone()));
    assert_eq!(said(gone.clone()), (false, none.clone(), texts(&["bank/b"])));
    pair.change([selected("b"), Change::Workload(lists(1, &["bank/b"]))]);
    assert!(pair.answers().is_empty(), "the workload does not overtake its policy");
    for answer in &answers {
        pair.word(answer, None);
    }
    assert_eq!(pair.all(), [(false, texts(&["bank/b"]), none.clone()), (true, texts(&["u1"]), none)]);
}

#[test]
fn one_answer_is_under_way_and_later_changes_become_one() {
    let mut pair = Pair::new([Change::Workload(lists(1, &[]))]);
    both(&mut pair);
    assert_eq!(pair.all().len(), 2);
    pair.change([Change::Workload(lists(2, &[]))]);
    let first = pair.answers();
    assert_eq!(first.len(), 1);
    for number in 3..100 {
        pair.change([Change::Workload(lists(number, &[]))]);
        pair.change([Change::WorkloadGone("u50".into())]);
        assert!(pair.answers().is_empty());
    }
    pair.word(&first[0], None);
    let [(true, names, gone)] = &pair.all()[..] else { panic!() };
    assert_eq!((names.len(), gone), (96, &texts(&["u50"])), "one that came and went is gone, not sent");
    // A change that concerns no policy is not waited for.
    assert_eq!(pair.session.watch(Type::Authorization).generations().1, pair.catalog.generation());
}

#[test]
fn a_refusal_is_noted_and_not_repeated() {
    let mut pair = Pair::new([Change::Workload(lists(1, &[]))]);
    both(&mut pair);
    pair.all();
    let before = pair.catalog.generation();
    pair.change([Change::Workload(lists(2, &[]))]);
    let answers = pair.answers();
    pair.word(&answers[0], Some("no"));
    assert!(pair.answers().is_empty());
    assert_eq!(pair.session.watch(Type::Address).generations(), (before + 1, before));
    pair.change([Change::Workload(lists(3, &[]))]);
    assert_eq!(pair.all(), [(true, texts(&["u3"]), vec![])]);
    assert_eq!(pair.session.watch(Type::Address).generations(), (before + 2, before + 2));
    // A word on an answer that is not the last one says nothing.
    pair.change([Change::Workload(lists(4, &[]))]);
    assert_eq!(pair.answers().len(), 1);
    let stale = DeltaDiscoveryRequest {
        type_url: Type::Address.url().into(),
        response_nonce: answers[0].nonce.clone(),
        ..DeltaDiscoveryRequest::default()
    };
    assert_eq!(pair.session.request(stale), Ok(None));
    assert_eq!(pair.session.watch(Type::Address).generations().1, before + 2);
}

#[test]
fn who_comes_back_gets_what_he_lacks_and_hears_what_is_gone() {
    let changes = [selected("a"), Change::Workload(lists(1, &[])), Change::Workload(lists(2, &["bank/a"]))];
    let mut pair = Pair::new(changes);
    let versions = |pair: &Pair, of| -> BTreeMap<String, String> {
        let entries = pair.catalog.resources(of).entries();
        entries.map(|(name, entry)| (name.to_string(), entry.version.to_string())).collect()
    };
    let (policies, addresses) = (versions(&pair, Type::Authorization), versions(&pair, Type::Address));
    pair.change([
        Change::PolicyGone("bank/a".into()),
        Change::Workload(lists(2, &[])),
        Change::Workload(lists(3, &[])),
        Change::WorkloadGone("u1".into()),
    ]);
    pair.ask_with(Type::Authorization, &[], &[], policies);
    pair.ask_with(Type::Address, &[], &[], addresses);
    let said = pair.all();
    assert_eq!(
        said,
        [
            (false, vec![], vec![]),
            (true, texts(&["u2", "u3"]), texts(&["u1"])),
            (false, vec![], texts(&["bank/a"])),
        ]
    );
}

#[test]
fn who_asks_for_names_gets_those_and_who_is_behind_them() {
    let mut pair = Pair::new([
        Change::Service(service()),
        Change::Workload(lists(1, &[])),
        Change::Workload(Workload { services: Memberships::default(), ..lists(2, &[]) }),
    ]);
    // In one breath, for the protocol has no way to ask for nothing.
    pair.ask(Type::Address, &["*"], &["*"]);
    assert_eq!(pair.all(), [(true, vec![], vec![])]);
    pair.ask(Type::Address, &["/10.0.0.2"], &[]);
    assert_eq!(pair.all(), [(true, texts(&["u2"]), vec![])]);
    pair.ask(Type::Address, &["/10.0.0.9", "nobody"], &[]);
    assert_eq!(pair.all(), [(true, vec![], texts(&["/10.0.0.9", "nobody"]))]);
    let key = service().name.to_string();
    pair.ask(Type::Address, &["/10.96.0.7"], &[]);
    assert_eq!(pair.all(), [(true, texts(&[&key, "u1"]), vec![])]);
    // Who was asked for in vain is told of when he comes; who was not asked for is not.
    pair.change([Change::Workload(Workload { services: Memberships::default(), ..lists(9, &[]) })]);
    assert_eq!(pair.all(), [(true, texts(&["u9"]), vec![])]);
    pair.change([Change::Workload(Workload { services: Memberships::default(), ..lists(8, &[]) })]);
    assert_eq!(pair.all(), []);
    pair.change([Change::Workload(lists(7, &[])), Change::WorkloadGone("u1".into())]);
    assert_eq!(pair.all(), [(true, texts(&["u7"]), texts(&["u1"]))]);
    // Asked again, said again.
    pair.ask(Type::Address, &["u7"], &[]);
    assert_eq!(pair.all(), [(true, texts(&["u7"]), vec![])]);
    pair.ask(Type::Address, &[], &["/10.0.0.2"]);
    pair.change([Change::Workload(lists(2, &["x/y"])), Change::Workload(lists(5, &[]))]);
    let [(true, names, _)] = &pair.all()[..] else { panic!() };
    assert!(names.contains(&"u5".to_owned()), "{names:?}");
    // At last everything.
    pair.ask(Type::Address, &["*"], &[]);
    let [(true, names, gone)] = &pair.all()[..] else { panic!() };
    assert!(names.contains(&"u8".to_owned()) && !names.contains(&"u7".to_owned()) && gone.is_empty());
    pair.ask(Type::Address, &["u8", "nobody"], &[]);
    assert_eq!(pair.all(), [(true, texts(&["u8"]), texts(&["nobody"]))]);
}

#[test]
fn nothing_is_said_before_anything_is_known_and_limits_hold() {
    let mut pair = Pair::new([]);
    pair.catalog = Arc::default();
    both(&mut pair);
    assert!(pair.answers().is_empty());
    pair.change([]);
    assert_eq!(pair.all().len(), 2, "an empty mesh is an answer");
    let other = DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/x".into(),
        ..DeltaDiscoveryRequest::default()
    };
    assert_eq!(pair.session.request(other), Ok(None));
    assert!(pair.answers().is_empty());
    let request = DeltaDiscoveryRequest {
        type_url: Type::Address.url().into(),
        resource_names_subscribe: (0..101).map(|number| format!("n{number}")).collect(),
        ..DeltaDiscoveryRequest::default()
    };
    assert_eq!(pair.session.request(request), Err(Ended::TooManyNames));
}

#[test]
fn who_is_too_far_behind_comes_back() {
    let mut pair = Pair::new([Change::Workload(lists(1, &[]))]);
    both(&mut pair);
    pair.all();
    pair.change([Change::Workload(lists(2, &[]))]);
    let answers = pair.answers();
    for number in 0..5000 {
        pair.change([Change::Workload(Workload { node: format!("n{number}"), ..lists(2, &[]) })]);
    }
    pair.word(&answers[0], None);
    assert_eq!(pair.session.answers(&pair.catalog), Err(Ended::TooFarBehind));
}

#[test]
fn trust_comes_first_waits_for_nothing_and_holds_up_nothing() {
    let mut pair = Pair::new([selected("a"), Change::Workload(lists(1, &["bank/a"]))]);
    let tell = |pair: &mut Pair, step| pair.catalog = pair.catalog.trusting(&Arc::new(trust(step)));
    tell(&mut pair, 1);
    both(&mut pair);
    pair.ask(Type::Trust, &[], &[]);
    let answers = pair.answers();
    let order: Vec<&str> = answers.iter().map(|answer| answer.type_url.as_str()).collect();
    assert_eq!(order, Type::ALL.map(Type::url));
    answers.iter().skip(1).for_each(|answer| pair.word(answer, None));
    // It takes its time with whom to trust: the rest goes on, and a newer trust waits for its word.
    pair.change([Change::Workload(lists(2, &[]))]);
    assert_eq!(pair.all(), [(true, texts(&["u2"]), Vec::new())]);
    tell(&mut pair, 2);
    assert!(pair.answers().is_empty());
    assert_eq!(pair.session.watch(Type::Trust).generations().1, 0, "it has said yes to nothing");
    // A no, and the newer one is sent; a no to that, and later a yes.
    pair.word(&answers[0], Some("no certificate"));
    let newer = pair.answers();
    assert_eq!(newer.len(), 1);
    pair.word(&newer[0], Some("no certificate yet"));
    pair.change([Change::Workload(lists(3, &[]))]);
    assert_eq!(pair.all().len(), 1);
    assert_eq!(pair.session.watch(Type::Trust).generations().1, 0);
    pair.word(&newer[0], None);
    let generation = pair.catalog.generation();
    assert_eq!(pair.session.watch(Type::Trust).generations(), (generation, generation));
    // What it said yes to before it refused another answer is not a yes to that one.
    tell(&mut pair, 3);
    let last = pair.answers();
    let old = DeltaDiscoveryRequest {
        type_url: Type::Trust.url().into(),
        response_nonce: newer[0].nonce.clone(),
        ..DeltaDiscoveryRequest::default()
    };
    assert_eq!(pair.session.request(old), Ok(None));
    assert_eq!(pair.session.watch(Type::Trust).generations().1, generation);
    pair.word(&last[0], None);
    assert_eq!(pair.session.watch(Type::Trust).generations().1, pair.catalog.generation());
}
