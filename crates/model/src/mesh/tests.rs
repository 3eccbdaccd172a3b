use std::net::IpAddr;

use super::policy::{
    Account, Action, Arrival, Clause, Field, Match, Network, Reason, Rule, Scope, Text, decide,
};
use super::*;
use crate::codes::mesh as codes;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(short: &str) -> ServiceName {
    ServiceName { namespace: "bank".into(), hostname: format!("{short}.bank.svc.cluster.local") }
}

fn workload(name_of: &str, address: &str, tunnel: Tunnel) -> Workload {
    let ports = vec![Port { service: 80, target: 8080, protocol: AppProtocol::Unknown }];
    Workload {
        uid: format!("here//Pod/bank/{name_of}"),
        name: name_of.into(),
        namespace: "bank".into(),
        addresses: vec![ip(address)],
        service_account: name_of.into(),
        tunnel,
        workload_name: name_of.into(),
        services: [(name("ledger"), ports)].into(),
        healthy: true,
        ..Workload::default()
    }
}

fn service() -> Service {
    Service {
        name: name("ledger"),
        short: "ledger".into(),
        addresses: vec![ip("10.96.0.7")],
        ports: vec![Port { service: 80, target: 0, protocol: AppProtocol::Http11 }],
        subject_alt_names: Vec::new(),
    }
}

fn one(part: Match) -> Rule {
    Rule { clauses: vec![Clause { matches: vec![part] }] }
}

fn from(principal: &str) -> Match {
    let any = vec![Text::Exact(format!("cluster.local/ns/bank/sa/{principal}"))];
    Match { principals: Field { any, none: Vec::new() }, ..Match::default() }
}

fn policy(name: &str, action: Action, rules: Vec<Rule>) -> Policy {
    Policy { namespace: "bank".into(), name: name.into(), action, rules, ..Policy::default() }
}

fn id(account: &str) -> SpiffeId {
    SpiffeId::service_account(&TrustDomain::default(), "bank", account).unwrap()
}

fn world(changes: impl IntoIterator<Item = Change>) -> World {
    let mut world = World::default();
    for change in changes {
        world.apply(change);
    }
    world
}

fn ask(world: &World, to: &Workload, identity: Option<&SpiffeId>, port: u16) -> Decision {
    let arrival = Arrival { identity, source: ip("10.244.0.9"), address: to.addresses[0], port };
    decide(world, to, &arrival)
}

#[test]
fn denial_comes_first_and_then_one_that_allows_has_to_match() {
    let to = workload("ledger", "10.244.0.2", Tunnel::Hbone);
    let (web, batch) = (id("web"), id("batch"));
    let mut world = World::default();
    assert_eq!(ask(&world, &to, None, 8080).reason, Reason::NoPolicy);
    world.apply(Change::Policy(policy("web-only", Action::Allow, vec![one(from("web"))])));
    assert_eq!(ask(&world, &to, Some(&web), 8080).reason, Reason::AllowedBy("bank/web-only".into()));
    let refused = ask(&world, &to, Some(&batch), 8080);
    assert_eq!(refused.reason.code(), Some(&codes::NOT_ALLOWED));
    assert_eq!(refused.reason.to_string(), "1 rule of bank/web-only considered, none matched");
    assert_eq!(ask(&world, &to, None, 8080).reason.code(), Some(&codes::NOT_ALLOWED));
    world.apply(Change::Policy(policy("no-web", Action::Deny, vec![one(from("web"))])));
    assert_eq!(ask(&world, &to, Some(&web), 8080).reason, Reason::DeniedBy("bank/no-web".into()));
    // A policy of another namespace is none of ours.
    world.apply(Change::PolicyGone("bank/no-web".into()));
    let other = Policy { namespace: "shop".into(), ..policy("no-web", Action::Deny, vec![one(from("web"))]) };
    world.apply(Change::Policy(other.clone()));
    assert!(ask(&world, &to, Some(&web), 8080).is_allowed());
    world.apply(Change::Policy(Policy { scope: Scope::Global, ..other }));
    assert!(!ask(&world, &to, Some(&web), 8080).is_allowed());
}

