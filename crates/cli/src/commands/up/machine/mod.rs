//! `handfast up DIR`: the mesh on one machine, from a folder of ordinary manifests. Each container's command runs as a
//! process, each pod has an address and a proxy of its own, and between pods there is mutual TLS with the
//! workload's identity, decided by the folder's policies.
//!
//! [`network`] and [`identities`] are what pods are given: as root a network of its own, whose connections are
//! [`intercepted`], else a loopback address and an [`explicit`] proxy. [`processes`] runs them, [`running`] keeps all of it as the
//! folder says, [`proof`] tries every call, [`report`] says what happens.

mod explicit;
mod identities;
mod intercepted;
pub mod network;
mod output;
mod processes;
mod proof;
mod readiness;
mod report;
mod running;
mod started;
mod variables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use manifests::folder::{self, Folder};
use model::codes::usage;
use notify::Watcher as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use self::network::Network;
use self::running::Machine;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Failure, Outcome};

/// Editors write a file in several steps; the folder is read when they are done.
const SETTLED: Duration = Duration::from_millis(200);
/// A pod that could not be started is tried again so often.
const AGAIN: Duration = Duration::from_secs(3);
/// A pod that is not ready by then is said to be so, and the proof begins.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How the machine is started.
pub struct Options {
    /// The folder of manifests.
    pub folder: PathBuf,
    /// The folder of the authority.
    pub authority: PathBuf,
    /// Print the proof and stop.
    pub once: bool,
    /// The network that pods are to be in.
    pub network: network::Wanted,
}

/// Runs the machine until it is told to stop.
pub async fn up(options: Options, filter: &str) -> Outcome {
    // From the beginning: processes that were started are ended, whenever the word comes.
    let mut stop = Stop::new()?;
    let identities = identities::Identities::open(&options.authority)?;
    let settings = folder::Options {
        mesh: controller::mesh::Options {
            trust_domain: identities.trust_domain().clone(),
            cluster: "local".to_owned(),
            ..controller::mesh::Options::default()
        },
        ..folder::Options::default()
    };
    // Before the folder is read, so that no edit is missed.
    let mut watched = Watched::new(&options.folder)?;
    // Before anything is started: what is wrong in the folder is one error.
    let first = read(&options.folder, &settings)?;
    let log = options.authority.join("up.log");
    crate::logging::init_file(filter, &log)?;
    let mut said = BTreeSet::new();
    notes(&first, &mut said);
    let report = Arc::new(report::Report::default());
    let network = tokio::task::block_in_place(|| Network::make(options.network))?;
    let mut machine = Machine::new(options.folder.clone(), identities, network, Arc::clone(&report))?;
    let mut code = EXIT_OK;
    // None: it was told to stop before everything was tried.
    if let Some(rows) = prove(&mut machine, first, &mut stop).await {
        output::say(proof::table(&rows).trim_end());
        let proven = !rows.is_empty() && rows.iter().all(|row| row.good);
        code = if proven { EXIT_OK } else { EXIT_FINDINGS };
        if !options.once {
            eprintln!(
                "\nup until Ctrl-C; edit a manifest in {} and see the effect; every connection is a line in {}",
                options.folder.display(),
                log.display()
            );
            report.begin();
            follow(&mut machine, &options.folder, &settings, &mut watched, &mut said, &mut stop).await;
        }
    }
    machine.stop().await;
    output::finish();
    Ok(code)
}

/// Starts the pods and tries every call.
async fn prove(machine: &mut Machine, first: Folder, stop: &mut Stop) -> Option<Vec<proof::Row>> {
    machine.apply(first).await;
    machine.complain();
    eprint!("{}", machine.table());
    let proof = async {
        if let Some(slow) = machine.wait_ready(READY_WITHIN).await {
            eprintln!("not ready within {READY_WITHIN:?}: {slow}");
        }
        proof::run(machine).await
    };
    tokio::select! {
        rows = proof => Some(rows),
        () = stop.asked() => None,
    }
}

