//! `handfast up DIR`: the mesh on one machine, from a folder of ordinary manifests. Each container's command runs as a
//! process, each pod has a loopback address and a proxy of its own, and between pods there is mutual TLS with the
//! workload's identity, decided by the folder's policies.
//!
//! [`addresses`] and [`identities`] are what pods are given, [`processes`] runs them, [`running`] keeps all of it as the
//! folder says, [`proof`] tries every call, [`report`] says what happens.

mod addresses;
mod identities;
mod output;
mod processes;
mod proof;
mod readiness;
mod report;
mod running;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use manifests::folder::{self, Folder};
use model::codes::usage;
use notify::Watcher as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::running::Machine;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Failure, Outcome};

/// Editors write a file in several steps; the folder is read when they are done.
const SETTLED: Duration = Duration::from_millis(200);
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
}

/// Runs the machine until it is told to stop.
pub async fn up(options: Options, filter: &str) -> Outcome {
    let identities = identities::Identities::open(&options.authority)?;
    let settings = folder::Options {
        mesh: controller::mesh::Options {
            trust_domain: identities.trust_domain().clone(),
            cluster: "local".to_owned(),
            ..controller::mesh::Options::default()
        },
        ..folder::Options::default()
    };
    // Before anything is started: what is wrong in the folder is one error.
    let first = read(&options.folder, &settings)?;
    let log = options.authority.join("up.log");
    crate::logging::init_file(filter, &log)?;
    notes(&first);
    let report = Arc::new(report::Report::default());
    let mut machine = Machine::new(options.folder.clone(), identities, Arc::clone(&report))?;
    machine.apply(first)?;
    eprint!("{}", machine.table());
    if let Some(slow) = machine.wait_ready(READY_WITHIN).await {
        eprintln!("not ready within {READY_WITHIN:?}: {slow}");
    }
    let rows = proof::run(&machine).await;
    print!("{}", proof::table(&rows));
    let proven = rows.iter().all(|row| row.good);
    let code = if proven { EXIT_OK } else { EXIT_FINDINGS };
    if options.once {
        machine.stop().await;
        return Ok(code);
    }
    eprintln!(
        "\nup until Ctrl-C; edit a manifest in {} and see the effect; every connection is a line in {}",
        options.folder.display(),
        log.display()
    );
    report.begin();
    let served = serve(&mut machine, &options.folder, &settings).await;
    machine.stop().await;
    served.map(|()| code)
}

/// Follows the folder until a signal comes.
async fn serve(machine: &mut Machine, folder: &Path, settings: &folder::Options) -> Result<(), Failure> {
    let internal = |error: &dyn std::fmt::Display| Failure::new(&usage::INTERNAL, error);
    let (changed, mut changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the folder is no change of it.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = changed.try_send(());
        }
    })
    .map_err(|error| internal(&error))?;
    watcher.watch(folder, notify::RecursiveMode::Recursive).map_err(|error| internal(&error))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| internal(&error))?;
    loop {
        tokio::select! {
            done = tokio::signal::ctrl_c() => return done.map_err(|error| internal(&error)),
            _ = terminate.recv() => return Ok(()),
            Some(()) = changes.recv() => {
                tokio::time::sleep(SETTLED).await;
                let _ = changes.try_recv();
                // What is wrong is said, and what was in force stays so (invariant 4).
                match read(folder, settings).and_then(|folder| machine.apply(folder)) {
                    Ok(()) => eprintln!("applied what {} says now", folder.display()),
                    Err(failure) => eprint!("{failure}  the last good state stays in force\n"),
                }
            }
            () = machine.changed() => machine.publish(),
        }
    }
}

fn read(folder: &Path, settings: &folder::Options) -> Result<Folder, Failure> {
    let manifests =
        folder::files::load(folder).map_err(|error| Failure::from(error).exit(crate::failure::EXIT_USAGE))?;
    folder::read(&manifests, settings).map_err(|error| Failure::from(error).exit(crate::failure::EXIT_USAGE))
}

fn notes(folder: &Folder) {
    for note in &folder.notes {
        eprintln!("note[{}]: {note}", note.code.id);
    }
}
