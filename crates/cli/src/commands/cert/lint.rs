//! `handfast cert lint`: what is wrong with a certificate file before anybody connects to it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use certs::PrivateKey;
use certs::formats::Contents;
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
    let password = args.password_file.as_deref();
    let (chain, mut held) = if served::is_address(&args.target) && !path.exists() {
        let served = served::take(&args.target, None, None)
            .map_err(|what| Failure::new(&model::codes::certificates::SERVED_CHAIN_NOT_TAKEN, what))?;
        (served.chain, None)
    } else {
        let mut contents = input::certificates(path, password)?;
        (std::mem::take(&mut contents.certificates), Some(contents))
    };
    if let Some(file) = &args.key {
        let contents = input::contents(file, password)?;
        if contents.keys.is_empty() && contents.encrypted_keys.is_empty() {
            return Err(Failure::usage(format!("there is no private key in {}", file.display())));
        }
        held = Some(contents);
    }
    let from = args.key.as_deref().unwrap_or(path);
    let key = held.and_then(|contents| first_key(&contents, password).transpose()).transpose();
    let (spki, weak) = match key.map_err(|failure| failure.with("file", from.display()))? {
        Some(Ok(key)) => (Some(key.public_key_info()), None),
        Some(Err(weakness)) => (None, Some(weakness)),
        None => (None, None),
    };
    let roots = input::all_certificates(&args.ca)?;
    let now = i64::try_from(input::now()).unwrap_or(i64::MAX);
    let mut findings = lint(&chain, spki.as_deref(), &roots, now)
        .map_err(|error| Failure::from(error).with("file", &args.target).exit(EXIT_USAGE))?;
    if let Some(what) = weak {
        let code = &model::codes::certificates::LINT_WEAK_KEY;
        // The same key in the certificate was found already.
        if !findings.iter().any(|finding| finding.code == code.id && finding.position == 1) {
            let subject = from.display().to_string();
            let severity = Severity::Error;
            findings
                .insert(0, Finding { code: code.id, severity, position: 0, subject, what, fix: code.fix });
        }
    }
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

/// The first private key of a file; inside, why it is too weak to be used at all.
fn first_key(
    contents: &Contents,
    password: Option<&Path>,
) -> Result<Option<Result<PrivateKey, String>>, Failure> {
    let key = match (contents.keys.first(), contents.encrypted_keys.first()) {
        (Some(der), _) => PrivateKey::from_der(&der.0),
        (None, Some(der)) => {
            let password = password.map(input::password).transpose()?;
            PrivateKey::from_pem(
                &certs::pem("ENCRYPTED PRIVATE KEY", der),
                password.as_ref().map(|text| text.as_bytes()),
            )
        }
        (None, None) => return Ok(None),
    };
    match key {
        Ok(key) => Ok(Some(Ok(key))),
        Err(certs::Error::WeakKey(why)) => Ok(Some(Err(why))),
        Err(error) => Err(Failure::from(error).exit(EXIT_USAGE)),
    }
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