#[test]
fn an_allowing_policy_without_rules_allows_nobody_and_an_empty_match_matches_nothing() {
    let to = workload("ledger", "10.244.0.2", Tunnel::Hbone);
    let web = id("web");
    for rules in [
        vec![],
        vec![one(Match::default())],
        vec![Rule {
            clauses: vec![Clause { matches: vec![from("web")] }, Clause { matches: vec![Match::default()] }],
        }],
    ] {
        let allow = world([Change::Policy(policy("p", Action::Allow, rules.clone()))]);
        assert!(!ask(&allow, &to, Some(&web), 8080).is_allowed(), "{rules:?}");
        let deny = world([Change::Policy(policy("p", Action::Deny, rules))]);
        assert!(ask(&deny, &to, Some(&web), 8080).is_allowed());
    }
}

#[test]
fn a_rule_that_asks_for_nothing_matches_everything() {
    let to = workload("ledger", "10.244.0.2", Tunnel::Hbone);
    for rules in [vec![Rule::default()], vec![Rule { clauses: vec![Clause::default()] }]] {
        for identity in [Some(&id("web")), None] {
            let allow = world([Change::Policy(policy("p", Action::Allow, rules.clone()))]);
            assert!(ask(&allow, &to, identity, 8080).is_allowed(), "{rules:?}");
            let deny = world([Change::Policy(policy("p", Action::Deny, rules.clone()))]);
            assert!(!ask(&deny, &to, identity, 8080).is_allowed(), "{rules:?}");
        }
    }
}

#[test]
fn a_policy_that_is_listed_and_not_known_denies() {
    let mut to = workload("ledger", "10.244.0.2", Tunnel::Hbone);
    to.policies = vec!["bank/lost".into()];
    let decision = ask(&World::default(), &to, Some(&id("web")), 8080);
    assert_eq!(decision.reason, Reason::UnknownPolicy("bank/lost".into()));
    let selected = Policy { scope: Scope::Selected, ..policy("lost", Action::Allow, vec![one(from("web"))]) };
    let world = world([Change::Policy(selected)]);
    assert!(ask(&world, &to, Some(&id("web")), 8080).is_allowed());
    // The same policy says nothing about a workload that does not list it.
    to.policies.clear();
    assert_eq!(ask(&world, &to, Some(&id("batch")), 8080).reason, Reason::NoPolicy);
}

#[test]
fn every_field_of_a_match_is_asked_and_what_is_excluded_is_excluded() {
    let to = workload("ledger", "10.244.0.2", Tunnel::Hbone);
    let web = id("web");
    let full = Match {
        namespaces: Field { any: vec![Text::Prefix("ba".into())], none: vec![Text::Exact("bad".into())] },
        principals: Field {
            any: vec![Text::Suffix("/sa/web".into()), Text::Exact("x".into())],
            none: vec![],
        },
        service_accounts: Field {
            any: vec![Account { namespace: "bank".into(), name: "web".into() }],
            none: vec![Account { namespace: "bank".into(), name: "batch".into() }],
        },
        source_ips: Field { any: vec![Network::new(ip("10.244.0.0"), 24).unwrap()], none: vec![] },
        destination_ips: Field { any: vec![], none: vec![Network::new(ip("10.244.0.3"), 32).unwrap()] },
        destination_ports: Field { any: vec![8080, 8081], none: vec![8081] },
    };
    let allows = |part: &Match, identity: Option<&SpiffeId>, port| {
        let world = world([Change::Policy(policy("p", Action::Allow, vec![one(part.clone())]))]);
        ask(&world, &to, identity, port).is_allowed()
    };
    assert!(allows(&full, Some(&web), 8080));
    assert!(!allows(&full, Some(&web), 8081), "an excluded port");
    assert!(!allows(&full, Some(&web), 9000), "another port");
    assert!(!allows(&full, Some(&id("batch")), 8080));
    assert!(!allows(&full, None, 8080));
    let without = |change: fn(&mut Match)| {
        let mut part = full.clone();
        change(&mut part);
        allows(&part, Some(&web), 8080)
    };
    assert!(!without(|part| part.namespaces.none.push(Text::Suffix("nk".into()))));
    assert!(!without(|part| part.principals.none.push(Text::Presence)));
    assert!(!without(|part| part.source_ips.any = vec![Network::new(ip("10.245.0.0"), 16).unwrap()]));
    assert!(!without(|part| part.destination_ips.none.push(Network::new(ip("10.244.0.2"), 32).unwrap())));
    assert!(!without(|part| part
        .service_accounts
        .none
        .push(Account { namespace: "bank".into(), name: "web".into() })));
    // Nobody is "not X": that is how Istio writes a strict port.
    let nobody = Match { principals: Field { any: vec![], none: vec![Text::Presence] }, ..Match::default() };
    assert!(allows(&nobody, None, 8080));
    assert!(!allows(&nobody, Some(&web), 8080));
}

