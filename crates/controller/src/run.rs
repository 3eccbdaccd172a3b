//! The life of a controller process: wait until it leads, lead until it does not any more, begin again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::Client;
use model::codes::{Coded as _, kube as codes};

use crate::audit::Audit;
use crate::error::chain;
use crate::grant::Domains;
use crate::lead::{Leader, lead};
use crate::lease::Election;
use crate::lifetimes::Lifetimes;
use crate::metrics::Metrics;
use crate::names::CONTROLLER;

/// After the authority could not be used.
const AGAIN: Duration = Duration::from_secs(5);

/// How a controller runs.
pub struct Options {
    /// The API server.
    pub client: Client,
    /// The controller's namespace.
    pub namespace: String,
    /// The name of this process among all controllers: its pod's.
    pub identity: String,
    /// The two domains.
    pub domains: Domains,
    /// Between which lifetimes Certificates may choose.
    pub lifetimes: Lifetimes,
    /// Whether several may run, of which one leads.
    pub leader_elect: bool,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether it is ready.
    pub health: Arc<Health>,
}

/// Whether the process is ready: it leads and has read everything, or it stands by.
#[derive(Debug, Default)]
pub struct Health(AtomicBool);

impl Health {
    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }
}

/// Runs until `shutdown`.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) {
    let leader = Leader {
        client: options.client.clone(),
        namespace: options.namespace.clone(),
        identity: options.identity.clone(),
        domains: options.domains,
        lifetimes: options.lifetimes,
        metrics: Arc::clone(&options.metrics),
        audit: Audit::new(&format!("{CONTROLLER}/{}", options.identity)),
        skew: Arc::default(),
    };
    let health = options.health;
    if !options.leader_elect {
        options.metrics.set_leader(true);
        tokio::select! {
            () = lead_on(&leader, &health) => {}
            () = shutdown => {}
        }
        return;
    }
    // No two processes have the same name, not even one and its successor in the same pod.
    let me = format!("{}_{:08x}", options.identity, rand::random::<u32>());
    let mut election = Election::new(options.client, &options.namespace, &me);
    tokio::select! {
        () = take_turns(&mut election, &leader, &health) => {}
        () = shutdown => {}
    }
    health.set(false);
    let _ = tokio::time::timeout(Duration::from_secs(3), election.release()).await;
}

async fn take_turns(election: &mut Election, leader: &Leader, health: &Health) {
    loop {
        election.acquire(|| health.set(true)).await;
        leader.metrics.set_leader(true);
        tracing::info!("this controller leads now");
        let compare_clocks = |election: &Election| {
            let skew = election.skew().unwrap_or_default();
            leader.skew.store(skew, Ordering::Relaxed);
            leader.metrics.set_skew(skew);
        };
        // Before anything is issued.
        compare_clocks(election);
        let why = tokio::select! {
            why = election.hold(compare_clocks) => why,
            () = lead_on(leader, health) => String::new(),
        };
        leader.metrics.set_leader(false);
        leader.metrics.forget_all();
        tracing::warn!(code = codes::LEADERSHIP_LOST.id, "this controller leads no longer: {why}");
    }
}

/// Leads, and begins again when something was wrong.
async fn lead_on(leader: &Leader, health: &Health) {
    health.set(false);
    loop {
        let Err(error) = lead(leader.clone(), || health.set(true)).await;
        health.set(false);
        leader.metrics.count_failure(error.code().label);
        tracing::error!(code = error.code().id, "{}", chain(&error));
        tokio::time::sleep(AGAIN).await;
    }
}
