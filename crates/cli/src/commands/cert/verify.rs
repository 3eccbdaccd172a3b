//! `handfast cert verify`: is this chain good, and if not, precisely why not?

use std::path::PathBuf;
use std::time::Duration;

use certs::inspect;
use certs::verify::{Options, Purpose, Rejection, Revocation, Trust, verify};
use clap::ValueEnum;
use model::codes::{Coded, refusals};
use rustls::pki_types::{ServerName, UnixTime};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{input, served};
use crate::commands::Globals;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::output;

/// Arguments of `handfast cert verify`.
#[derive(clap::Args)]
pub struct Args {
    /// The chain, leaf first: a file of any format, `-`, or HOST:PORT for what a server sends.
    #[arg(value_name = "FILE|-|HOST:PORT")]
    target: String,
    /// Trusted authorities; the root of --dir by default. May be given several times.
    #[arg(long, env = "HANDFAST_CA", value_delimiter = ',', value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Revocation lists; when given, each issuer of the chain needs one that is not stale. By default that of
    /// --dir, beside its root; what a stale or missing one leaves open is said then, and no reason to refuse.
    #[arg(long, env = "HANDFAST_CRL", value_delimiter = ',', value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// The host name or address that a server's certificate must be valid for; that of HOST:PORT by default.
    #[arg(long, env = "HANDFAST_NAME", value_name = "HOST")]
    name: Option<String>,
    /// What the certificate is used for.
    #[arg(long, env = "HANDFAST_PURPOSE", value_enum, default_value = "server")]
    purpose: Use,
    /// The time to verify at, as 2026-11-24T03:15:00Z; now by default.
    #[arg(long, env = "HANDFAST_AT", value_name = "TIME")]
    at: Option<String>,
    /// How many intermediates may stand between leaf and root.
    #[arg(long, env = "HANDFAST_DEPTH", value_name = "N")]
    depth: Option<usize>,
    /// File with the password of a PKCS#12 or JKS store.
    #[arg(long, env = "HANDFAST_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Use {
    Server,
    Client,
}

/// Runs `handfast cert verify`; exit code 3 when the chain is refused.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let path = PathBuf::from(&args.target);
    let address = served::is_address(&args.target) && !path.exists();
    let host = served::host_of(&args.target);
    let name = args.name.as_deref().or((address && matches!(args.purpose, Use::Server)).then_some(host));
    let (chain, proof) = if address {
        let served = served::take(&args.target, name, None)
            .map_err(|what| Failure::new(&model::codes::certificates::SERVED_CHAIN_NOT_TAKEN, what))?;
        (served.chain, Some(served.proof))
    } else {
        (input::certificates(&path, args.password_file.as_deref())?.certificates, None)
    };
    let roots = if args.ca.is_empty() { vec![globals.dir.join("ca.crt")] } else { args.ca.clone() };
    let mut crls = Vec::new();
    let beside = globals.dir.join("crl.pem");
    let (files, revocation) = match (args.crl.is_empty(), args.ca.is_empty() && beside.exists()) {
        (false, _) => (args.crl.clone(), Revocation::Require),
        (true, true) => (vec![beside], Revocation::FailOpen),
        (true, false) => (Vec::new(), Revocation::Off),
    };
    for file in &files {
        let found = input::contents(file, None)?.crls;
        if found.is_empty() {
            return Err(Failure::usage(format!("there is no revocation list in {}", file.display())));
        }
        crls.extend(found);
    }
    let trust = Trust::new(&input::all_certificates(&roots)?)
        .and_then(|trust| trust.with_crls(&crls))
        .map_err(|error| Failure::from(error).exit(EXIT_USAGE))?;
    let name = name
        .map(|name| {
            ServerName::try_from(name).map_err(|_| Failure::usage(format!("{name:?} is no host name")))
        })
        .transpose()?;
    let options = Options {
        purpose: match args.purpose {
            Use::Server => Purpose::Server,
            Use::Client => Purpose::Client,
        },
        now: at(args.at.as_deref())?,
        depth: args.depth,
        revocation,
        name: name.as_ref(),
    };
    match verify(&chain, &trust, &options).and_then(|verified| match proof {
        // Anybody can send somebody else's chain; only its owner can sign the handshake.
        Some(Err(why)) => Err(Rejection { code: &refusals::BAD_SIGNATURE, what: why, evidence: Vec::new() }),
        _ => Ok(verified),
    }) {
        Ok(verified) => {
            let root = inspect::certificate(&verified.anchor)?.subject;
            let path: Vec<String> = verified
                .intermediates
                .iter()
                .map(|der| inspect::certificate(der).map(|cert| cert.subject))
                .collect::<Result<_, _>>()?;
            if let Some(code) = verified.revocation_unknown {
                eprintln!(
                    "note: whether it was revoked is not known ({}: {}); renew the lists: handfast ca crl",
                    code.id, code.cause
                );
            }
            let steps = [&["leaf".to_owned()], path.as_slice(), std::slice::from_ref(&root)].concat();
            let document = json!({ "version": 1, "good": true, "root": root, "intermediates": path,
                "revocation_checked": revocation != Revocation::Off && verified.revocation_unknown.is_none() });
            output::print(globals.output, &document, || format!("good: {}\n", steps.join(" -> ")))?;
            Ok(EXIT_OK)
        }
        Err(rejection) => match globals.output {
            output::Format::Table => Err(Failure::from(rejection).exit(EXIT_FINDINGS)),
            format => {
                let evidence: serde_json::Map<_, _> = rejection
                    .evidence()
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.into()))
                    .collect();
                let document = json!({
                    "version": 1, "good": false, "code": rejection.code.id, "reason": rejection.code.label,
                    "what": rejection.what, "alert": format!("{:?}", rejection.alert()), "evidence": evidence,
                    "fix": rejection.code.fix,
                });
                output::print(format, &document, String::new)?;
                Ok(EXIT_FINDINGS)
            }
        },
    }
}

fn at(text: Option<&str>) -> Result<UnixTime, Failure> {
    let seconds = match text {
        None => input::now(),
        Some(text) => OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|time| u64::try_from(time.unix_timestamp()).ok())
            .ok_or_else(|| Failure::usage(format!("{text:?} is no time such as 2026-11-24T03:15:00Z")))?,
    };
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}
