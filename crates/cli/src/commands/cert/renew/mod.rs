//! `handfast cert renew`: a new certificate in the place of an old one; with `--daemon` again and again, each
//! time at two thirds of the lifetime. The key is new too, unless it is somebody else's (`cert sign`).

mod daemon;
pub(crate) mod reload;

use std::path::{Path, PathBuf};

use certs::{Authority, Ledger, Record};
use time::OffsetDateTime;

use self::reload::Reload;
use super::which;
use super::written::{self, Files};
use crate::commands::Globals;
use crate::failure::{Failure, Outcome};
use crate::operator;

/// Arguments of `handfast cert renew`.
#[derive(clap::Args)]
pub struct Args {
    /// Name, certificate file or serial number.
    certificate: String,
    /// Folder of NAME.crt and NAME.key. Default: the file's folder, else certs/ in the authority's folder.
    #[arg(long, env = "HANDFAST_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
    /// The key file that belongs to the certificate file, as in privkey.pem. Default: NAME.key beside it, or the
    /// certificate file itself when it holds its key.
    #[arg(long, env = "HANDFAST_KEY_FILE", value_name = "FILE")]
    key: Option<PathBuf>,
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
    let ledger = Authority::open_ledger(&globals.dir)?;
    let (record, files) = find(&args, globals, &ledger)?;
    drop(ledger);
    if args.dry_run {
        let request = certs::request_of(&record)?;
        eprintln!("due at {}", certs::rfc3339(record.renew_at()));
        return written::would_issue(globals, &request, &files);
    }
    if args.daemon {
        return daemon::run(&args, globals, record, &files);
    }
    let issued = renew(globals, &record, &files)?;
    args.reload.run()?;
    revoke_old(globals, &record, args.revoke_old)?;
    written::issued(globals, &issued, &files)
}

/// The certificate that is meant, and its files. What lies on the disk is what is used, so that is renewed,
/// whatever was issued under its name since.
fn find(args: &Args, globals: &Globals, ledger: &Ledger) -> Result<(Record, Files), Failure> {
    let path = Path::new(&args.certificate);
    let mut record = which::newest(ledger, &args.certificate)?;
    let files = match (&args.out, path.is_file()) {
        (None, true) => Files::beside(path, args.key.as_deref(), &record)?,
        (folder, _) => {
            let folder = folder.clone().unwrap_or_else(|| certs::Layout::new(&globals.dir).issued());
            let files = Files::new(folder, &record.name).with_key(args.key.as_deref());
            if !path.is_file() {
                record = on_disk(ledger, &files, &record.name).unwrap_or(record);
            }
            files.of_owner(&record)
        }
    };
    Ok((record, files))
}

/// The record of the certificate that lies in the file now, when it is one of this name.
fn on_disk(ledger: &Ledger, files: &Files, name: &str) -> Option<Record> {
    let text = std::fs::read_to_string(&files.certificate).ok()?;
    let leaf = certs::certificates_of_pem(&text).ok()?.into_iter().next()?;
    ledger.by_name(name).ok()?.into_iter().find(|record| record.der == leaf)
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
    if !wanted {
        return Ok(());
    }
    let mut authority = Authority::open(&globals.dir)?;
    let (reason, now) = (certs::Reason::Superseded, OffsetDateTime::now_utc());
    match authority.revoke(&old.serial, reason, &operator::who(), now) {
        // Somebody did it meanwhile.
        Err(certs::Error::AlreadyRevoked { .. }) => Ok(()),
        result => result.map(|_| ()).map_err(Failure::from),
    }
}
