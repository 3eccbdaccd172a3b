//! Hundreds of pods come and go, whose addresses are used again: what a proxy knows is at every moment something that was
//! true, never older than what it knew before, and at the end it is the truth.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use controller::mesh::Options;
use controller::mesh::live::Live;
use handfast_wire::catalog::{Catalog, Type};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use model::mesh::{Owner, Tunnel, World};
use serde_json::json;

use crate::plane::{LIMIT, Plane};

/// Pods that come and go; so many there are at one time, and so many addresses they share: one is used again as soon as it
/// is free.
const TURNS: u32 = 4000;
const ALIVE: usize = 100;
const ADDRESSES: u32 = 101;

/// Of one turn to the next a pod comes, and the oldest goes.
struct Cluster {
    live: Live,
    catalog: Arc<Catalog>,
    alive: VecDeque<u32>,
}

fn address(turn: u32) -> IpAddr {
    let place = turn % ADDRESSES;
    [10, 1, u8::try_from(place / 250).unwrap(), u8::try_from(place % 250).unwrap()].into()
}

/// A pod of a StatefulSet's or of its own name, and of its own account.
fn pod(turn: u32) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "namespace": "shop", "name": name(turn), "uid": format!("u{turn}"), "labels": { "app": "web" } },
        "spec": { "nodeName": "n1", "serviceAccountName": format!("sa{turn}"), "containers": [] },
        "status": { "phase": "Running", "podIP": address(turn).to_string(),
                    "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
    .unwrap()
}

/// Every third one has the name of one that was there before.
fn name(turn: u32) -> String {
    if turn.is_multiple_of(3) { format!("web-{}", turn % 102) } else { format!("job-{turn}") }
}

fn key(turn: u32) -> (String, String) {
    ("shop".to_owned(), name(turn))
}

impl Cluster {
    fn new() -> Self {
        let mut live = Live::new(Options::default());
        let namespace: Namespace = serde_json::from_value(
            json!({ "metadata": { "name": "shop", "labels": { "handfast.dev/mesh": "enabled" } } }),
        )
        .unwrap();
        live.namespace("shop", Some(Arc::new(namespace)));
        let service: Service = serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": "web" },
            "spec": { "clusterIP": "10.96.0.7", "selector": { "app": "web" }, "ports": [{ "port": 80 }] } }))
        .unwrap();
        live.service(("shop".to_owned(), "web".to_owned()), Some(Arc::new(service)));
        Self { live, catalog: Arc::default(), alive: VecDeque::new() }
    }

    fn turn(&mut self, turn: u32) {
        if self.alive.len() == ALIVE
            && let Some(oldest) = self.alive.pop_front()
        {
            self.live.pod(key(oldest), None);
        }
        self.live.pod(key(turn), Some(Arc::new(pod(turn))));
        self.alive.push_back(turn);
    }

    fn publish(&mut self) -> Arc<Catalog> {
        let update = self.live.update();
        self.catalog = self.catalog.changed(&update.world, &update.touched);
        Arc::clone(&self.catalog)
    }
}

/// By address, the turn of the pod whose identity a call to it would ask for. Whose address, name and account are not of
/// one pod is found out here.
fn owners(world: &World) -> BTreeMap<IpAddr, u32> {
    let mut owners = BTreeMap::new();
    for place in 0..ADDRESSES {
        let Some(Owner::Workload(workload)) = world.at(address(place)) else { continue };
        assert_eq!(workload.tunnel, Tunnel::Hbone);
        let turn: u32 = workload.service_account.strip_prefix("sa").unwrap().parse().unwrap();
        assert_eq!((workload.name.clone(), workload.addresses.clone()), (name(turn), vec![address(turn)]));
        assert_eq!(address(turn), address(place), "the address of another");
        owners.insert(address(place), turn);
    }
    owners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_come_and_go_and_no_address_is_ever_anothers() {
    let mut cluster = Cluster::new();
    let plane = Plane::start(World::default()).await;
    cluster.turn(0);
    plane.catalog.send_replace(cluster.publish());
    let mut proxies: Vec<_> = (0..3).map(|_| plane.listen(Some("good"))).collect();
    let watching: Vec<_> = proxies
        .iter()
        .map(|proxy| {
            let mut world = proxy.world.clone();
            tokio::spawn(async move {
                let mut last: BTreeMap<IpAddr, u32> = BTreeMap::new();
                let mut seen = 0_u32;
                loop {
                    let now = owners(&world.borrow_and_update());
                    for (address, turn) in &now {
                        let before = last.get(address).copied().unwrap_or_default();
                        assert!(before <= *turn, "{address} goes back from {before} to {turn}");
                    }
                    seen += 1;
                    let done = now.values().max() == Some(&TURNS);
                    last.extend(now);
                    if done {
                        return seen;
                    }
                    world.changed().await.unwrap();
                }
            })
        })
        .collect();
    let mut sizes = Vec::new();
    for turn in 1..=TURNS {
        cluster.turn(turn);
        // As they come: now each for itself, now several at once.
        if turn % 7 != 0 || turn == TURNS {
            plane.catalog.send_replace(cluster.publish());
        }
        if turn.is_multiple_of(20) {
            tokio::task::yield_now().await;
        }
        if turn.is_multiple_of(1000) {
            sizes.push(cluster.catalog.resources(Type::Address).len());
        }
    }
    // What is held follows what there is, not what there was: a Service, and the pods of this moment.
    assert_eq!(sizes, vec![ALIVE + 1; sizes.len()]);
    for watching in watching {
        let seen = tokio::time::timeout(LIMIT, watching).await.unwrap().unwrap();
        assert!(seen > 1, "nothing was seen but the end");
    }
    let truth: BTreeMap<IpAddr, u32> = cluster.alive.iter().map(|turn| (address(*turn), *turn)).collect();
    for proxy in &mut proxies {
        let whole = |world: &Arc<World>| owners(world) == truth && world.workloads().count() == ALIVE;
        tokio::time::timeout(LIMIT, proxy.world.wait_for(whole)).await.unwrap().unwrap();
        assert_eq!(proxy.state.borrow().refused, 0);
        let world = proxy.world.borrow();
        let service = world.service_called("web", "shop").unwrap();
        assert_eq!(world.endpoints(&service.name).count(), ALIVE);
    }
}
