//! Small requests at a fixed rate, for latencies that do not hide what a slow answer holds up.
//!
//! Each connection has a thread of its own with a plan of its own, and sleeps by the kernel's clock: the runtime's
//! timers are a millisecond coarse. What the sleep overshoots by is in every latency, alike for all who are measured.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::report::{Report, ready};
use crate::tls::{Client, Negotiated, Resume, agree};
use crate::{Load, http1};

/// Requests on each connection before the measurement.
const WARM_UP: usize = 20;

/// When a worker's requests are due: every `connections`-th of the run's, from the `first` on.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first of the run's requests that is this worker's.
    pub first: u64,
    /// How many workers share the run.
    pub connections: u64,
    /// Requests of the whole run.
    pub count: u64,
    /// Requests of the whole run in a second.
    pub rate: u32,
}

impl Plan {
    /// The moments, since the start of the run.
    pub fn due(self) -> impl Iterator<Item = Duration> {
        let step = usize::try_from(self.connections).unwrap_or(usize::MAX).max(1);
        (self.first..self.count)
            .step_by(step)
            .map(move |one| Duration::from_nanos(one.saturating_mul(1_000_000_000) / u64::from(self.rate)))
    }
}

/// `--count` requests over `--connections` connections, `rate` in a second.
pub async fn run(load: &Load, rate: u32) -> anyhow::Result<Report> {
    let client = Arc::new(Client::new(load, "http/1.1", Resume::Never)?);
    let (prepared, mut waiting) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    let mut starts = Vec::new();
    for first in 0..load.connections as u64 {
        let plan = Plan { first, connections: load.connections as u64, count: load.count, rate };
        let (client, name, prepared) = (client.clone(), load.name.clone(), prepared.clone());
        let (start, started) = channel();
        starts.push(start);
        tasks.spawn_blocking(move || worker(&client, &name, plan, prepared, &started));
    }
    drop(prepared);
    let mut negotiated = None;
    let mut count = 0;
    while count < load.connections
        && let Some(seen) = waiting.recv().await
    {
        agree(&mut negotiated, seen)?;
        count += 1;
    }
    if count < load.connections {
        starts.clear();
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        bail!("{count} of {} connections were prepared", load.connections);
    }
    let mut start = ready(load.now).await?;
    // Time for the threads to hear of it, so that none begins late.
    start += Duration::from_millis(20);
    for one in &starts {
        one.send(start).context("a connection ended before the start")?;
    }
    let mut samples = Vec::new();
    while let Some(done) = tasks.join_next().await {
        samples.extend(done??);
    }
    let took = start.elapsed();
    let completed = samples.len() as u64;
    ensure!(completed == load.count, "{completed} answers to {} requests", load.count);
    Ok(Report::new("rate", completed, completed * http1::SMALL, took)
        .latencies(samples)
        .handshakes(negotiated, client.check()?))
}

/// One connection on its own thread. Nothing else runs on its runtime, so that it may sleep.
fn worker(
    client: &Client,
    name: &str,
    plan: Plan,
    prepared: mpsc::UnboundedSender<Option<Negotiated>>,
    started: &Receiver<Instant>,
) -> anyhow::Result<Vec<u32>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = http1::Connection::new(client.connect().await?, name);
        for _ in 0..WARM_UP {
            connection.small().await?;
        }
        let negotiated = client.negotiated(connection.stream())?;
        prepared.send(negotiated).ok().context("the run was given up")?;
        // Whoever waits for all to be prepared hears of one that failed by the last one's end.
        drop(prepared);
        let start = started.recv().context("another connection failed")?;
        let mut samples = Vec::new();
        for due in plan.due() {
            let due = start + due;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.small().await?;
            samples.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        connection.close().await?;
        Ok(samples)
    })
}
