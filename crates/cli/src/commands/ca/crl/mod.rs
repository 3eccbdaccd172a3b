//! `handfast ca crl`: signs the revocation lists that are due, writes them, and serves them.

mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;

use certs::Authority;
use serde::Serialize;
use time::OffsetDateTime;

use crate::commands::Globals;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Outcome};
use crate::output;

/// Arguments of `handfast ca crl`.
#[derive(clap::Args)]
pub struct Args {
    /// Write all lists into this file too, PEM.
    #[arg(long, env = "HANDFAST_CRL_OUT", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Sign new lists even if none is due.
    #[arg(long, env = "HANDFAST_FORCE")]
    force: bool,
    /// Serve the lists over HTTP, and renew them in time: /crl.pem, and /NAME.crl for each authority.
    #[arg(long, env = "HANDFAST_CRL_SERVE", value_name = "ADDRESS")]
    serve: Option<SocketAddr>,
    /// Show the lists as they are, and sign nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN", conflicts_with_all = ["force", "serve", "out"])]
    dry_run: bool,
}

#[derive(Serialize)]
struct Document {
    version: u8,
    dry_run: bool,
    file: String,
    lists: Vec<List>,
}

#[derive(Serialize)]
struct List {
    authority: String,
    number: u64,
    this_update: String,
    next_update: String,
    stale: bool,
}

/// Runs `handfast ca crl`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let now = OffsetDateTime::now_utc();
    let lists = if args.dry_run {
        Authority::lists(&Authority::open_ledger(&globals.dir)?, now)?
    } else {
        let mut authority = Authority::open(&globals.dir)?;
        authority.publish_lists(now, args.force)?
    };
    if let Some(path) = &args.out {
        let all: String = lists.iter().map(certs::List::to_pem).collect();
        certs::write_public(path, all.as_bytes())?;
    }
    let mut stale = false;
    let document = Document {
        version: 1,
        dry_run: args.dry_run,
        file: args.out.unwrap_or_else(|| certs::Layout::new(&globals.dir).crl()).display().to_string(),
        lists: lists
            .iter()
            .map(|list| {
                let old = now >= list.next_update;
                stale |= old;
                if list.offline {
                    eprintln!(
                        "note: a new list of {} is due, but its key is offline; the last one ends at {}",
                        list.authority,
                        certs::rfc3339(list.next_update)
                    );
                }
                List {
                    authority: list.authority.clone(),
                    number: list.number,
                    this_update: certs::rfc3339(list.this_update),
                    next_update: certs::rfc3339(list.next_update),
                    stale: old,
                }
            })
            .collect(),
    };
    output::print(globals.output, &document, || {
        let rows: Vec<Vec<String>> = document
            .lists
            .iter()
            .map(|l| {
                vec![l.authority.clone(), l.number.to_string(), l.this_update.clone(), l.next_update.clone()]
            })
            .collect();
        output::columns(&["AUTHORITY", "NUMBER", "THIS UPDATE", "NEXT UPDATE"], &rows)
            + &format!("written to {}\n", document.file)
    })?;
    match args.serve {
        Some(address) => serve::run(address, &globals.dir),
        None => Ok(if stale { EXIT_FINDINGS } else { EXIT_OK }),
    }
}
