//! `handfast ca rotate`: one step of a rotation, refused while it is unsafe.

use std::path::{Path, PathBuf};

use certs::Authority;
use certs::rotate::{self, Rotation, Step, Subject};
use serde::Serialize;
use time::OffsetDateTime;

use crate::commands::Globals;
use crate::failure::{EXIT_OK, Outcome};
use crate::{operator, output};

/// Arguments of `handfast ca rotate`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    step: Command,
    /// Say what would be done, and do nothing.
    #[arg(long, global = true, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make the new authority; a new root joins the trust bundle.
    Start {
        /// Rotate the intermediate only, below the same root.
        #[arg(long, env = "HANDFAST_ROTATE_INTERMEDIATE")]
        intermediate: bool,
    },
    /// Say that every verifier has the new trust bundle.
    Confirm {
        /// A copy of the bundle as a verifier has it: checked to hold every root. May be repeated.
        #[arg(long = "bundle", env = "HANDFAST_ROTATE_BUNDLE", value_delimiter = ',', value_name = "FILE")]
        bundles: Vec<PathBuf>,
        /// All verifiers have it; you have checked this yourself.
        #[arg(long, env = "HANDFAST_ROTATE_ALL_HAVE_IT")]
        all_have_it: bool,
    },
    /// Issue from the new authority from now on.
    Switch,
    /// Stop trusting the old authority; refused while live certificates chain to it.
    Retire,
    /// Show how far the rotation is, and what the next step waits for.
    Status,
    /// Drop the new authority; possible up to the switch.
    Abort,
}

#[derive(Serialize)]
struct Document {
    version: u8,
    dry_run: bool,
    going_on: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    live_certificates_of_the_old: usize,
    next: String,
}

/// Runs `handfast ca rotate`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let (now, who) = (OffsetDateTime::now_utc(), operator::who());
    let dir = &globals.dir;
    if args.dry_run || matches!(args.step, Command::Status) {
        let authority = Authority::open(dir)?;
        let rotation = rotate::current(authority.ledger())?;
        // A step that would be refused is refused here too, for its reason.
        match &args.step {
            Command::Start { intermediate } => authority.check_start(subject(*intermediate), now)?,
            Command::Confirm { bundles, all_have_it } => {
                let copies: Vec<&Path> = bundles.iter().map(PathBuf::as_path).collect();
                authority.check_confirm(&copies, *all_have_it).map(|_| ())?;
            }
            Command::Switch => authority.check_switch(now).map(|_| ())?,
            Command::Retire => authority.check_retire(now).map(|_| ())?,
            Command::Abort => authority.check_abort().map(|_| ())?,
            Command::Status => {}
        }
        return report(globals, &authority, rotation, args.dry_run, now);
    }
    let mut authority = Authority::open(dir)?;
    let rotation = match args.step {
        Command::Start { intermediate } => Some(authority.rotate_start(subject(intermediate), &who, now)?),
        Command::Confirm { bundles, all_have_it } => {
            let copies: Vec<&Path> = bundles.iter().map(PathBuf::as_path).collect();
            Some(authority.rotate_confirm(&copies, all_have_it, &who, now)?)
        }
        Command::Switch => Some(authority.rotate_switch(&who, now)?),
        Command::Retire => authority.rotate_retire(&who, now).map(|_| None)?,
        Command::Abort => authority.rotate_abort(&who, now).map(|_| None)?,
        Command::Status => None,
    };
    report(globals, &authority, rotation, false, now)
}

fn subject(intermediate: bool) -> Subject {
    if intermediate { Subject::Intermediate } else { Subject::Root }
}

fn report(
    globals: &Globals,
    authority: &Authority,
    rotation: Option<Rotation>,
    dry_run: bool,
    now: OffsetDateTime,
) -> Outcome {
    let live = match &rotation {
        Some(rotation) => authority.old_live(rotation, now)?.len(),
        None => 0,
    };
    let bundle = authority.layout().bundle();
    let next = match rotation.as_ref().map(|r| (r.subject, r.step)) {
        None => "no rotation goes on; begin one with: handfast ca rotate start".to_owned(),
        Some((Subject::Root, Step::Distributing)) => format!(
            "give {} to every verifier and trust store, then: handfast ca rotate confirm --bundle COPY",
            bundle.display()
        ),
        Some((Subject::Intermediate, Step::Distributing)) => {
            "verifiers need nothing new but the revocation list; then: handfast ca rotate confirm".to_owned()
        }
        Some((_, Step::Confirmed)) => "let the new authority issue: handfast ca rotate switch".to_owned(),
        Some((_, Step::Switched)) if live > 0 => {
            format!(
                "renew the {live} live certificates of the old authority; then: handfast ca rotate retire"
            )
        }
        Some((_, Step::Switched)) => "end the old authority: handfast ca rotate retire".to_owned(),
    };
    let document = Document {
        version: 1,
        dry_run,
        going_on: rotation.is_some(),
        subject: rotation.as_ref().map(|r| r.subject.as_str()),
        step: rotation.as_ref().map(|r| r.step.as_str()),
        from: rotation.as_ref().map(|r| r.old_issuer.clone()),
        to: rotation.as_ref().map(|r| r.new_issuer.clone()),
        live_certificates_of_the_old: live,
        next,
    };
    output::print(globals.output, &document, || {
        let mut text = String::new();
        if let Some(r) = &rotation {
            text = format!(
                "rotation of the {}: {} ({} -> {})\n",
                r.subject.as_str(),
                r.step.as_str(),
                r.old_issuer,
                r.new_issuer
            );
        }
        text + &format!("next: {}\n", document.next)
    })?;
    Ok(EXIT_OK)
}