/// Makes the machine what the folder says, until it is told to stop.
async fn follow(
    machine: &mut Machine,
    folder: &Path,
    settings: &folder::Options,
    watched: &mut Watched,
    said: &mut BTreeSet<String>,
    stop: &mut Stop,
) {
    let mut again = tokio::time::interval(AGAIN);
    loop {
        tokio::select! {
            () = stop.asked() => return,
            () = watched.changed() => {
                // What is wrong is said, and what was in force stays so (invariant 4).
                match read(folder, settings) {
                    Ok(now) => {
                        notes(&now, said);
                        machine.apply(now).await;
                        machine.complain();
                        eprintln!("applied what {} says now", folder.display());
                    }
                    Err(failure) => eprint!("{failure}  the last good state stays in force\n"),
                }
            }
            () = machine.changed() => machine.publish(),
            _ = again.tick() => machine.mend().await,
        }
    }
}

/// The words that end it: Ctrl-C, SIGTERM, and a terminal that is closed.
struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(&usage::INTERNAL, error));
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(listen);
        Ok(Self { signals: [interrupt?, terminate?, hangup?] })
    }

    /// Returns when one of them came, also before it was waited for.
    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// The manifests of a folder, watched. Of a single file it is the folder around it: editors put a new file in its place.
struct Watched {
    changes: mpsc::Receiver<()>,
    /// A change was seen, and is not settled yet.
    seen: bool,
    _watcher: notify::RecommendedWatcher,
}

impl Watched {
    fn new(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: notify::Error| {
            Failure::new(&usage::FILE_NOT_READ, format!("{}: {error}", folder.display()))
        };
        let root = match folder.is_file() {
            true => running::around(folder),
            false => folder.to_owned(),
        };
        let root = std::fs::canonicalize(&root)
            .map_err(|error| Failure::reading(folder, &error).exit(crate::failure::EXIT_USAGE))?;
        let (changed, changes) = mpsc::channel(1);
        let within = root.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the folder is no change of it; nor is what is hidden in it, our own log among that.
            let counts = |path: &std::path::PathBuf| path.strip_prefix(&within).is_ok_and(is_manifest);
            if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(counts)) {
                let _ = changed.try_send(());
            }
        })
        .map_err(failed)?;
        let mode = match folder.is_file() {
            true => notify::RecursiveMode::NonRecursive,
            false => notify::RecursiveMode::Recursive,
        };
        watcher.watch(&root, mode).map_err(failed)?;
        Ok(Self { changes, seen: false, _watcher: watcher })
    }

    /// Returns when something changed, and editors are done with it. It may be waited for again and again: a change that
    /// was seen is not lost with a wait that was given up.
    async fn changed(&mut self) {
        if !self.seen && self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        self.seen = true;
        tokio::time::sleep(SETTLED).await;
        let _ = self.changes.try_recv();
        self.seen = false;
    }
}

fn is_manifest(path: &Path) -> bool {
    let hidden = |part: std::path::Component<'_>| part.as_os_str().to_string_lossy().starts_with('.');
    let extension = path.extension().and_then(|extension| extension.to_str());
    // A folder that came or went may hold some.
    matches!(extension, None | Some("yaml" | "yml" | "json")) && !path.components().any(hidden)
}

fn read(folder: &Path, settings: &folder::Options) -> Result<Folder, Failure> {
    let usage = |error| Failure::from(error).exit(crate::failure::EXIT_USAGE);
    let manifests = folder::files::load(folder).map_err(usage)?;
    folder::read(&manifests, settings).map_err(usage)
}

/// Says what has no effect here, once.
fn notes(folder: &Folder, said: &mut BTreeSet<String>) {
    for note in &folder.notes {
        let text = note.to_string();
        if !said.contains(&text) {
            eprintln!("note[{}]: {text}", note.code.id);
            said.insert(text);
        }
    }
}
