//! Connections that have done one request each and then say nothing, for the memory that they cost.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::report::{Report, ready, since};
use crate::requests::take;
use crate::tls::{Client, Resume, agree};
use crate::{Load, http1};

/// Connections that are being opened at a time.
const OPENING: usize = 16;

/// Opens `--count` connections, is ready, and after the go checks that each is still alive by a second request.
pub async fn hold(load: &Load) -> anyhow::Result<Report> {
    let client = Arc::new(Client::new(load, "http/1.1", Resume::Never)?);
    let left = Arc::new(AtomicU64::new(load.count));
    let mut tasks = JoinSet::new();
    for _ in 0..OPENING {
        let (client, left, name) = (client.clone(), left.clone(), load.name.clone());
        tasks.spawn(async move {
            let mut open = Vec::new();
            while take(&left) {
                let mut connection = http1::Connection::new(client.connect().await?, &name);
                connection.small().await?;
                open.push(connection);
            }
            anyhow::Ok(open)
        });
    }
    let mut connections = Vec::new();
    let mut negotiated = None;
    while let Some(done) = tasks.join_next().await {
        for connection in done?? {
            agree(&mut negotiated, client.negotiated(connection.stream())?)?;
            connections.push(connection);
        }
    }
    let start = ready(load.now).await?;
    let mut samples = Vec::new();
    for connection in &mut connections {
        let start = Instant::now();
        connection.small().await?;
        samples.push(since(start));
    }
    let took = start.elapsed();
    for connection in &mut connections {
        connection.close().await?;
    }
    let completed = samples.len() as u64;
    Ok(Report::new("idle", completed, completed * http1::SMALL, took)
        .latencies(samples)
        .handshakes(negotiated, client.check()?))
}
