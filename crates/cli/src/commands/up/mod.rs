//! `handfast up`: from nothing to a proven mutual TLS site in one command.
//!
//! [`credentials`] makes the authority and its certificates, [`application`] is what stands behind the two
//! sites, [`configuration`] is what they are told, [`proof`] tries them from outside. Nothing here is special
//! to `up`: each part is a command of its own as well.

mod application;
mod configuration;
mod credentials;
mod machine;
mod proof;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use probe::test::Report;
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};

pub use self::machine::network::first;

use self::credentials::{ALLOWED, Credentials};
use super::{Globals, serve, test};
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Failure, Outcome};

/// Arguments of `handfast up`.
#[derive(clap::Args)]
pub struct Args {
    /// A folder of Kubernetes manifests whose containers run as processes of this machine, with mutual TLS between them.
    /// Without it, two sites of one authority are served.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Port of the one-way TLS site; another one is taken when it is in use.
    #[arg(long, env = "HANDFAST_UP_PORT", default_value_t = 8443, value_name = "PORT")]
    port: u16,
    /// Port of the mutual TLS site; another one is taken when it is in use.
    #[arg(long, env = "HANDFAST_UP_MUTUAL_PORT", default_value_t = 9443, value_name = "PORT")]
    mutual_port: u16,
    /// Port of metrics and health; another one is taken when it is in use.
    #[arg(long, env = "HANDFAST_UP_ADMIN_PORT", default_value_t = 9901, value_name = "PORT")]
    admin_port: u16,
    /// What network the pods of DIR are in.
    #[arg(long, env = "HANDFAST_UP_NETWORK", value_enum, default_value = "auto")]
    network: machine::network::Wanted,
    /// Print the proof and stop; exit code 3 when a row is not as expected.
    #[arg(long, env = "HANDFAST_UP_ONCE")]
    once: bool,
}

/// Runs `handfast up`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
    match args.folder {
        Some(folder) => {
            let options = machine::Options {
                folder,
                authority: globals.dir.clone(),
                once: args.once,
                network: args.network,
            };
            runtime.block_on(machine::up(options, &globals.log))
        }
        None => runtime.block_on(up(args, &globals.dir, &globals.log)),
    }
}

async fn up(args: Args, dir: &Path, filter: &str) -> Outcome {
    let credentials = credentials::prepare(dir, OffsetDateTime::now_utc())?;
    for done in &credentials.done {
        eprintln!("{done}");
    }
    // The proof provokes dozens of refusals: each is logged as any other, but not between the lines of the table.
    let log = dir.join("up.log");
    crate::logging::init_file(filter, &log)?;
    let [one_way, mutual, admin] = ports([args.port, args.mutual_port, args.admin_port])?;
    let application = application::start().await.map_err(|error| {
        Failure::new(&model::codes::serving::LISTEN_FAILED, format!("127.0.0.1:0: {error}"))
    })?;
    let snapshot =
        configuration::snapshot(dir, &credentials, one_way, mutual, application, Some(admin), &log)?;
    let written = dir.join("up.yaml");
    let text = format!(
        "# What `handfast up` serves while it runs. The application behind both sites (the notice board on\n\
         # {application}) lives inside of `handfast up` and ends with it. To serve one of your own in the same way,\n\
         # put its address under services, then: handfast serve {}\n{}",
        written.display(),
        config::yaml::write(&snapshot)
            .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?
    );
    certs::write_public(&written, text.as_bytes())?;
    let running = serve::start(config::load(&written)?.snapshot)?;
    eprintln!(
        "one-way TLS on https://localhost:{}, mutual TLS on https://localhost:{}",
        one_way.port(),
        mutual.port()
    );
    eprintln!("proving it (about ten seconds: some rows wait for a time limit) ...\n");

    let (open, closed) = proof::run(&credentials, one_way, mutual).await?;
    test::show(&open)?;
    println!();
    test::show(&closed)?;
    let proven = open.is_good() && closed.is_good();
    println!("\n{}", try_it(&credentials, one_way.port(), mutual.port()));
    eprintln!("every refusal and request of the proof is in {}", log.display());
    if !proven {
        eprintln!("{}", not_proven(&open, &closed));
    }
    if args.once {
        stop(running).await;
        return Ok(if proven { EXIT_OK } else { EXIT_FINDINGS });
    }
    eprintln!(
        "serving until Ctrl-C; metrics on http://{admin}/metrics, configuration in {}",
        written.display()
    );
    let lists = tokio::spawn(keep_lists_fresh(dir.to_owned()));
    let stopped = async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = tokio::signal::ctrl_c() => done,
            _ = terminate.recv() => Ok(()),
        }
    };
    stopped.await.map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
    lists.abort();
    stop(running).await;
    Ok(if proven { EXIT_OK } else { EXIT_FINDINGS })
}

/// Lets connections finish, for a short time: nobody's work is behind these sites.
async fn stop(running: serve::Running) {
    let drained = tokio::task::spawn_blocking(|| running.stop(Some(std::time::Duration::from_secs(2))));
    // It fails only when the thread panicked; that was printed.
    let _ = drained.await;
}

/// Revocation lists end; clients are refused then. They are published again long before.
async fn keep_lists_fresh(dir: std::path::PathBuf) {
    loop {
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
        let dir = dir.clone();
        let published =
            tokio::task::spawn_blocking(move || credentials::publish_lists(&dir, OffsetDateTime::now_utc()));
        if let Ok(Err(failure)) = published.await {
            eprint!("{failure}");
        }
    }
}

/// Loopback addresses with these ports, or free ones where they are in use.
fn ports(wanted: [u16; 3]) -> Result<[SocketAddr; 3], Failure> {
    // All are held until the last is chosen, so that no two are the same.
    let mut held = Vec::new();
    for port in wanted {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).or_else(|_| {
            eprintln!("port {port} is in use; another one is taken");
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        });
        held.push(bound.map_err(|error| {
            Failure::new(&model::codes::serving::LISTEN_FAILED, format!("127.0.0.1:{port}: {error}"))
        })?);
    }
    let address = |held: &TcpListener| {
        held.local_addr().map_err(|error| Failure::new(&model::codes::serving::LISTEN_FAILED, error))
    };
    Ok([address(&held[0])?, address(&held[1])?, address(&held[2])?])
}

/// Lines that work when they are pasted.
fn try_it(credentials: &Credentials, one_way: u16, mutual: u16) -> String {
    let ca = quoted(&credentials.bundle);
    let (certificate, key) = (quoted(&credentials.allowed.certificate), quoted(&credentials.allowed.key));
    format!(
        "Try it:\n\
         \x20 curl --cacert {ca} https://localhost:{one_way}/\n\
         \x20 curl --cacert {ca} --cert {certificate} --key {key} https://localhost:{mutual}/whoami\n\
         \x20 curl --cacert {ca} --cert {certificate} --key {key} -d 'from {ALLOWED}' https://localhost:{mutual}/notes\n\
         \x20 curl --cacert {ca} https://localhost:{mutual}/          # refused: no certificate\n"
    )
}

/// A path as a shell reads it back.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

fn not_proven(open: &Report, closed: &Report) -> String {
    format!(
        "{} of {} rows are not as expected; their causes and fixes stand above",
        open.failed + closed.failed,
        open.rows.len() + closed.rows.len()
    )
}