#[test]
fn a_policy_that_nobody_could_make_sense_of_closes_all_that_it_may_apply_to() {
    let to = workload("ledger", "10.244.0.2", Tunnel::Hbone);
    let web = id("web");
    let allow = policy("p", Action::Allow, vec![one(from("web"))]);
    for (key, scope, closes) in [
        ("bank/p", Scope::Namespace, true),
        ("shop/p", Scope::Namespace, false),
        ("shop/p", Scope::Global, true),
        ("bank/p", Scope::Selected, false),
    ] {
        let mut world = world([Change::Policy(allow.clone())]);
        let unknown = Change::PolicyUnknown { key: key.into(), scope };
        world.apply(unknown.clone());
        let reason = ask(&world, &to, Some(&web), 8080).reason;
        assert_eq!(matches!(&reason, Reason::UnknownPolicy(found) if found == key), closes, "{reason:?}");
        let mut lists = to.clone();
        lists.policies.push(key.into());
        assert_eq!(ask(&world, &lists, Some(&web), 8080).reason, Reason::UnknownPolicy(key.into()));
        world.apply(Change::PolicyGone(key.into()));
        assert!(ask(&world, &to, Some(&web), 8080).is_allowed());
        world.apply(unknown);
        world.apply(Change::Policy(Policy { namespace: key[..4].into(), ..allow.clone() }));
        assert!(ask(&world, &to, Some(&web), 8080).is_allowed());
    }
}

#[test]
fn networks_compare_the_first_bits() {
    let net = |address: &str, length| Network::new(ip(address), length).unwrap();
    assert!(net("10.1.2.3", 8).contains(ip("10.200.0.1")));
    assert!(!net("10.1.2.3", 16).contains(ip("10.200.0.1")));
    assert!(net("10.1.2.3", 0).contains(ip("192.0.2.1")) && !net("10.1.2.3", 0).contains(ip("::1")));
    assert!(net("10.1.2.3", 32).contains(ip("::ffff:10.1.2.3")));
    assert!(net("::ffff:10.1.0.0", 112).contains(ip("10.1.2.3")));
    assert!(net("fd00::", 8).contains(ip("fd12::1")) && !net("fd00::", 8).contains(ip("fe80::1")));
    assert!(net("::", 0).contains(ip("fe80::1")));
    assert!(Network::new(ip("10.1.2.3"), 33).is_none() && Network::new(ip("::"), 129).is_none());
}

#[test]
fn what_is_only_tried_is_said_and_not_done() {
    let to = workload("ledger", "10.244.0.2", Tunnel::Hbone);
    let tried = Policy { dry_run: true, ..policy("try", Action::Allow, vec![one(from("web"))]) };
    let world = world([Change::Policy(tried)]);
    let decision = ask(&world, &to, Some(&id("batch")), 8080);
    assert!(decision.is_allowed());
    assert_eq!(decision.would_refuse, ["1 rule of bank/try considered, none matched"]);
    assert!(ask(&world, &to, Some(&id("web")), 8080).would_refuse.is_empty());
}

#[test]
fn a_strict_port_takes_no_plain_text_and_others_do() {
    let mut to = workload("ledger", "10.244.0.2", Tunnel::Hbone);
    to.modes.inbound = Mode::Strict.into();
    to.modes.inbound.ports.insert(9090, Mode::Permissive);
    let world = World::default();
    assert_eq!(ask(&world, &to, None, 8080).reason, Reason::Plain);
    assert!(ask(&world, &to, None, 9090).is_allowed());
    assert!(ask(&world, &to, Some(&id("web")), 8080).is_allowed());
}

