//! New connections: TCP, a full or a resumed handshake (or none), one small request, close.
//!
//! The request is part of it: in TLS 1.3 a client can finish before the server has refused it, so only an
//! answer proves that the server did its half.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::report::{Report, ready, since};
use crate::requests::take;
use crate::tls::{Client, Negotiated, Resume, Tally, agree};
use crate::{Load, http1};

/// Connections that each worker makes before the measurement.
const WARM_UP: usize = 5;

/// `--count` full handshakes, `--connections` at a time.
pub async fn full(load: &Load) -> anyhow::Result<Report> {
    run(load, Resume::Never).await
}

/// `--count` resumed handshakes, `--connections` at a time; each worker's first one is full and not measured.
pub async fn resumed(load: &Load) -> anyhow::Result<Report> {
    run(load, Resume::Tickets).await
}

async fn run(load: &Load, resume: Resume) -> anyhow::Result<Report> {
    let mut workers = Vec::new();
    let mut negotiated = None;
    for _ in 0..load.connections {
        // A client each, so that no worker takes another's single-use tickets.
        let mut worker = Worker { client: Client::new(load, "http/1.1", resume)?, name: load.name.clone() };
        for _ in 0..WARM_UP {
            agree(&mut negotiated, worker.one().await?)?;
        }
        workers.push(worker);
    }
    let before = workers.iter().map(|worker| worker.client.tally()).fold(Tally::default(), add);
    let left = Arc::new(AtomicU64::new(load.count));
    let start = ready(load.now).await?;
    let mut tasks = JoinSet::new();
    for mut worker in workers {
        let left = left.clone();
        tasks.spawn(async move {
            let mut samples = Vec::new();
            let mut negotiated = None;
            while take(&left) {
                let start = Instant::now();
                agree(&mut negotiated, worker.one().await?)?;
                samples.push(since(start));
            }
            anyhow::Ok((samples, negotiated, worker.client.check()?))
        });
    }
    let mut samples = Vec::new();
    let mut tally = Tally::default();
    while let Some(done) = tasks.join_next().await {
        let (part, seen, counted) = done??;
        samples.extend(part);
        tally = add(tally, counted);
        agree(&mut negotiated, seen)?;
    }
    let took = start.elapsed();
    let completed = samples.len() as u64;
    let (mode, measured) = match resume {
        // Nothing tells a connection without TLS from its neighbours.
        Resume::Never if load.plain => ("handshake", completed),
        Resume::Never => ("handshake", tally.full - before.full),
        Resume::Tickets => ("resumed", tally.resumed - before.resumed),
    };
    ensure!(measured == completed, "{measured} of {completed} handshakes were of the wanted kind ({mode})");
    Ok(Report::new(mode, completed, completed * http1::SMALL, took)
        .latencies(samples)
        .handshakes(negotiated, tally))
}

struct Worker {
    client: Client,
    name: String,
}

impl Worker {
    async fn one(&mut self) -> anyhow::Result<Option<Negotiated>> {
        let mut connection = http1::Connection::new(self.client.connect().await?, &self.name);
        connection.small().await?;
        let negotiated = self.client.negotiated(connection.stream())?;
        connection.close().await?;
        Ok(negotiated)
    }
}

fn add(a: Tally, b: Tally) -> Tally {
    Tally { full: a.full + b.full, resumed: a.resumed + b.resumed, asked: a.asked + b.asked }
}
