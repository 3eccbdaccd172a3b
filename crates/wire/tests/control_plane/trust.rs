//! Whom to trust: heard at once, agreed to when it is in force, over reconnections too.

use std::sync::Arc;
use std::time::Duration;

use handfast_wire::catalog::Type;
use handfast_wire::client::Adopting;
use handfast_wire::server::{Limits, Progress};
use model::mesh::{Change, Trust, Workload};
use testkit::pki;

use crate::plane::*;

fn trust(step: u64) -> Arc<Trust> {
    Arc::new(Trust {
        domain: "cluster.local".into(),
        roots: pki::Authority::root("Test root").pem(),
        issuer: format!("intermediate-{step}"),
        issuer_fingerprint: format!("{step:064x}"),
        step,
    })
}

fn tell(plane: &Plane, trust: &Arc<Trust>) {
    let next = plane.catalog.borrow().trusting(trust);
    plane.catalog.send_replace(next);
}

/// How far the one proxy is with whom to trust, and whether it is behind.
fn progress(plane: &Plane) -> Option<(Progress, bool)> {
    let catalog = plane.catalog.borrow().clone();
    let status = plane.proxies.status(&catalog);
    let types = status.into_iter().next()?.types;
    types
        .into_iter()
        .find(|(of, ..)| *of == Type::Trust)
        .map(|(_, progress, behind)| (progress, behind.is_some()))
}

fn is_behind(plane: &Plane) -> bool {
    progress(plane).is_some_and(|(progress, behind)| behind && progress.sent > progress.acknowledged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yes_comes_when_it_is_in_force_and_not_before_over_reconnections_too() {
    let mut plane = Plane::start(world(5)).await;
    let (first, second) = (trust(1), trust(2));
    tell(&plane, &first);
    let adopting = Adopting::default();
    let own = adopting.enter("web");
    let proxy = listen_adopting(plane.target(), Some("good"), Some(adopting));
    let mut told = proxy.trust.clone();
    told.wait_for(|told| told.as_ref() == Some(&first)).await.unwrap();
    tokio::time::timeout(LIMIT, proxy.ready()).await.unwrap();
    wait("it is sent", || is_behind(&plane)).await;
    // The rest is taken meanwhile.
    plane.change([Change::Workload(Workload { healthy: false, ..workload(3) })]);
    until(&proxy, "a change", |world| !world.workload(&workload(3).uid).unwrap().healthy).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(is_behind(&plane), "{:?}", progress(&plane));
    own.in_force(&first);
    wait("its yes", || progress(&plane).is_some_and(|(_, behind)| !behind)).await;

    tell(&plane, &second);
    told.wait_for(|told| told.as_ref() == Some(&second)).await.unwrap();
    own.not_yet("no certificate");
    // It says that it has this when it comes back: to have it is not to have it in force.
    let (address, authority, clients, world) = plane.stop().await;
    let plane = Plane::start_at(address, authority, clients, world, Limits::default()).await;
    tell(&plane, &second);
    wait("it is back", || is_behind(&plane)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(is_behind(&plane), "{:?}", progress(&plane));
    own.in_force(&second);
    wait("its yes", || progress(&plane).is_some_and(|(_, behind)| !behind)).await;
    drop(proxy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senseless_trust_is_refused_and_the_last_good_one_stays() {
    let plane = Plane::start(world(1)).await;
    let good = trust(1);
    tell(&plane, &good);
    let adopting = Adopting::default();
    adopting.enter("web").in_force(&good);
    let proxy = listen_adopting(plane.target(), Some("good"), Some(adopting));
    wait("its yes", || progress(&plane).is_some_and(|(_, behind)| !behind)).await;
    tell(&plane, &Arc::new(Trust { roots: String::new(), step: 2, ..Trust::clone(&good) }));
    wait("it says no", || progress(&plane).is_some_and(|(progress, _)| progress.refused.is_some())).await;
    let (progress, behind) = progress(&plane).unwrap();
    assert!(behind && progress.refused.unwrap().0.contains("roots: there are none"));
    assert_eq!(proxy.trust.borrow().as_ref(), Some(&good));
}
