//! `handfast cert renew`: a new certificate with a new key in the place of an old one; with `--daemon`
//! again and again, each time at two thirds of the lifetime.

mod reload;

use std::path::PathBuf;
use std::time::Duration;

use certs::{Authority, Record};
use time::OffsetDateTime;

use self::reload::Reload;
use super::which;
use super::written::{self, Files};
use crate::commands::Globals;
use crate::failure::{Failure, Outcome};
use crate::operator;

/// How long the daemon waits after a failure; it doubles up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// The daemon looks at the clock this often, for clocks are set and laptops sleep.
const LOOK: Duration = Duration::from_secs(30);

/// Arguments of `handfast cert renew`.
#[derive(clap::Args)]
pub struct Args {
    /// Name, certificate file or serial number.
    certificate: String,
    /// Folder of NAME.crt and NAME.key. Default: the file's folder, else certs/ in the authority's folder.
    #[arg(long, env = "HANDFAST_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
    /// Stay, and renew at two thirds of each lifetime (with jitter).
    #[arg(long, env = "HANDFAST_RENEW_DAEMON")]
    daemon: bool,
    /// Revoke the old certificate (superseded): when every copy of it is replaced at once.
    #[arg(long, env = "HANDFAST_REVOKE_OLD")]
    revoke_old: bool,
    #[command(flatten)]
    reload: Reload,
    /// Say when it is due, and renew nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

/// Runs `handfast cert renew`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    args.reload.check()?;
    let now = OffsetDateTime::now_utc();
    let ledger = Authority::open_ledger(&globals.dir)?;
    let mut record = which::find(&ledger, &args.certificate, false, now)?;
    drop(ledger);
    let path = PathBuf::from(&args.certificate);
    let files = match (&args.out, path.is_file()) {
        (None, true) => Files::beside(&path),
        (Some(folder), _) => Files::new(folder.clone(), &record.name),
        (None, false) => Files::new(certs::Layout::new(&globals.dir).issued(), &record.name),
    };
    if args.dry_run {
        let request = certs::request_of(&record)?;
        eprintln!("due at {}", certs::rfc3339(record.renew_at()));
        return written::would_issue(globals, &request, &files);
    }
    if !args.daemon {
        let issued = renew(globals, &record, &files)?;
        args.reload.run()?;
        revoke_old(globals, &record, args.revoke_old)?;
        return written::issued(globals, &issued, &files);
    }
    let mut pause = FIRST_PAUSE;
    loop {
        let due = record.renew_at();
        eprintln!("{} (serial {}) is renewed at {}", record.name, record.serial, certs::rfc3339(due));
        wait_until(due);
        match renew(globals, &record, &files) {
            Ok(issued) => {
                pause = FIRST_PAUSE;
                let old = std::mem::replace(&mut record, issued.record.clone());
                written::issued(globals, &issued, &files)?;
                // The certificate is in place; what does not reload now may read it later.
                // The old one is revoked only once its user has the new one.
                let told = args.reload.run().and_then(|()| revoke_old(globals, &old, args.revoke_old));
                if let Err(failure) = told {
                    eprint!("{failure}");
                }
            }
            Err(failure) => {
                eprint!("{failure}");
                let left = record.not_after - OffsetDateTime::now_utc();
                eprintln!("trying again in {pause:?}; the old certificate is valid for {left:.0} more");
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn renew(globals: &Globals, record: &Record, files: &Files) -> Result<certs::Issued, Failure> {
    files.check_writable()?;
    let mut authority = Authority::open(&globals.dir)?;
    let now = OffsetDateTime::now_utc();
    // A revoked certificate lost its right; renewing it would give the right back.
    let fresh = authority.ledger().by_serial(&record.serial)?;
    if let Some((at, _)) = fresh.and_then(|record| record.revoked) {
        let serial = record.serial.to_string();
        return Err(Failure::from(certs::Error::AlreadyRevoked { serial, at: certs::rfc3339(at) })
            .fix("issue a new one, if its owner should have one: handfast cert issue"));
    }
    let issued = authority.renew(record, &operator::who(), now)?;
    files.write(&issued)?;
    Ok(issued)
}

fn revoke_old(globals: &Globals, old: &Record, wanted: bool) -> Result<(), Failure> {
    if wanted {
        let mut authority = Authority::open(&globals.dir)?;
        authority.revoke(
            &old.serial,
            certs::Reason::Superseded,
            &operator::who(),
            OffsetDateTime::now_utc(),
        )?;
    }
    Ok(())
}

fn wait_until(due: OffsetDateTime) {
    loop {
        let left = due - OffsetDateTime::now_utc();
        match Duration::try_from(left) {
            Ok(left) if !left.is_zero() => std::thread::sleep(left.min(LOOK)),
            _ => return,
        }
    }
}
