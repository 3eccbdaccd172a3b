//! Everything, and then what changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use handfast_wire::catalog::{Catalog, Type};
use handfast_wire::proto::discovery::{DeltaDiscoveryRequest, Status};
use handfast_wire::server::Limits;
use model::mesh::{Change, Workload, World};

use crate::plane::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_hears_everything_and_then_every_change() {
    let mut plane = Plane::start(world(50)).await;
    let proxy = plane.listen(Some("good"));
    tokio::time::timeout(LIMIT, proxy.ready()).await.unwrap();
    until(&proxy, "all of it", |world| {
        world.workloads().count() == 50 && world.services().count() == 1 && world.policy("shop/p").is_some()
    })
    .await;
    let state = proxy.state.borrow().clone();
    assert!(state.connected && state.ready && state.error.is_none() && state.not_understood.is_empty());
    // The policies of strict modes are for others than us.
    assert_eq!(proxy.world.borrow().policies().count(), 1);
    assert_eq!(**proxy.world.borrow().workload("here//Pod/shop/web-7").unwrap(), workload(7));
    let heard = state.resources;
    plane.change([
        Change::Workload(Workload { healthy: false, ..workload(7) }),
        Change::WorkloadGone(workload(8).uid),
    ]);
    until(&proxy, "a change", |world| {
        world.workload(&workload(8).uid).is_none() && !world.workload(&workload(7).uid).unwrap().healthy
    })
    .await;
    assert_eq!(until_state(&proxy, "counted", |state| state.resources > heard).await.resources, heard + 2);
    let catalog = plane.catalog.borrow().clone();
    wait("everybody is there", || {
        plane.proxies.status(&catalog)[0].types.iter().all(|(_, _, behind)| behind.is_none())
    })
    .await;
    let status = plane.proxies.status(&catalog);
    let [one] = &status[..] else { panic!("{status:?}") };
    assert_eq!(one.proxy.node, "ztunnel~10.0.0.1~p.shop~shop.svc.cluster.local");
    assert_eq!(one.proxy.identity, "system:serviceaccount:shop:proxy");
    for (_, progress, _) in &one.types {
        assert_eq!((progress.sent, progress.acknowledged), (catalog.generation(), catalog.generation()));
        assert!(progress.refused.is_none());
    }
    assert!(plane.applied.load(Ordering::Relaxed) >= 1);
    drop(proxy);
    wait("nobody is there", || plane.proxies.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_goes_on_while_nobody_is_there_and_then_hears_the_difference_alone() {
    let mut plane = Plane::start(world(200)).await;
    let proxy = plane.listen(Some("good"));
    until(&proxy, "all of it", |world| world.workloads().count() == 200).await;
    tokio::time::timeout(LIMIT, proxy.ready()).await.unwrap();
    plane.change([Change::Policy(policy("q"))]);
    until(&proxy, "a policy", |world| world.policy("shop/q").is_some()).await;
    let (address, authority, clients, mut world) = plane.stop().await;
    let state = until_state(&proxy, "gone", |state| !state.connected).await;
    assert!(state.ready && state.error.is_some(), "{state:?}");
    assert_eq!(proxy.world.borrow().workloads().count(), 200, "the last good world stays");
    let heard = state.resources;
    world.apply(Change::WorkloadGone(workload(3).uid));
    world.apply(Change::Workload(workload(200)));
    world.apply(Change::Workload(Workload { node: "n2".into(), ..workload(4) }));
    world.apply(Change::PolicyGone("shop/p".into()));
    let plane = Plane::start_at(address, authority, clients, world, Limits::default()).await;
    until(&proxy, "the difference", |world| {
        world.workload(&workload(200).uid).is_some() && world.policy("shop/p").is_none()
    })
    .await;
    let world = proxy.world.borrow().clone();
    assert_eq!(world.workloads().count(), 200);
    assert!(world.workload(&workload(3).uid).is_none() && world.policy("shop/q").is_some());
    assert_eq!(world.workload(&workload(4).uid).unwrap().node, "n2");
    let state = until_state(&proxy, "counted", |state| state.resources >= heard + 4).await;
    assert_eq!(state.resources, heard + 4, "two that are new or other, two that are gone");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_anything_before_it_is_known() {
    let mut plane = Plane::start(world(1)).await;
    plane.catalog.send_replace(Arc::new(Catalog::default()));
    let proxy = plane.listen(Some("good"));
    until_state(&proxy, "a stream", |state| state.connected).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(proxy.state.borrow().taken, 0);
    plane.change([]);
    tokio::time::timeout(LIMIT, proxy.ready()).await.unwrap();
    until(&proxy, "all of it", |world| world.workloads().count() == 1).await;
    // An empty mesh is something that can be known.
    plane.change([
        Change::WorkloadGone(workload(0).uid),
        Change::ServiceGone(service().name),
        Change::PolicyGone("shop/p".into()),
    ]);
    until(&proxy, "nothing", |world| {
        world.workloads().count() + world.services().count() + world.policies().count() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_gets_one_answer_at_a_time_and_is_seen_to_be_behind() {
    let mut plane = Plane::start(world(1)).await;
    let mut slow = plane.raw().await;
    slow.ask(Type::Address).await;
    slow.ask(Type::Authorization).await;
    let policies = slow.hear().await.unwrap();
    assert_eq!(policies.type_url, Type::Authorization.url(), "though it asked for addresses first");
    let first = slow.hear().await.unwrap();
    assert_eq!((first.resources.len(), first.type_url.as_str()), (2, Type::Address.url()));
    for number in 1..=50 {
        plane.change([Change::Workload(workload(number))]);
    }
    slow.hears_nothing().await;
    let behind = || {
        let catalog = plane.catalog.borrow().clone();
        let status = plane.proxies.status(&catalog).remove(0);
        status.types.into_iter().find(|(of, ..)| *of == Type::Address).unwrap()
    };
    let (_, progress, missing) = behind();
    assert_eq!((progress.sent, progress.acknowledged), (1, 0));
    // A service, and one workload and fifty.
    assert_eq!(missing.unwrap().resources, Some(52));
    slow.yes(&policies).await;
    slow.yes(&first).await;
    let rest = slow.hear().await.unwrap();
    assert_eq!(rest.resources.len(), 50);
    slow.hears_nothing().await;
    let detail = Some(Status { code: 3, message: "I do not like it".into(), details: vec![] });
    let (type_url, response_nonce) = (rest.type_url.clone(), rest.nonce.clone());
    slow.say(DeltaDiscoveryRequest { type_url, response_nonce, error_detail: detail, ..Default::default() })
        .await;
    wait("the refusal is seen", || behind().1.refused.is_some()).await;
    let (_, progress, missing) = behind();
    assert_eq!(progress.refused.unwrap().0, "I do not like it");
    assert_eq!((progress.acknowledged, missing.unwrap().resources), (1, Some(50)));
    slow.hears_nothing().await;
    plane.change([Change::Workload(workload(51))]);
    let next = slow.hear().await.unwrap();
    assert_eq!(next.resources.len(), 1);
    slow.yes(&next).await;
    let catalog = plane.catalog.borrow().clone();
    wait("all is well", || {
        plane.proxies.status(&catalog)[0].types.iter().all(|(_, _, behind)| behind.is_none())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_proxies_hear_one_change_each_and_nothing_else() {
    let mut plane = Plane::start(world(20)).await;
    let mut proxies = Vec::new();
    for _ in 0..20 {
        let channel = plane.channel().await;
        for number in 0..50 {
            let channel = channel.clone();
            proxies.push(tokio::spawn(async move {
                let mut proxy = channel.stream(&format!("n{number}")).await;
                proxy.ask(Type::Authorization).await;
                proxy.ask(Type::Address).await;
                let mut heard = 0;
                for _ in 0..2 {
                    let answer = proxy.hear().await.unwrap();
                    heard += answer.resources.len();
                    proxy.yes(&answer).await;
                }
                // Twenty and a service; a policy and that of strict modes.
                assert_eq!(heard, 23);
                proxy
            }));
        }
    }
    let proxies = futures_util::future::join_all(proxies).await;
    let mut proxies: Vec<Raw> = proxies.into_iter().map(Result::unwrap).collect();
    assert_eq!(plane.proxies.len(), 1000);
    plane.change([Change::Workload(workload(20))]);
    for proxy in &mut proxies {
        let answer = proxy.hear().await.unwrap();
        assert_eq!(answer.resources.len(), 1);
        assert_eq!(answer.resources[0].name, workload(20).uid);
        assert!(answer.removed_resources.is_empty());
        proxy.yes(&answer).await;
    }
    let catalog = plane.catalog.borrow().clone();
    wait("all of them have it", || {
        let status = plane.proxies.status(&catalog);
        status.iter().all(|one| one.types.iter().all(|(_, _, behind)| behind.is_none()))
    })
    .await;
    assert_eq!(plane.applied.load(Ordering::Relaxed), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_is_told_nothing() {
    let plane = Plane::start(world(1)).await;
    for token in [None, Some("bad")] {
        let proxy = plane.listen(token);
        let state = until_state(&proxy, "refused", |state| state.error.is_some()).await;
        let error = state.error.unwrap();
        assert!(error.contains("refuses: nobody I know"), "{error}");
        assert!(!state.connected && !state.ready && state.taken == 0);
        assert_eq!(proxy.world.borrow().workloads().count(), 0);
    }
    assert!(plane.proxies.is_empty());
    // Somebody else answers there: not a word is said to him.
    let mut target = plane.target();
    target.server_name = "other.test".try_into().unwrap();
    let proxy = listen(target, Some("good"));
    let state = until_state(&proxy, "refused", |state| state.error.is_some()).await;
    assert!(state.error.unwrap().contains("cannot be reached"));
    // A certificate is as good as a token, where it is taken for that.
    let issued = plane.clients.client("proxy", "proxy", |_| {});
    let mut target = plane.target();
    target.tls = Some(tokio::sync::watch::channel(plane.client_config(Some(&issued))).1);
    let proxy = listen(target, None);
    tokio::time::timeout(LIMIT, proxy.ready()).await.unwrap();
    let status = plane.proxies.status(&plane.catalog.borrow());
    assert_eq!(status[0].proxy.identity, "a chain of 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_shown_with_the_next_connection() {
    let plane = Plane::start(World::default()).await;
    let old = plane.listen(Some("good"));
    tokio::time::timeout(LIMIT, old.ready()).await.unwrap();
    let other = testkit::pki::Authority::root("Another");
    plane.tls.send_replace(server_config(&other, &plane.clients));
    let new = plane.listen(Some("good"));
    let state = until_state(&new, "not believed", |state| state.error.is_some()).await;
    assert!(state.error.unwrap().contains("cannot be reached"));
    assert!(old.state.borrow().connected, "what stands goes on");
}
