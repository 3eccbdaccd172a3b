//! What comes back decides as what went in; and what makes no sense closes.

use std::net::IpAddr;

use model::mesh::policy::{Account, Action, Clause, Field, Match, Network, Rule, Text};
use model::mesh::{Modes, PortModes, Trust, Tunnel, WorkloadKind};
use prost::Message as _;

use super::*;
use crate::proto::mesh::{MODES_EXTENSION, MODES_TYPE};
use crate::proto::{Any, Extension};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn name(short: &str) -> ServiceName {
    ServiceName { namespace: "bank".into(), hostname: format!("{short}.bank.svc.cluster.local") }
}

/// Every field has a value of its own.
pub(crate) fn workload() -> Workload {
    let ports = vec![Port { service: 80, target: 8080, protocol: AppProtocol::Http2 }];
    let inbound =
        PortModes { all: Mode::Strict, ports: [(9090, Mode::Permissive), (9091, Mode::Disabled)].into() };
    let outbound = PortModes { all: Mode::Permissive, ports: [(443, Mode::Strict)].into() };
    Workload {
        uid: "here//Pod/bank/ledger-1".into(),
        name: "ledger-1".into(),
        namespace: "bank".into(),
        addresses: vec![ip("10.244.0.2"), ip("fd00::2")],
        trust_domain: "example.org".parse().unwrap(),
        service_account: "ledger".into(),
        node: "n1".into(),
        tunnel: Tunnel::Hbone,
        host_network: false,
        workload_name: "ledger".into(),
        kind: WorkloadKind::Deployment,
        canonical_name: "the-ledger".into(),
        canonical_revision: "v2".into(),
        cluster: "here".into(),
        services: [(name("ledger"), ports)].into(),
        policies: vec!["bank/one".into(), "bank/two".into()],
        healthy: true,
        modes: Modes { inbound, outbound },
    }
}

pub(crate) fn service() -> Service {
    Service {
        name: name("ledger"),
        short: "ledger".into(),
        addresses: vec![ip("10.96.0.7"), ip("fd00:1::7")],
        ports: vec![
            Port { service: 80, target: 0, protocol: AppProtocol::Grpc },
            Port { service: 443, target: 8443, protocol: AppProtocol::Tls },
        ],
        subject_alt_names: vec!["spiffe://example.org/ns/bank/sa/ledger".into()],
    }
}

pub(crate) fn policy() -> Policy {
    let texts = |prefix: &str| {
        vec![
            Text::Exact(format!("{prefix}-exact")),
            Text::Prefix(format!("{prefix}-prefix")),
            Text::Suffix(format!("{prefix}-suffix")),
            Text::Presence,
        ]
    };
    let account = |name: &str| vec![Account { namespace: format!("{name}-ns"), name: name.into() }];
    let network = |address: &str, length| vec![Network::new(ip(address), length).unwrap()];
    let full = Match {
        namespaces: Field { any: texts("namespace"), none: texts("not-namespace") },
        principals: Field { any: texts("principal"), none: texts("not-principal") },
        service_accounts: Field { any: account("one"), none: account("two") },
        source_ips: Field { any: network("10.1.0.0", 16), none: network("fd01::", 64) },
        destination_ips: Field { any: network("10.2.0.0", 24), none: network("0.0.0.0", 0) },
        destination_ports: Field { any: vec![80, 65535], none: vec![8080] },
    };
    Policy {
        namespace: "bank".into(),
        name: "who".into(),
        scope: Scope::Namespace,
        action: Action::Deny,
        rules: vec![
            Rule {
                clauses: vec![Clause { matches: vec![full.clone(), Match::default()] }, Clause::default()],
            },
            Rule::default(),
        ],
        dry_run: true,
    }
}

fn read(name: &str, bytes: &[u8]) -> Change {
    read_address(name, bytes, &Context::default()).unwrap()
}

