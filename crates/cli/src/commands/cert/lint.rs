//! `handfast cert lint`: what is wrong with a certificate file before anybody connects to it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use certs::PrivateKey;
use certs::lint::{Finding, Severity, lint};
use serde_json::json;

use super::{input, served};
use crate::commands::Globals;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::output;

/// Arguments of `handfast cert lint`.
#[derive(clap::Args)]
pub struct Args {
    /// The chain, leaf first: a file of any format, `-`, or HOST:PORT for what a server sends.
    #[arg(value_name = "FILE|-|HOST:PORT")]
    target: String,
    /// The private key that belongs to the leaf; one within FILE is used by itself.
    #[arg(long, env = "HANDFAST_KEY_FILE", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Roots that peers trust; with them a missing intermediate is certain, without them suspected.
    #[arg(long, env = "HANDFAST_CA", value_delimiter = ',', value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// The least severity that makes the exit code 3.
    #[arg(long, env = "HANDFAST_FAIL_ON", value_enum, default_value = "notice")]
    fail_on: FailOn,
    /// File with the password of a PKCS#12 or JKS store.
    #[arg(long, env = "HANDFAST_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FailOn {
    Notice,
    Warning,
    Error,
}

/// Runs `handfast cert lint`; exit code 3 on findings.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let path = Path::new(&args.target);
    let (chain, mut keys) = if served::is_address(&args.target) && !path.exists() {
        let served = served::take(&args.target, None, None)
            .map_err(|what| Failure::new(&model::codes::certificates::SERVED_CHAIN_NOT_TAKEN, what))?;
        (served.chain, Vec::new())
    } else {
        let contents = input::certificates(path, args.password_file.as_deref())?;
        (contents.certificates, contents.keys)
    };
    if let Some(file) = &args.key {
        keys = input::contents(file, args.password_file.as_deref())?.keys;
        if keys.is_empty() {
            return Err(Failure::usage(format!("there is no private key in {}", file.display())));
        }
    }
    let spki = match keys.first() {
        Some(der) => Some(PrivateKey::from_der(&der.0)?.public_key_info()),
        None => None,
    };
    let roots = input::all_certificates(&args.ca)?;
    let now = i64::try_from(input::now()).unwrap_or(i64::MAX);
    let findings = lint(&chain, spki.as_deref(), &roots, now)
        .map_err(|error| Failure::from(error).with("file", &args.target).exit(EXIT_USAGE))?;
    let document = json!({ "version": 1, "findings": findings });
    output::print(globals.output, &document, || table(&findings))?;
    let least = match args.fail_on {
        FailOn::Notice => Severity::Notice,
        FailOn::Warning => Severity::Warning,
        FailOn::Error => Severity::Error,
    };
    let failed = findings.iter().any(|finding| finding.severity >= least);
    Ok(if failed { EXIT_FINDINGS } else { EXIT_OK })
}

fn table(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "no findings\n".to_owned();
    }
    let mut out = String::new();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        };
        let Finding { code, position, subject, what, fix, .. } = finding;
        let _ = writeln!(out, "{severity:<8} {code}  certificate {position}, {subject}");
        let _ = writeln!(out, "         {what}\n         fix: {fix}");
    }
    out
}
