//! What a run tells the driver: the ready line, and one JSON document at the end.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::tls::{Negotiated, Tally};

/// The outcome of one run.
#[derive(Serialize)]
pub struct Report {
    /// Version of this document.
    pub version: u32,
    /// The kind of load.
    pub mode: &'static str,
    /// Requests, handshakes, transfers or connections that were completed between go and the end.
    pub completed: u64,
    /// Body bytes that arrived (or were acknowledged, for uploads) between go and the end.
    pub bytes: u64,
    /// What failed. Any error makes the run void.
    pub errors: u64,
    /// The first error in words.
    pub first_error: Option<String>,
    /// Wall time between go and the end.
    pub seconds: f64,
    /// Latencies of what `completed` counts; absent for bulk transfers.
    pub latency_us: Option<Latency>,
    /// What every connection of the run negotiated; the run fails when two of them differ.
    pub tls: Option<Negotiated>,
    /// How many handshakes were full, how many resumed, and how often the server asked for a certificate.
    pub handshakes: Tally,
}

/// Latencies in microseconds.
#[derive(Serialize)]
pub struct Latency {
    /// Half of all were at most this.
    pub p50: u64,
    /// 99 of 100 were at most this.
    pub p99: u64,
    /// The slowest.
    pub max: u64,
}

impl Report {
    /// A run without errors.
    pub fn new(mode: &'static str, completed: u64, bytes: u64, took: Duration) -> Self {
        Self {
            version: 1,
            mode,
            completed,
            bytes,
            errors: 0,
            first_error: None,
            seconds: took.as_secs_f64(),
            latency_us: None,
            tls: None,
            handshakes: Tally::default(),
        }
    }

    /// A run that was given up at its first error.
    pub fn failed(mode: &'static str, error: &anyhow::Error) -> Self {
        let mut report = Self::new(mode, 0, 0, Duration::ZERO);
        report.errors = 1;
        report.first_error = Some(format!("{error:#}"));
        report
    }

    /// Adds the latencies.
    pub fn latencies(mut self, samples: Vec<u32>) -> Self {
        self.latency_us = summarise(samples);
        self
    }

    /// Adds what the handshakes were like.
    pub fn handshakes(mut self, negotiated: Option<Negotiated>, tally: Tally) -> Self {
        self.tls = negotiated;
        self.handshakes = tally;
        self
    }
}

/// Median, 99th percentile (nearest rank) and maximum; nothing for no samples.
pub fn summarise(mut samples: Vec<u32>) -> Option<Latency> {
    samples.sort_unstable();
    let rank = |share: usize| (samples.len() * share).div_ceil(100).max(1) - 1;
    let at = |index: usize| samples.get(index).map(|&sample| u64::from(sample));
    Some(Latency { p50: at(rank(50))?, p99: at(rank(99))?, max: at(samples.len().checked_sub(1)?)? })
}

/// Microseconds since `start`, as they are stored by the hundred thousand.
pub fn since(start: Instant) -> u32 {
    u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX)
}

/// Says that the load is prepared and waits for the driver's line (or only says so, with `--now`).
pub async fn ready(now: bool) -> anyhow::Result<Instant> {
    println!("{{\"ready\":true}}");
    if !now {
        let read = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        anyhow::ensure!(read.await?? > 0, "stdin was closed before the go");
    }
    Ok(Instant::now())
}