pub(crate) fn trust(step: u64) -> Trust {
    Trust {
        domain: "cluster.local".into(),
        roots: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
        issuer: format!("intermediate-{step}"),
        issuer_fingerprint: format!("{step:064x}"),
        step,
    }
}

#[test]
fn trust_comes_back_as_it_went_and_senseless_trust_is_refused() {
    let (name, bytes) = trust_resource(&trust(3));
    let context = Context::default();
    assert_eq!(read_trust(&name, &bytes, &context), Ok(Some(trust(3))));
    let elsewhere = Context { trust_domain: "other.org".parse().unwrap(), ..Context::default() };
    assert_eq!(read_trust(&name, &bytes, &elsewhere), Ok(None));
    assert_eq!(read_trust("x", &bytes, &context).unwrap_err().field, "name");
    for (wrong, field) in [
        (Trust { roots: String::new(), ..trust(3) }, "roots"),
        (Trust { roots: "-----BEGIN CERTIFICATE-----\n!".into(), ..trust(3) }, "roots"),
        (Trust { issuer_fingerprint: "00".into(), ..trust(3) }, "issuer_fingerprint"),
    ] {
        let (name, bytes) = trust_resource(&wrong);
        assert_eq!(read_trust(&name, &bytes, &context).unwrap_err().field, field);
    }
}

#[test]
fn a_workload_comes_back_as_it_went() {
    let mut plain = Workload {
        tunnel: Tunnel::None,
        host_network: true,
        healthy: false,
        service_account: String::new(),
        kind: WorkloadKind::CronJob,
        modes: Modes::default(),
        policies: Vec::new(),
        addresses: Vec::new(),
        ..workload()
    };
    let both = [workload(), plain.clone(), {
        plain.kind = WorkloadKind::Job;
        plain.modes.inbound = Mode::Strict.into();
        plain
    }];
    for own in both {
        let (key, bytes) = workload_resource(&own);
        assert_eq!(key, own.uid);
        let Change::Workload(found) = read(&key, &bytes) else { panic!() };
        assert_eq!(found, own);
    }
}

#[test]
fn a_service_comes_back_as_it_went() {
    let (key, bytes) = service_resource(&service());
    assert_eq!(key, "bank/ledger.bank.svc.cluster.local");
    let Change::Service(found) = read(&key, &bytes) else { panic!() };
    assert_eq!(found, service());
}

#[test]
fn a_policy_comes_back_as_it_went() {
    for scope in [Scope::Global, Scope::Namespace, Scope::Selected] {
        for action in [Action::Allow, Action::Deny] {
            let own = Policy { scope, action, ..policy() };
            let (key, bytes) = policy_resource(&own);
            assert_eq!(key, "bank/who");
            let Some(Change::Policy(found)) = read_authorization(&key, &bytes).unwrap() else { panic!() };
            assert_eq!(found, own);
        }
    }
}

