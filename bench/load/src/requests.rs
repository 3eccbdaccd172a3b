//! Small requests over connections that stay open: HTTP/1.1 keep-alive and HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use crate::report::{Report, ready, since};
use crate::tls::{Client, Resume, agree};
use crate::{Load, http1, http2};

/// Requests on each connection before the measurement: pools, buffers and tickets are settled by then.
const WARM_UP: usize = 20;

/// One request at a time on each of `--connections` connections, `--count` in total.
pub async fn http1(load: &Load) -> anyhow::Result<Report> {
    let client = Client::new(load, "http/1.1", Resume::Never)?;
    let mut connections = Vec::new();
    let mut negotiated = None;
    for _ in 0..load.connections {
        let mut connection = http1::Connection::new(client.connect().await?, &load.name);
        for _ in 0..WARM_UP {
            connection.small().await?;
        }
        agree(&mut negotiated, client.negotiated(connection.stream())?)?;
        connections.push(connection);
    }
    let left = Arc::new(AtomicU64::new(load.count));
    let start = ready(load.now).await?;
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let left = left.clone();
        tasks.spawn(async move {
            let mut samples = Vec::new();
            while take(&left) {
                let start = Instant::now();
                connection.small().await?;
                samples.push(since(start));
            }
            anyhow::Ok((samples, connection))
        });
    }
    let mut samples = Vec::new();
    let mut open = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (part, connection) = done??;
        samples.extend(part);
        open.push(connection);
    }
    let took = start.elapsed();
    for mut connection in open {
        connection.close().await?;
    }
    let completed = samples.len() as u64;
    Ok(Report::new("h1", completed, completed * http1::SMALL, took)
        .latencies(samples)
        .handshakes(negotiated, client.check()?))
}

/// `streams` requests at a time on each of `--connections` connections, `--count` in total.
pub async fn http2(load: &Load, streams: usize) -> anyhow::Result<Report> {
    let client = Client::new(load, "h2", Resume::Never)?;
    let mut connections = Vec::new();
    let mut negotiated = None;
    for _ in 0..load.connections {
        let stream = client.connect().await?;
        agree(&mut negotiated, client.negotiated(&stream)?)?;
        let mut connection = http2::Connection::new(stream, &load.name).await?;
        for _ in 0..WARM_UP {
            connection.small().await?;
        }
        connections.push(connection);
    }
    let left = Arc::new(AtomicU64::new(load.count));
    let start = ready(load.now).await?;
    let mut tasks = JoinSet::new();
    for connection in &connections {
        for _ in 0..streams {
            let (mut connection, left) = (connection.clone(), left.clone());
            tasks.spawn(async move {
                let mut samples = Vec::new();
                while take(&left) {
                    let start = Instant::now();
                    connection.small().await?;
                    samples.push(since(start));
                }
                anyhow::Ok(samples)
            });
        }
    }
    let mut samples = Vec::new();
    while let Some(done) = tasks.join_next().await {
        samples.extend(done??);
    }
    let took = start.elapsed();
    drop(connections);
    let completed = samples.len() as u64;
    Ok(Report::new("h2", completed, completed * http1::SMALL, took)
        .latencies(samples)
        .handshakes(negotiated, client.check()?))
}

/// Takes one of what is left to do.
pub fn take(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}