#[test]
fn a_call_to_a_service_goes_to_a_ready_workload_through_the_tunnel() {
    let source = workload("web", "10.244.0.9", Tunnel::Hbone);
    let mut sick = workload("b", "10.244.0.3", Tunnel::Hbone);
    sick.healthy = false;
    let mut world = world([
        Change::Workload(workload("a", "10.244.0.2", Tunnel::Hbone)),
        Change::Workload(sick),
        Change::Workload(workload("c", "10.244.0.4", Tunnel::Hbone)),
        Change::Service(service()),
    ]);
    let called = "10.96.0.7:80".parse().unwrap();
    for (pick, expected) in [(0, "10.244.0.2:8080"), (1, "10.244.0.4:8080"), (7, "10.244.0.4:8080")] {
        let mut seen = 0;
        let route = route(&world, &source, called, |count| {
            seen = count;
            pick
        });
        let Ok(Route::Mesh { target, proxy, identity, protocol, service, .. }) = route else {
            panic!("{route:?}")
        };
        assert_eq!((seen, target.to_string().as_str()), (2, expected));
        assert_eq!((proxy.ip(), proxy.port()), (target.ip(), HBONE_PORT));
        assert_eq!(
            identity.to_string(),
            format!("spiffe://cluster.local/ns/bank/sa/{}", if pick == 0 { "a" } else { "c" })
        );
        assert_eq!((protocol, service), (AppProtocol::Http11, Some(name("ledger"))));
    }
    let refused = |world: &World, to: &str| route(world, &source, to.parse().unwrap(), |_| 0).unwrap_err();
    let error = refused(&world, "10.96.0.7:81");
    assert_eq!(error.code, &codes::NO_PORT);
    assert_eq!(error.detail, "bank/ledger.bank.svc.cluster.local has no port 81; it has 80");
    for uid in ["a", "c"] {
        world.apply(Change::WorkloadGone(format!("here//Pod/bank/{uid}")));
    }
    assert!(refused(&world, "10.96.0.7:80").detail.ends_with("none of its 1 workloads is ready"));
    world.apply(Change::WorkloadGone("here//Pod/bank/b".into()));
    assert!(refused(&world, "10.96.0.7:80").detail.ends_with("nobody is behind it"));
    world.apply(Change::ServiceGone(name("ledger")));
    let route = route(&world, &source, called, |_| 0).unwrap();
    assert!(matches!(route, Route::Plain { why: Plain::Unknown, .. }));
}

#[test]
fn a_strict_caller_never_falls_back_to_plain_text() {
    let mut source = workload("web", "10.244.0.9", Tunnel::Hbone);
    let mut open = workload("open", "10.244.0.5", Tunnel::Hbone);
    open.modes.inbound = Mode::Disabled.into();
    let world = world([
        Change::Workload(workload("old", "10.244.0.2", Tunnel::None)),
        Change::Workload(open),
        Change::Workload(workload("new", "10.244.0.4", Tunnel::Hbone)),
    ]);
    let ways = [
        ("10.244.0.2:8080", Plain::NotInMesh),
        ("10.244.0.5:8080", Plain::Disabled),
        ("192.0.2.1:443", Plain::Unknown),
    ];
    for (to, why) in ways {
        let to = to.parse().unwrap();
        let found = route(&world, &source, to, |_| 0).unwrap();
        assert!(
            matches!(found, Route::Plain { why: found, target, .. } if found == why && target == to),
            "{found:?}"
        );
    }
    source.modes.outbound = Mode::Strict.into();
    for (to, _) in ways {
        let error = route(&world, &source, to.parse().unwrap(), |_| 0).unwrap_err();
        assert_eq!(error.code, &codes::WOULD_BE_PLAIN);
    }
    assert!(route(&world, &source, "10.244.0.4:8080".parse().unwrap(), |_| 0).is_ok());
    source.modes.outbound.ports.insert(443, Mode::Permissive);
    assert!(route(&world, &source, "192.0.2.1:443".parse().unwrap(), |_| 0).is_ok());
    source.modes.outbound = Mode::Disabled.into();
    let found = route(&world, &source, "10.244.0.4:8080".parse().unwrap(), |_| 0).unwrap();
    assert!(matches!(found, Route::Plain { why: Plain::Disabled, .. }));
}

#[test]
fn an_address_that_was_given_to_another_stays_the_others() {
    let mut world = world([
        Change::Workload(workload("a", "10.244.0.2", Tunnel::Hbone)),
        Change::Workload(workload("b", "10.244.0.2", Tunnel::Hbone)),
        Change::WorkloadGone("here//Pod/bank/a".into()),
    ]);
    let owner = |world: &World| match world.at(ip("::ffff:10.244.0.2")) {
        Some(Owner::Workload(workload)) => Some(workload.name.clone()),
        _ => None,
    };
    assert_eq!(owner(&world).as_deref(), Some("b"));
    assert_eq!(world.endpoints(&name("ledger")).count(), 1);
    let moved = workload("b", "10.244.0.8", Tunnel::Hbone);
    world.apply(Change::Workload(moved));
    assert!(world.at(ip("10.244.0.2")).is_none());
    let host = Workload { host_network: true, ..workload("n", "192.0.2.10", Tunnel::Hbone) };
    world.apply(Change::Workload(host));
    assert!(world.at(ip("192.0.2.10")).is_none());
}