#[test]
fn strict_modes_are_policies_for_istios_proxies_and_nothing_for_ours() {
    let named = |inbound: PortModes| strict_policy(&inbound).map(|policy| policy.key());
    let ports = |all, ports: &[(u16, Mode)]| PortModes { all, ports: ports.iter().copied().collect() };
    assert_eq!(named(Mode::Permissive.into()), None);
    assert_eq!(named(ports(Mode::Disabled, &[(80, Mode::Permissive)])), None);
    assert_eq!(named(Mode::Strict.into()).unwrap(), "handfast_modes/strict");
    assert_eq!(named(ports(Mode::Strict, &[(80, Mode::Strict)])).unwrap(), "handfast_modes/strict");
    let except = ports(Mode::Strict, &[(81, Mode::Disabled), (80, Mode::Permissive), (82, Mode::Strict)]);
    assert_eq!(named(except.clone()).unwrap(), "handfast_modes/strict_except_80_81");
    assert_eq!(named(ports(Mode::Permissive, &[(80, Mode::Strict)])).unwrap(), "handfast_modes/strict_on_80");
    // What they decide is what the modes decide.
    let identity = "spiffe://cluster.local/ns/bank/sa/web".parse().unwrap();
    let modes = [except, ports(Mode::Permissive, &[(80, Mode::Strict)]), Mode::Strict.into()];
    for inbound in modes {
        let policy = strict_policy(&inbound).unwrap();
        for port in [79, 80, 81, 82] {
            for identity in [None, Some(&identity)] {
                let arrival =
                    model::mesh::Arrival { identity, source: ip("10.1.1.1"), address: ip("10.1.1.2"), port };
                let by_mode = identity.is_none() && inbound.of(port) == Mode::Strict;
                let mut world = model::mesh::World::default();
                world.apply(Change::Policy(policy.clone()));
                let to = Workload { policies: vec![policy.key()], ..Workload::default() };
                assert_eq!(
                    !model::mesh::policy::decide(&world, &to, &arrival).is_allowed(),
                    by_mode,
                    "{port}"
                );
            }
        }
        let (key, bytes) = policy_resource(&policy);
        assert!(read_authorization(&key, &bytes).unwrap().is_none());
    }
    let (_, bytes) = workload_resource(&workload());
    let Some(proto::AddressType::Workload(message)) = proto::Address::decode(bytes).unwrap().r#type else {
        panic!()
    };
    let listed = ["bank/one", "bank/two", "handfast_modes/strict_except_9090_9091"];
    assert_eq!(message.authorization_policies, listed);
}

fn message() -> proto::Workload {
    workload::to_wire(&workload())
}

