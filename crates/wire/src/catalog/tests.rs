//! What is shared, what is remembered, and what is found.

use std::collections::BTreeSet;

use model::mesh::{Change, Mode};

use super::*;
use crate::convert::tests::{name, policy, service, trust, workload};

fn world(changes: impl IntoIterator<Item = Change>) -> Arc<World> {
    let mut world = World::default();
    changes.into_iter().for_each(|change| world.apply(change));
    Arc::new(world)
}

fn more(world: &Arc<World>, change: Change) -> Arc<World> {
    let mut world = World::clone(world);
    world.apply(change);
    Arc::new(world)
}

fn pod(number: usize) -> Workload {
    let uid = format!("here//Pod/bank/p{number}");
    Workload { uid, addresses: vec![IpAddr::from([10, 0, (number >> 8) as u8, number as u8])], ..workload() }
}

fn names(list: Option<Vec<Arc<str>>>) -> BTreeSet<String> {
    list.unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn what_stays_as_it_was_keeps_its_version_and_its_memory() {
    let first =
        world((0..100).map(|number| Change::Workload(pod(number))).chain([Change::Service(service())]));
    let one = Arc::new(Catalog::default()).next(&first);
    assert_eq!((one.generation(), one.resources(Type::Address).len()), (1, 101));
    assert!(Arc::ptr_eq(&one, &one.next(&first)), "nothing is otherwise");
    // Equal by value is as good as the same.
    let again =
        world((0..100).map(|number| Change::Workload(pod(number))).chain([Change::Service(service())]));
    assert!(Arc::ptr_eq(&one, &one.next(&again)));
    let second = more(&again, Change::Workload(Workload { healthy: false, ..pod(7) }));
    let two = one.next(&second);
    assert_eq!(names(two.resources(Type::Address).since(1)), ["here//Pod/bank/p7".to_owned()].into());
    assert_eq!(names(two.resources(Type::Authorization).since(1)), BTreeSet::new());
    for number in 0..100 {
        let name = pod(number).uid;
        let (old, new) =
            (one.resources(Type::Address).entry(&name), two.resources(Type::Address).entry(&name));
        let (old, new) = (old.unwrap(), new.unwrap());
        assert_eq!(Arc::ptr_eq(old, new), number != 7);
        assert_eq!(old.version == new.version, number != 7);
    }
    let three = two.next(&more(&second, Change::WorkloadGone(pod(9).uid)));
    let both = ["here//Pod/bank/p7".to_owned(), "here//Pod/bank/p9".to_owned()];
    assert_eq!(names(three.resources(Type::Address).since(1)), both.into());
    assert!(three.resources(Type::Address).entry(&pod(9).uid).is_none());
    // Another process makes the same versions of the same things.
    let other = Arc::new(Catalog::default()).next(&second);
    for (name, entry) in other.resources(Type::Address).entries() {
        assert_eq!(two.resources(Type::Address).entry(name).unwrap().version, entry.version);
    }
}

#[test]
fn changes_are_remembered_up_to_a_limit() {
    let mut all = world([Change::Workload(pod(0))]);
    let mut catalog = Arc::new(Catalog::default()).next(&all);
    for number in 0..=REMEMBERED_CHANGES {
        all = more(&all, Change::Workload(Workload { node: format!("n{number}"), ..pod(0) }));
        catalog = catalog.next(&all);
    }
    let resources = catalog.resources(Type::Address);
    assert_eq!(resources.history.len(), REMEMBERED_CHANGES);
    assert_eq!(resources.since(1), None);
    assert_eq!(resources.since(2).map(|names| names.len()), Some(1));
    assert!(resources.changed_after(catalog.generation()).is_none());
}

#[test]
fn strict_workloads_share_a_policy_and_nobody_takes_its_place() {
    let strict = |number| {
        let mut own = pod(number);
        own.modes.inbound = Mode::Strict.into();
        Change::Workload(own)
    };
    let impostor =
        model::mesh::Policy { namespace: MODES_NAMESPACE.into(), name: "strict".into(), ..policy() };
    let all = world([strict(0), strict(1), Change::Policy(impostor), Change::Policy(policy())]);
    let catalog = Arc::new(Catalog::default()).next(&all);
    let policies = catalog.resources(Type::Authorization);
    let found: BTreeSet<&str> = policies.entries().map(|(name, _)| &**name).collect();
    assert_eq!(found, ["bank/who", "handfast_modes/strict"].into());
    let expected = policy_resource(&strict_policy(&Mode::Strict.into()).unwrap()).1;
    assert_eq!(policies.entry("handfast_modes/strict").unwrap().bytes, expected);
}

#[test]
fn a_name_or_an_address_finds_all_that_a_call_needs() {
    let all = world([Change::Workload(pod(1)), Change::Service(service())]);
    let catalog = Arc::new(Catalog::default()).next(&all);
    let find = |name: &str| -> Vec<String> {
        catalog.resolve(Type::Address, name).iter().map(ToString::to_string).collect()
    };
    let (pod, service) = (pod(1).uid, name("ledger").to_string());
    let both = vec![service.clone(), pod.clone()];
    assert_eq!(find(&service), both);
    assert_eq!(find("/10.96.0.7"), both);
    assert_eq!(find("/fd00:1::7"), both);
    assert_eq!(find(&pod), std::slice::from_ref(&pod));
    assert_eq!(find("/10.0.0.1"), [pod]);
    for nothing in ["/10.0.0.9", "far/10.0.0.1", "10.0.0.1", "/", "", "bank/who"] {
        assert_eq!(find(nothing), [""; 0], "{nothing}");
    }
    assert!(catalog.resolve(Type::Authorization, "/10.0.0.1").is_empty());
    let entry = catalog.resources(Type::Address).entry(&service).unwrap();
    assert_eq!(entry.aliases(), ["/10.96.0.7", "/fd00:1::7"]);
}

#[test]
fn trust_changes_for_itself_and_only_when_it_is_another() {
    let unknown = Arc::new(Catalog::default());
    assert!(
        unknown.trusting(&Arc::new(trust(1))).trust().is_none(),
        "nothing is said before there is a world"
    );
    let all = world([Change::Workload(pod(1))]);
    let one = unknown.next(&all);
    let two = one.trusting(&Arc::new(trust(1)));
    assert_eq!((two.generation(), two.trust().map(|trust| trust.step)), (2, Some(1)));
    assert!(Arc::ptr_eq(&two, &two.trusting(&Arc::new(trust(1)))) && Arc::ptr_eq(&two, &two.next(&all)));
    assert_eq!(names(two.resources(Type::Address).since(1)), BTreeSet::new());
    let three = two.next(&more(&all, Change::WorkloadGone(pod(1).uid))).trusting(&Arc::new(trust(2)));
    assert_eq!(three.trust().map(|trust| trust.step), Some(2));
    assert_eq!(names(three.resources(Type::Trust).since(2)), ["cluster.local".to_owned()].into());
}

/// Names and versions of all resources.
fn all_of(catalog: &Catalog) -> BTreeSet<(Type, String, String)> {
    let of = |of: Type| {
        let entries = catalog.resources(of).entries();
        entries.map(move |(name, entry)| (of, name.to_string(), entry.version.to_string()))
    };
    Type::WORLD.into_iter().flat_map(of).collect()
}

#[test]
fn a_catalog_of_what_changed_is_the_catalog_of_everything() {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom as _;
    use rand::{Rng as _, SeedableRng as _};

    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut all = World::default();
        let mut catalog = Arc::new(Catalog::default()).next(&Arc::new(World::clone(&all)));
        for _ in 0..100 {
            let mut touched = Touched::default();
            for _ in 0..random.random_range(1..4) {
                let number = random.random_range(0..6_u8);
                let change = match random.random_range(0..6) {
                    0 => Change::WorkloadGone(pod(number.into()).uid),
                    1 | 2 => {
                        let mut own = pod(number.into());
                        own.healthy = random.random_bool(0.5);
                        own.tunnel = *[Tunnel::Hbone, Tunnel::None].choose(&mut random).unwrap();
                        let mode = *[Mode::Strict, Mode::Permissive].choose(&mut random).unwrap();
                        own.modes.inbound.all = mode;
                        if random.random_bool(0.3) {
                            own.modes.inbound.ports.insert(80, Mode::Strict);
                        }
                        // One that calls itself as a service is called.
                        if random.random_bool(0.2) {
                            own.uid = name("ledger").to_string();
                        }
                        Change::Workload(own)
                    }
                    3 => {
                        Change::Service(Service { addresses: vec![[10, 96, 0, number].into()], ..service() })
                    }
                    4 => Change::ServiceGone(name("ledger")),
                    _ if random.random_bool(0.5) => Change::PolicyGone(policy().key()),
                    _ => Change::Policy(model::mesh::Policy { dry_run: random.random_bool(0.5), ..policy() }),
                };
                match &change {
                    Change::Workload(own) => touched.workloads.insert(own.uid.clone()),
                    Change::WorkloadGone(uid) => touched.workloads.insert(uid.clone()),
                    Change::Service(own) => touched.services.insert(own.name.clone()),
                    Change::ServiceGone(name) => touched.services.insert(name.clone()),
                    Change::Policy(own) => touched.policies.insert(own.key()),
                    Change::PolicyGone(key) | Change::PolicyUnknown { key, .. } => {
                        touched.policies.insert(key.clone())
                    }
                };
                all.apply(change);
            }
            let now = Arc::new(all.clone());
            let (before, expected) = (Arc::clone(&catalog), catalog.next(&now));
            catalog = catalog.changed(&now, &touched);
            assert_eq!(all_of(&catalog), all_of(&expected), "seed {seed}");
            assert_eq!(catalog.generation(), expected.generation(), "seed {seed}");
            assert!(Arc::ptr_eq(catalog.world(), &now));
            for of in Type::WORLD {
                let since = |catalog: &Catalog| names(catalog.resources(of).since(before.generation()));
                assert_eq!(since(&catalog), since(&expected), "seed {seed}");
            }
        }
    }
}
