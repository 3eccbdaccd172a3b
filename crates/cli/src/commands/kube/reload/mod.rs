//! `handfast kube reload`: the sidecar that tells an application of renewed files, by a signal or over HTTP. It looks at
//! certificates only: it neither needs nor reads a key, and no right in the cluster.

mod processes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use manifests::Reload;
use model::codes::kube as codes;
use tokio::signal::unix::{SignalKind, signal};

use super::connect::block_on;
use crate::commands::Globals;
use crate::commands::cert::renew::reload::post;
use crate::duration::Lifetime;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::logging::{self, LogForm};

/// What is compared; `ca.crt` may be missing.
const FILES: [&str; 2] = ["tls.crt", "ca.crt"];
/// Between two tries to tell, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A hook answers within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `handfast kube reload`.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("told").required(true))]
pub struct Args {
    /// Folders with tls.crt and ca.crt, as kubelet mounts a Secret; may be repeated.
    #[arg(long, env = "HANDFAST_WATCH", value_name = "DIR", required = true, value_delimiter = ',')]
    watch: Vec<PathBuf>,
    /// Send a signal to the process of this name (PROCESS or PROCESS:SIGNAL, HUP by default). Needs
    /// shareProcessNamespace in the pod, and the process's user.
    #[arg(long, env = "HANDFAST_RELOAD_PROCESS", value_name = "PROCESS[:SIGNAL]", group = "told", value_parser = told_by("signal"))]
    signal: Option<Reload>,
    /// Send POST to a URL of this pod, as in http://127.0.0.1:8080/reload; 2xx means done.
    #[arg(long, env = "HANDFAST_RELOAD_HOOK", value_name = "URL", group = "told", value_parser = told_by("hook"))]
    hook: Option<Reload>,
    /// How often the files are looked at.
    #[arg(long, env = "HANDFAST_RELOAD_EVERY", default_value = "2s", value_name = "TIME")]
    every: Lifetime,
    /// Form of the log on stderr. Default: text on a terminal, else JSON.
    #[arg(long, value_enum, env = "HANDFAST_LOG_FORMAT")]
    log_format: Option<LogForm>,
}

fn told_by(way: &'static str) -> impl Fn(&str) -> Result<Reload, String> + Clone {
    move |text| format!("{way}:{text}").parse()
}

/// Runs `handfast kube reload`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    logging::init(&globals.log, args.log_format)?;
    let Some(told) = args.signal.or(args.hook) else {
        return Err(Failure::usage("--signal or --hook is needed"));
    };
    block_on(stay(args.watch, told, args.every.0.unsigned_abs()))
}

async fn stay(folders: Vec<PathBuf>, told: Reload, every: Duration) -> Outcome {
    let internal = |error: std::io::Error| Failure::new(&model::codes::usage::INTERNAL, error);
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(internal)?;
    // What is there now is what the application starts with: a native sidecar is there before it.
    let known = read(&folders).map_err(|why| Failure::new(&codes::RELOAD_FILES, why).exit(EXIT_USAGE))?;
    tracing::info!("watches for renewed certificates, and tells by {told}");
    tokio::select! {
        () = watch(&folders, &told, every, known) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(EXIT_OK)
}

async fn watch(folders: &[PathBuf], told: &Reload, every: Duration, mut known: Vec<Vec<u8>>) {
    let (mut wait, mut said) = (every, String::new());
    loop {
        tokio::time::sleep(wait).await;
        wait = every;
        let now = match read(folders) {
            Ok(now) => now,
            Err(why) => {
                complain(codes::RELOAD_FILES.id, &why, &mut said);
                continue;
            }
        };
        if now == known {
            continue;
        }
        let telling = told.clone();
        let done = tokio::task::spawn_blocking(move || tell(&telling)).await;
        match done.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(what) => {
                tracing::info!("the certificates changed: {what}");
                said.clear();
                known = now;
            }
            // The old certificate is served until it works: it is tried until it does.
            Err(why) => {
                complain(codes::RELOAD_NOT_TOLD.id, &why, &mut said);
                wait = if wait == every { every * 2 } else { wait * 2 }.min(LONGEST_WAIT);
            }
        }
    }
}

/// Each reason is said once.
fn complain(code: &str, why: &str, said: &mut String) {
    if said != why {
        tracing::warn!(code, "{why}");
        why.clone_into(said);
    }
}

fn tell(told: &Reload) -> Result<String, String> {
    match told {
        Reload::Signal { process, signal } => processes::signal(process, signal),
        Reload::Hook(url) => match post(url, PATIENCE) {
            Ok(()) => Ok(format!("{url} was told")),
            Err(failure) => Err(failure.to_string()),
        },
        Reload::Watch | Reload::Restart => Err(format!("{told} is nothing to tell")),
    }
}

/// All that is compared, in order.
fn read(folders: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    for (folder, name) in folders.iter().flat_map(|folder| FILES.map(|name| (folder, name))) {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => all.push(bytes),
            Err(error) if name == "ca.crt" && error.kind() == std::io::ErrorKind::NotFound => {
                all.push(Vec::new());
            }
            Err(error) => return Err(unread(&path, &error)),
        }
    }
    Ok(all)
}

fn unread(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}
