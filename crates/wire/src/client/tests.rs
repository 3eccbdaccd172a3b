//! What is taken in of answers; no sockets.

use std::sync::Arc;

use model::mesh::policy::{Action, Scope};
use model::mesh::{Mode, Policy, Workload};

use super::mirror::Mirror;
use crate::catalog::Type;
use crate::convert::tests::{policy, service, workload};
use crate::convert::{Context, policy_resource, service_resource, workload_resource};
use crate::proto::Any;
use crate::proto::discovery::{DeltaDiscoveryResponse, Resource};

fn resource(of: Type, version: &str, (name, value): (String, bytes::Bytes)) -> Resource {
    let resource = Some(Any { type_url: of.url().into(), value });
    Resource { version: version.into(), name, resource, ..Resource::default() }
}

fn answer(of: Type, resources: Vec<Resource>, gone: &[&str]) -> DeltaDiscoveryResponse {
    let removed_resources = gone.iter().map(|name| (*name).to_owned()).collect();
    DeltaDiscoveryResponse { type_url: of.url().into(), resources, removed_resources, ..Default::default() }
}

fn own() -> Policy {
    Policy { dry_run: false, action: Action::Allow, ..policy() }
}

#[test]
fn what_is_understood_is_in_force_and_the_rest_is_refused_by_name() {
    let mut mirror = Mirror::new(Context::default());
    let broken = ("here//Pod/bank/x".to_owned(), bytes::Bytes::from_static(&[0xff]));
    let first = answer(
        Type::Address,
        vec![
            resource(Type::Address, "1", workload_resource(&workload())),
            resource(Type::Address, "1", broken),
            resource(Type::Address, "1", service_resource(&service())),
        ],
        &[],
    );
    let taken = mirror.take(first);
    assert!(taken.refused.unwrap().starts_with("here//Pod/bank/x: ?: it cannot be decoded"));
    assert!(taken.changed && !mirror.is_whole());
    assert_eq!(**mirror.world().workload(&workload().uid).unwrap(), workload());
    assert_eq!(mirror.versions(Type::Address).len(), 2);
    assert_eq!(mirror.refused().len(), 1);
    mirror.take(answer(Type::Authorization, vec![], &[]));
    assert!(mirror.is_whole());
    // A new version that makes no sense leaves the old one in force, and its version.
    let wrong = resource(Type::Address, "2", (workload().uid, vec![0xff].into()));
    assert!(mirror.take(answer(Type::Address, vec![wrong], &[])).refused.is_some());
    assert!(mirror.world().workload(&workload().uid).is_some());
    assert_eq!(mirror.versions(Type::Address)[&workload().uid], "1");
    let gone = [workload().uid, service().name.to_string(), "here//Pod/bank/x".to_owned()];
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    assert!(mirror.take(answer(Type::Address, vec![], &gone)).refused.is_none());
    assert_eq!(mirror.world().workloads().count() + mirror.world().services().count(), 0);
    assert!(mirror.versions(Type::Address).is_empty() && mirror.refused().is_empty());
    let other = DeltaDiscoveryResponse { type_url: "x".into(), ..Default::default() };
    assert!(mirror.take(other).refused.is_some());
}

#[test]
fn a_policy_that_is_not_understood_denies_even_where_an_older_one_was_known() {
    let mut mirror = Mirror::new(Context::default());
    let fine = resource(Type::Authorization, "1", policy_resource(&own()));
    assert!(mirror.take(answer(Type::Authorization, vec![fine.clone()], &[])).refused.is_none());
    assert!(mirror.world().policy("bank/who").is_some());
    let wrong = |type_url: &str, value: &'static [u8]| Resource {
        resource: Some(Any { type_url: type_url.into(), value: value.into() }),
        ..fine.clone()
    };
    let rows = [
        wrong(Type::Authorization.url(), &[0xff]),
        wrong(Type::Address.url(), &[]),
        Resource { resource: None, ..fine.clone() },
    ];
    for row in rows {
        assert!(mirror.take(answer(Type::Authorization, vec![row], &[])).refused.is_some());
        assert!(mirror.world().policy("bank/who").is_none());
        let unknown: Vec<_> = mirror.world().unknown_policies().collect();
        assert_eq!(unknown, [("bank/who", Scope::Global)]);
        // It is among what we have, so that we hear when it is gone.
        assert_eq!(mirror.versions(Type::Authorization)["bank/who"], "");
        mirror.take(answer(Type::Authorization, vec![fine.clone()], &[]));
        assert_eq!(mirror.world().unknown_policies().count(), 0);
        assert!(mirror.world().policy("bank/who").is_some());
    }
    mirror.take(answer(Type::Authorization, vec![wrong(Type::Authorization.url(), &[0xff])], &[]));
    mirror.take(answer(Type::Authorization, vec![], &["bank/who"]));
    assert_eq!(mirror.world().unknown_policies().count(), 0);
}

#[test]
fn a_workload_whose_modes_are_not_understood_is_strict_or_stays_as_it_was() {
    let strange = |uid: &str| {
        let (name, bytes) = workload_resource(&Workload { uid: uid.into(), ..workload() });
        // The mode of all ports: strict (3) becomes one that there is not.
        let mut bytes = bytes.to_vec();
        let modes: &[u8] = &[0x08, 3, 0x12];
        let at = bytes.windows(modes.len()).position(|window| window == modes).unwrap();
        bytes[at + 1] = 9;
        (name, bytes::Bytes::from(bytes))
    };
    let mut mirror = Mirror::new(Context::default());
    let fine = Workload { modes: model::mesh::Modes::default(), ..workload() };
    mirror.take(answer(Type::Address, vec![resource(Type::Address, "1", workload_resource(&fine))], &[]));
    let new = resource(Type::Address, "1", strange("u2"));
    let old = resource(Type::Address, "2", strange(&fine.uid));
    let refused = mirror.take(answer(Type::Address, vec![new, old], &[])).refused.unwrap();
    assert!(refused.contains("inbound.all: there is no mode 9"), "{refused}");
    assert_eq!(mirror.world().workload(&fine.uid).unwrap().modes, fine.modes);
    let closed = mirror.world().workload("u2").unwrap();
    assert_eq!((closed.modes.inbound.all, closed.modes.outbound.all), (Mode::Strict, Mode::Strict));
}

#[test]
fn a_world_is_copied_only_where_it_changes_while_somebody_has_it() {
    let mut mirror = Mirror::new(Context::default());
    mirror.take(answer(
        Type::Address,
        vec![resource(Type::Address, "1", workload_resource(&workload()))],
        &[],
    ));
    let first = Arc::clone(mirror.world());
    mirror.take(answer(Type::Authorization, vec![], &[]));
    assert!(Arc::ptr_eq(&first, mirror.world()), "nothing changed");
    mirror.take(answer(Type::Address, vec![], &[workload().uid.as_str()]));
    assert!(first.workload(&workload().uid).is_some() && mirror.world().workload(&workload().uid).is_none());
}