#[test]
fn a_service_is_found_by_the_names_that_a_pod_may_use() {
    let world = world([Change::Service(service())]);
    for (host, namespace, found) in [
        ("ledger", "bank", true),
        ("ledger", "shop", false),
        ("ledger.bank", "shop", true),
        ("LEDGER.bank.svc", "shop", true),
        ("ledger.bank.svc.cluster.local.", "shop", true),
        ("ledger.shop.svc.cluster.local", "bank", false),
        ("ledger.bank.svc.example.org", "bank", false),
        ("", "bank", false),
    ] {
        assert_eq!(world.service_called(host, namespace).is_some(), found, "{host} in {namespace}");
    }
}

#[test]
fn an_address_that_several_have_is_the_running_ones_and_goes_back_when_the_other_ends() {
    let place = |name: &str, node: &str, healthy: bool| Workload {
        node: node.into(),
        healthy,
        ..workload(name, "10.244.0.9", Tunnel::Hbone)
    };
    let owner = |world: &World| match world.at(ip("10.244.0.9")) {
        Some(Owner::Workload(found)) => found.name.clone(),
        other => panic!("{other:?}"),
    };
    // Whoever was heard of last: the one that takes connections, and one that runs nowhere has nobody's address.
    let forged = Workload { tunnel: Tunnel::None, ..place("forged", "", true) };
    let all = [place("ends", "one", false), place("new", "one", true), forged];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let mut world = world(order.map(|n| Change::Workload(all[n].clone())));
        assert_eq!(owner(&world), "new");
        world.apply(Change::WorkloadGone(all[0].uid.clone()));
        assert_eq!(owner(&world), "new");
        world.apply(Change::WorkloadGone(all[1].uid.clone()));
        assert_eq!(owner(&world), "forged");
        world.apply(Change::WorkloadGone(all[2].uid.clone()));
        assert!(world.at(ip("10.244.0.9")).is_none());
    }
    // A Service's address stays the Service's.
    let thief = Workload { node: "one".into(), ..workload("thief", "10.96.0.7", Tunnel::None) };
    for order in [[0, 1], [1, 0]] {
        let changes = [Change::Service(service()), Change::Workload(thief.clone())];
        let world = world(order.map(|n| changes[n].clone()));
        assert!(matches!(world.at(ip("10.96.0.7")), Some(Owner::Service(_))));
    }
}

#[test]
fn memberships_are_in_the_order_of_their_names_each_once() {
    let port = |target| vec![Port { service: 80, target, protocol: AppProtocol::Unknown }];
    let all = [(name("web"), port(1)), (name("api"), port(2)), (name("web"), port(3))];
    let mut memberships: Memberships = all.into_iter().collect();
    assert_eq!(memberships.keys().collect::<Vec<_>>(), [&name("api"), &name("web")]);
    assert_eq!(memberships.get(&name("web")), Some(&port(3)));
    assert_eq!(memberships.insert(name("web"), port(4)), Some(port(3)));
    assert_eq!(memberships.get(&name("ledger")), None);
    assert_eq!(memberships.iter().map(|(_, ports)| ports[0].target).collect::<Vec<_>>(), [2, 4]);
    assert_eq!((memberships.len(), memberships.is_empty()), (2, false));
    let other = [(name("web"), port(4)), (name("api"), port(2))].into();
    assert_eq!(memberships, other, "whichever came first");
}

#[test]
fn a_world_that_was_given_out_stays_as_it_was_while_the_next_one_changes() {
    let before = world([
        Change::Service(service()),
        Change::Workload(workload("a", "10.244.0.2", Tunnel::Hbone)),
        Change::Workload(workload("b", "10.244.0.3", Tunnel::Hbone)),
    ]);
    let mut after = before.clone();
    after.apply(Change::Workload(workload("a", "10.244.0.7", Tunnel::None)));
    after.apply(Change::WorkloadGone("here//Pod/bank/b".into()));
    let members = |world: &World| -> Vec<(String, Tunnel)> {
        world.endpoints(&name("ledger")).map(|one| (one.name.clone(), one.tunnel)).collect()
    };
    assert_eq!(members(&before), [("a".into(), Tunnel::Hbone), ("b".into(), Tunnel::Hbone)]);
    assert_eq!(members(&after), [("a".into(), Tunnel::None)]);
    assert!(before.at(ip("10.244.0.2")).is_some() && before.at(ip("10.244.0.7")).is_none());
    assert!(after.at(ip("10.244.0.2")).is_none() && after.at(ip("10.244.0.7")).is_some());
}
