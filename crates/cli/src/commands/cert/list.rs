//! `handfast cert list`: what the ledger knows.

use certs::{Authority, RecordKind, Status};
use serde::Serialize;
use time::OffsetDateTime;

use super::written::Certificate;
use crate::commands::Globals;
use crate::duration::Lifetime;
use crate::failure::{EXIT_OK, Outcome};
use crate::output;

/// Arguments of `handfast cert list`.
#[derive(clap::Args)]
pub struct Args {
    /// Only those that are valid, expired or revoked.
    #[arg(long, env = "HANDFAST_STATUS", value_enum)]
    status: Option<Wanted>,
    /// Only valid ones that end within this time, as in 30d.
    #[arg(long, env = "HANDFAST_EXPIRING", value_name = "TIME", visible_alias = "expiring-within")]
    expiring: Option<Lifetime>,
    /// Only those of this name.
    name: Option<String>,
    /// The authorities' own certificates too.
    #[arg(long, env = "HANDFAST_ALL")]
    all: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Wanted {
    Valid,
    Expired,
    Revoked,
}

#[derive(Serialize)]
struct Document {
    version: u8,
    certificates: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    certificate: Certificate,
    status: &'static str,
    issued_at: String,
    renew_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Runs `handfast cert list`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let now = OffsetDateTime::now_utc();
    let ledger = Authority::open_ledger(&globals.dir)?;
    let wanted = args.status.map(|wanted| match wanted {
        Wanted::Valid => Status::Valid,
        Wanted::Expired => Status::Expired,
        Wanted::Revoked => Status::Revoked,
    });
    let certificates = ledger
        .records()?
        .iter()
        .filter(|record| args.all || record.kind == RecordKind::Leaf)
        .filter(|record| wanted.is_none_or(|wanted| record.status(now) == wanted))
        .filter(|record| args.name.as_ref().is_none_or(|name| *name == record.name))
        .filter(|record| {
            args.expiring.is_none_or(|within| {
                record.status(now) == Status::Valid && record.not_after <= now + within.0
            })
        })
        .map(|record| Row {
            certificate: Certificate::from(record),
            status: record.status(now).as_str(),
            issued_at: certs::rfc3339(record.issued_at),
            renew_at: certs::rfc3339(record.renew_at()),
            revoked_at: record.revoked.map(|(at, _)| certs::rfc3339(at)),
            reason: record.revoked.map(|(_, reason)| certs::Reason::of_number(reason).to_string()),
        })
        .collect();
    let document = Document { version: 1, certificates };
    output::print(globals.output, &document, || {
        let rows: Vec<Vec<String>> = document
            .certificates
            .iter()
            .map(|row| {
                let c = &row.certificate;
                let status =
                    row.reason.as_ref().map_or(row.status.to_owned(), |why| format!("revoked ({why})"));
                vec![
                    c.name.clone(),
                    status,
                    c.not_after.clone(),
                    c.usage.clone(),
                    c.serial.clone(),
                    c.names.join(" "),
                ]
            })
            .collect();
        output::columns(&["NAME", "STATUS", "VALID UNTIL", "USAGE", "SERIAL", "NAMES"], &rows)
    })?;
    Ok(EXIT_OK)
}
