//! The load client and the backend of the benchmark; `bench/run` drives both.
//!
//! A measurement has two halves, so that the driver can read the server's CPU time exactly around the
//! second: connections are made and warmed up, `{"ready":true}` goes to stdout, a line is awaited on stdin,
//! then the load runs and one JSON document with counts, latencies and what TLS negotiated goes to stdout.
//! Everything is bounded in count and in time. Exit code 0: no error; 1: anything else.

mod ads;
mod backend;
mod bulk;
mod handshake;
mod http1;
mod http2;
mod idle;
mod pki;
mod proxies;
mod rate;
mod report;
mod requests;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};

use report::Report;

/// The load client and the backend of the benchmark.
#[derive(Parser)]
#[command(name = "handfast-bench-load", version)]
struct Arguments {
    /// Worker threads of the runtime.
    #[arg(long, global = true, default_value_t = 2)]
    threads: usize,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Makes a throw-away CA, a server and a client certificate (ECDSA P-256) in a folder.
    Pki {
        /// The folder to write ca.crt, server.crt, server.key, client.crt and client.key into.
        folder: PathBuf,
    },
    /// Serves plain HTTP/1.1: 1 KB at any path, N bytes at /bulk/N; reads uploads and answers their length.
    Backend {
        /// Address to listen on.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Small requests over HTTP/1.1 keep-alive connections.
    H1(#[command(flatten)] Load),
    /// Small requests over HTTP/2.
    H2 {
        #[command(flatten)]
        load: Load,
        /// Requests in flight on each connection.
        #[arg(long, default_value_t = 8)]
        streams: usize,
    },
    /// Downloads `--count` bytes over each HTTP/1.1 connection.
    BulkDown(#[command(flatten)] Load),
    /// Uploads `--count` bytes over each HTTP/1.1 connection.
    BulkUp(#[command(flatten)] Load),
    /// New connections with a full handshake each and one small request.
    Handshake(#[command(flatten)] Load),
    /// New connections that each resume a session, with one small request.
    Resumed(#[command(flatten)] Load),
    /// Small requests over keep-alive connections at a fixed rate, whether or not the answers keep up. Latencies are from
    /// the moment at which a request was due: what waits behind a slow answer counts as slow.
    Rate {
        #[command(flatten)]
        load: Load,
        /// Requests in a second, on all connections together.
        #[arg(long, default_value_t = 500)]
        rate: u32,
    },
    /// `--count` proxies of a mesh that listen to its control plane and say when they have acknowledged a change.
    Proxies {
        #[command(flatten)]
        load: Load,
        /// File of the token that says who they are.
        #[arg(long)]
        token: PathBuf,
    },
    /// Opens `--count` connections with one request each and leaves them idle between ready and go.
    Idle(#[command(flatten)] Load),
}

/// What every kind of load needs to know.
#[derive(Args, Clone)]
struct Load {
    /// Address of the server under load.
    #[arg(long)]
    target: SocketAddr,
    /// Server name, for SNI, verification and Host.
    #[arg(long, default_value = pki::SERVER_NAME)]
    name: String,
    /// The CA that the server's certificate must come from (PEM).
    #[arg(long, required_unless_present = "plain")]
    ca: Option<PathBuf>,
    /// No TLS: what an application within a mesh says. Not for HTTP/2 and resumption.
    #[arg(long, conflicts_with_all = ["ca", "cert"])]
    plain: bool,
    /// Client certificate (PEM); the server must ask for it. Without it the server must not ask.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Key of the client certificate (PEM).
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// The one cipher suite to offer.
    #[arg(long, default_value = "aes128gcm")]
    cipher: tls::Cipher,
    /// The one key exchange group to offer.
    #[arg(long, default_value = "x25519")]
    group: tls::Group,
    /// Connections in parallel.
    #[arg(long, short = 'c', default_value_t = 8)]
    connections: usize,
    /// Total of requests, handshakes or idle connections, or bytes on each connection.
    #[arg(long, short = 'n', default_value_t = 10_000)]
    count: u64,
    /// The run fails when it takes longer than this.
    #[arg(long, default_value_t = 120)]
    limit_seconds: u64,
    /// Starts at once instead of awaiting a line on stdin.
    #[arg(long)]
    now: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("handfast-bench-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.threads.max(1))
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let (load, name) = match &arguments.mode {
        Mode::Pki { folder } => {
            pki::write(folder)?;
            return Ok(ExitCode::SUCCESS);
        }
        Mode::Backend { listen } => {
            runtime.block_on(backend::serve(*listen))?;
            return Ok(ExitCode::SUCCESS);
        }
        Mode::Proxies { load, token } => {
            runtime.block_on(proxies::listen(load, token))?;
            return Ok(ExitCode::SUCCESS);
        }
        Mode::H1(load) => (load, "h1"),
        Mode::H2 { load, .. } => (load, "h2"),
        Mode::BulkDown(load) => (load, "bulk-down"),
        Mode::BulkUp(load) => (load, "bulk-up"),
        Mode::Handshake(load) => (load, "handshake"),
        Mode::Resumed(load) => (load, "resumed"),
        Mode::Rate { load, .. } => (load, "rate"),
        Mode::Idle(load) => (load, "idle"),
    };
    if load.connections == 0 || load.count == 0 {
        bail!("--connections and --count must be at least 1");
    }
    if load.plain && matches!(arguments.mode, Mode::H2 { .. } | Mode::Resumed(_)) {
        bail!("{name} is not possible with --plain");
    }
    let limit = Duration::from_secs(load.limit_seconds);
    let outcome = runtime.block_on(async {
        let run = async {
            match &arguments.mode {
                Mode::H1(load) => requests::http1(load).await,
                Mode::H2 { load, streams } => requests::http2(load, (*streams).max(1)).await,
                Mode::BulkDown(load) => bulk::download(load).await,
                Mode::BulkUp(load) => bulk::upload(load).await,
                Mode::Handshake(load) => handshake::full(load).await,
                Mode::Resumed(load) => handshake::resumed(load).await,
                Mode::Rate { load, rate } => rate::run(load, (*rate).max(1)).await,
                Mode::Idle(load) => idle::hold(load).await,
                Mode::Pki { .. } | Mode::Backend { .. } | Mode::Proxies { .. } => bail!("not a load"),
            }
        };
        tokio::time::timeout(limit, run)
            .await
            .unwrap_or_else(|_| bail!("not done within {} s", limit.as_secs()))
    });
    // A stdin read in progress must not hold the process back.
    runtime.shutdown_background();
    let report = outcome.unwrap_or_else(|error| Report::failed(name, &error));
    println!("{}", serde_json::to_string(&report)?);
    Ok(if report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
