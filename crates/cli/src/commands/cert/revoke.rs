//! `handfast cert revoke`: marks a certificate in the ledger and publishes the new revocation list.

use certs::{Authority, Reason};
use serde::Serialize;
use time::OffsetDateTime;

use super::which;
use crate::commands::Globals;
use crate::failure::{EXIT_OK, Outcome};
use crate::{operator, output};

/// Arguments of `handfast cert revoke`.
#[derive(clap::Args)]
pub struct Args {
    /// Serial number, certificate file or name.
    certificate: String,
    /// Why: unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation,
    /// privilegeWithdrawn.
    #[arg(long, env = "HANDFAST_REASON", default_value = "unspecified")]
    reason: Reason,
    /// Say what would be revoked, and revoke nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

#[derive(Serialize)]
struct Document {
    version: u8,
    dry_run: bool,
    name: String,
    serial: String,
    subject: String,
    reason: String,
    revocation_list: String,
}

/// Runs `handfast cert revoke`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let now = OffsetDateTime::now_utc();
    let mut authority = Authority::open(&globals.dir)?;
    let mut record = which::single(authority.ledger(), &args.certificate, now)?;
    if !args.dry_run {
        record = authority.revoke(&record.serial, args.reason, &operator::who(), now)?;
    }
    let document = Document {
        version: 1,
        dry_run: args.dry_run,
        name: record.name,
        serial: record.serial.to_string(),
        subject: record.subject,
        reason: args.reason.to_string(),
        revocation_list: authority.layout().crl().display().to_string(),
    };
    output::print(globals.output, &document, || {
        format!(
            "{} {} (serial {}): {}\n  revocation list  {}\n",
            if document.dry_run { "would revoke" } else { "revoked" },
            document.name,
            document.serial,
            document.reason,
            document.revocation_list
        )
    })?;
    Ok(EXIT_OK)
}