fn refused(message: proto::Workload) -> Refused {
    let r#type = Some(proto::AddressType::Workload(message));
    let bytes = proto::Address { r#type }.encode_to_vec();
    read_address("here//Pod/bank/ledger-1", &bytes, &Context::default()).unwrap_err()
}

#[test]
fn what_makes_no_sense_in_a_workload_is_named() {
    type Edit = fn(&mut proto::Workload);
    let rows: [(Edit, &str); 7] = [
        (|m| m.addresses[1] = vec![1, 2, 3], "addresses[1]: an address has 4 bytes or 16, and this has 3"),
        (|m| m.tunnel_protocol = 7, "tunnel_protocol: there is no tunnel 7"),
        (|m| m.trust_domain = "Example".into(), "trust_domain: \"Example\""),
        (|m| m.uid.clear(), "uid: it is empty"),
        (|m| m.uid.push('x'), "name: it was sent as"),
        (
            |m| m.services.values_mut().for_each(|list| list.ports[0].target_port = 70_000),
            "services[bank/ledger.bank.svc.cluster.local].ports[0].target_port: 70000 is no port",
        ),
        (
            |m| drop(m.services.insert("ledger".into(), proto::PortList::default())),
            "services[ledger]: it is no",
        ),
    ];
    for (edit, expected) in rows {
        let mut changed = message();
        edit(&mut changed);
        let found = refused(changed);
        assert!(found.error.to_string().starts_with(expected), "{}", found.error);
        assert!(matches!(found.instead, Instead::Before), "{expected}");
    }
    let nothing = read_address("x", &[], &Context::default()).unwrap_err();
    assert_eq!(nothing.error.field, "type");
    let garbage = read_address("x", &[0xff, 0xff, 0xff], &Context::default()).unwrap_err();
    assert!(garbage.error.to_string().contains("cannot be decoded"), "{}", garbage.error);
}

#[test]
fn modes_that_make_no_sense_are_strict_until_something_is_known() {
    use crate::proto::mesh::{Modes, PortModes};
    let fine = Some(PortModes { all: 2, ports: [(80, 3)].into() });
    let modes = |inbound: Option<PortModes>| Modes { inbound, outbound: fine.clone() }.encode_to_vec();
    let config = |value: Vec<u8>| Some(Any { type_url: MODES_TYPE.into(), value: value.into() });
    let mut more = modes(fine.clone());
    more.extend([0x1a, 0]);
    let rows = [
        (None, "it is no type.googleapis.com"),
        (Some(Any { type_url: "x".into(), value: Bytes::new() }), "it is no type.googleapis.com"),
        (config(vec![0xff]), "it cannot be decoded"),
        (config(more), "it has a field that is not known"),
        (config(modes(None)), ".inbound: it is not said"),
        (config(modes(Some(PortModes::default()))), ".inbound.all: there is no mode 0"),
        (config(modes(Some(PortModes { all: 9, ports: [].into() }))), ".inbound.all: there is no mode 9"),
        (
            config(modes(Some(PortModes { all: 1, ports: [(80, 4)].into() }))),
            ".inbound.ports[80]: there is no mode 4",
        ),
        (
            config(modes(Some(PortModes { all: 1, ports: [(65536, 1)].into() }))),
            ".inbound.ports: 65536 is no port",
        ),
    ];
    for (config, expected) in rows {
        let extension = Extension { name: MODES_EXTENSION.into(), config };
        let found = refused(proto::Workload { extensions: vec![extension], ..message() });
        assert!(found.error.to_string().contains(expected), "{}", found.error);
        let Instead::Else(change) = found.instead else { panic!() };
        let Change::Workload(closed) = *change else { panic!() };
        assert_eq!((closed.modes.inbound.all, closed.modes.outbound.all), (Mode::Strict, Mode::Strict));
        assert!(closed.modes.inbound.ports.is_empty());
    }
    let mut twice = message();
    twice.extensions.push(twice.extensions[0].clone());
    assert!(refused(twice).error.what.contains("twice"));
}

#[test]
fn a_workload_of_another_control_plane_is_taken_as_it_is_meant() {
    let meant = |edit: fn(&mut proto::Workload), context: &Context| {
        let mut changed = message();
        changed.extensions.clear();
        edit(&mut changed);
        workload::from_wire(changed, context).unwrap()
    };
    let usual = Context::default();
    // Without modes of ours the policies say what is asked, and are not passed over.
    let plain = meant(|_| (), &usual);
    assert_eq!(plain.modes, Modes::default());
    assert!(plain.policies.contains(&"handfast_modes/strict_except_9090_9091".to_owned()));
    let elided = meant(|m| (m.trust_domain, m.service_account) = Default::default(), &usual);
    assert_eq!(elided.identity().unwrap().to_string(), "spiffe://cluster.local/ns/bank/sa/default");
    assert_eq!(meant(|m| m.tunnel_protocol = 2, &usual).tunnel, Tunnel::None);
    assert!(!meant(|m| m.status = 5, &usual).healthy);
    assert!(meant(|m| m.network_mode = 5, &usual).host_network);
    assert_eq!(meant(|m| m.workload_type = 77, &usual).kind, WorkloadKind::Pod);
    // What cannot be done is not done without.
    let waypoint = meant(|m| m.waypoint = Some(proto::GatewayAddress::default()), &usual);
    assert!(waypoint.policies.contains(&"handfast_unsupported/waypoint".to_owned()));
    let tunnel =
        meant(|m| m.application_tunnel = Some(proto::ApplicationTunnel { protocol: 1, port: 1 }), &usual);
    assert!(tunnel.policies.contains(&"handfast_unsupported/application_tunnel".to_owned()));
    let far = meant(|m| m.network = "far".into(), &usual);
    assert!(far.addresses.is_empty() && !far.healthy);
    let near = meant(|m| m.network = "far".into(), &Context { network: "far".into(), ..usual });
    assert!(!near.addresses.is_empty() && near.healthy);
}

#[test]
fn a_policy_that_makes_no_sense_closes_what_it_would_apply_to() {
    use crate::proto::security::{Address, Authorization, ServiceAccountMatch, StringMatch};
    type Edit = fn(&mut Authorization);
    fn part(m: &mut Authorization) -> &mut crate::proto::security::Match {
        &mut m.rules[0].clauses[0].matches[0]
    }
    let here = Scope::Namespace;
    let rows: [(Edit, &str, Scope); 11] = [
        (|m| m.scope = 3, "scope: there is no scope 3", Scope::Global),
        (|m| m.action = 2, "action: there is no action 2", here),
        (|m| m.name.push('x'), "name: it was sent as", here),
        (
            |m| part(m).principals[2] = StringMatch::default(),
            "rules[0].clauses[0].matches[0].principals[2]:",
            here,
        ),
        (
            |m| part(m).not_namespaces[0] = StringMatch::default(),
            "rules[0].clauses[0].matches[0].not_namespaces[0]:",
            here,
        ),
        (
            |m| part(m).source_ips[0].length = 33,
            "rules[0].clauses[0].matches[0].source_ips[0]: 10.1.0.0 has no 33",
            here,
        ),
        (
            |m| part(m).destination_ips[0] = Address { address: vec![1], length: 8 },
            "rules[0].clauses[0].matches[0].destination_ips[0]:",
            here,
        ),
        (
            |m| part(m).destination_ports[1] = 65_536,
            "rules[0].clauses[0].matches[0].destination_ports[1]: 65536",
            here,
        ),
        (
            |m| {
                part(m).not_service_accounts[0] =
                    ServiceAccountMatch { namespace: String::new(), service_account: "x".into() }
            },
            "rules[0].clauses[0].matches[0].not_service_accounts[0]:",
            here,
        ),
        (
            |m| part(m).extensions.push(Extension { name: "x".into(), config: None }),
            "rules[0].clauses[0].matches[0].extensions:",
            here,
        ),
        (
            |m| m.extensions.push(Extension { name: "x".into(), config: None }),
            "extensions: \"x\" is not known",
            here,
        ),
    ];
    for (edit, expected, closes) in rows {
        for dry_run in [false, true] {
            let mut changed = policy::to_wire(&Policy { dry_run, ..policy() });
            edit(&mut changed);
            let found = read_authorization("bank/who", &changed.encode_to_vec()).unwrap_err();
            assert!(found.error.to_string().starts_with(expected), "{}", found.error);
            let Instead::Always(change) = found.instead else { panic!() };
            match *change {
                Change::PolicyUnknown { key, scope } => {
                    assert_eq!((key.as_str(), scope), ("bank/who", closes));
                    assert!(!dry_run || closes == Scope::Global);
                }
                Change::Policy(tried) => assert!(dry_run && tried.dry_run),
                other => panic!("{other:?}"),
            }
        }
    }
    // A condition that is not known is a condition.
    let whole = policy::to_wire(&Policy { dry_run: false, ..policy() });
    let mut bytes = whole.encode_to_vec();
    bytes.extend([0x72, 1, b'x']);
    let found = read_authorization("bank/who", &bytes).unwrap_err();
    assert!(found.error.what.contains("not known"), "{}", found.error);
    let garbage = read_authorization("bank/who", &[0xff]).unwrap_err();
    let Instead::Always(change) = garbage.instead else { panic!() };
    let Change::PolicyUnknown { scope, .. } = *change else { panic!() };
    assert_eq!(scope, Scope::Global);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), at in 0_usize..400, to: u8) {
        let _ = read_address("a/b", &bytes, &Context::default());
        let _ = read_authorization("a/b", &bytes);
        for whole in [workload_resource(&workload()).1, service_resource(&service()).1, policy_resource(&policy()).1] {
            let mut one = whole.to_vec();
            let at = at % one.len();
            one[at] = to;
            let _ = read_address("a/b", &one, &Context::default());
            let _ = read_authorization("a/b", &one);
            one.truncate(at);
            let _ = read_address("a/b", &one, &Context::default());
            let _ = read_authorization("a/b", &one);
        }
    }
}
