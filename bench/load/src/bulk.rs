//! One large transfer on each connection, through the server to or from the backend.

use tokio::task::JoinSet;

use crate::report::{Report, ready};
use crate::tls::{Client, Resume, agree};
use crate::{Load, http1};

#[derive(Clone, Copy)]
enum Direction {
    Down,
    Up,
}

/// Downloads `--count` bytes on each connection.
pub async fn download(load: &Load) -> anyhow::Result<Report> {
    transfer(load, Direction::Down).await
}

/// Uploads `--count` bytes on each connection.
pub async fn upload(load: &Load) -> anyhow::Result<Report> {
    transfer(load, Direction::Up).await
}

async fn transfer(load: &Load, direction: Direction) -> anyhow::Result<Report> {
    let client = Client::new(load, "http/1.1", Resume::Never)?;
    let mut connections = Vec::new();
    let mut negotiated = None;
    for _ in 0..load.connections {
        let mut connection = http1::Connection::new(client.connect().await?, &load.name);
        connection.small().await?;
        agree(&mut negotiated, client.negotiated(connection.stream())?)?;
        connections.push(connection);
    }
    let start = ready(load.now).await?;
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let count = load.count;
        tasks.spawn(async move {
            match direction {
                Direction::Down => connection.download(count).await?,
                Direction::Up => connection.upload(count).await?,
            }
            anyhow::Ok(connection)
        });
    }
    let mut open = Vec::new();
    while let Some(done) = tasks.join_next().await {
        open.push(done??);
    }
    let took = start.elapsed();
    let completed = open.len() as u64;
    for mut connection in open {
        connection.close().await?;
    }
    let mode = match direction {
        Direction::Down => "bulk-down",
        Direction::Up => "bulk-up",
    };
    Ok(Report::new(mode, completed, completed * load.count, took).handshakes(negotiated, client.check()?))
}
