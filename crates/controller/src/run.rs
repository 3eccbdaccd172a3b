//! The life of a controller process: wait until it leads, lead until it does not any more, begin again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kube::Client;
use model::codes::{Coded as _, kube as codes};

use crate::audit::Audit;
use crate::clock::{self, Clock};
use crate::error::{Error, chain};
use crate::grant::Domains;
use crate::lead::{Leader, lead};
use crate::lease::Election;
use crate::lifetimes::Lifetimes;
use crate::metrics::Metrics;
use crate::names::CONTROLLER;

/// Between two comparisons of the clocks, where no Lease is renewed.
const COMPARE: Duration = Duration::from_secs(10);
/// Whose clock is wrong leaves the Lease alone for so long: whoever stands by looks every two seconds.
const STAND_ASIDE: Duration = Duration::from_secs(8);
/// If nobody took it, somebody has to say what is wrong. So long, then others get another chance.
const LEAD_WRONGLY: Duration = Duration::from_secs(120);
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
        clock: Clock::default(),
    };
    let health = options.health;
    if !options.leader_elect {
        options.metrics.set_leader(true);
        tokio::select! {
            () = compare_clocks(&leader) => {}
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
    let mut stood_aside = false;
    loop {
        election.acquire(|| health.set(true)).await;
        // Before anything is issued.
        leader.compared(election.skew());
        if let Err(error) = leader.clock.check()
            && !stood_aside
        {
            stood_aside = true;
            stand_aside(election, leader, &error).await;
            continue;
        }
        let begun = Instant::now();
        leader.metrics.set_leader(true);
        tracing::info!("this controller leads now");
        let mut patience = if stood_aside { LEAD_WRONGLY } else { Duration::ZERO };
        let renewed = |election: &Election| {
            leader.compared(election.skew());
            let Err(wrong) = leader.clock.check() else {
                patience = Duration::ZERO;
                return None;
            };
            (begun.elapsed() >= patience).then(|| chain(&wrong))
        };
        let why = tokio::select! {
            why = election.hold(renewed) => why,
            () = lead_on(leader, health) => String::new(),
        };
        leader.metrics.set_leader(false);
        leader.metrics.forget_all();
        tracing::warn!(code = codes::LEADERSHIP_LOST.id, "this controller leads no longer: {why}");
        stood_aside = false;
        if let Err(error) = leader.clock.check() {
            stood_aside = true;
            stand_aside(election, leader, &error).await;
        }
    }
}

/// Leaves the lead to one whose clock is right, if there is one. Whose clock is wrong would hold the Lease and issue
/// nothing; where there is nobody else it leads all the same afterwards, for Certificates and metrics to say why.
async fn stand_aside(election: &mut Election, leader: &Leader, error: &Error) {
    tracing::error!(code = error.code().id, "another controller should lead: {}", chain(error));
    leader.metrics.set_skew(leader.clock.ahead().unwrap_or_default());
    election.release().await;
    tokio::time::sleep(STAND_ASIDE).await;
}

/// Compares the clocks without a Lease. Does not end.
async fn compare_clocks(leader: &Leader) {
    loop {
        match clock::measure(&leader.client).await {
            Ok(ahead) => leader.compared(ahead),
            // What was measured before goes on to count: while the API server is away nothing can be issued.
            Err(error) => tracing::debug!("the clocks were not compared: {}", chain(&error)),
        }
        tokio::time::sleep(COMPARE).await;
    }
}

impl Leader {
    fn compared(&self, ahead: Option<i64>) {
        self.clock.set(ahead);
        self.metrics.set_skew(ahead.unwrap_or_default());
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
