//! `handfast ca import`: takes over an existing root or intermediate.

use std::path::PathBuf;

use certs::{Authority, Import, InitOptions, KeyKind, PrivateKey};
use serde::Serialize;
use time::OffsetDateTime;

use crate::commands::Globals;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::{operator, output};

/// Arguments of `handfast ca import`.
#[derive(clap::Args)]
pub struct Args {
    /// Certificate of the authority, then those above it up to the root, PEM.
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its private key: PKCS#8 (encrypted too), PKCS#1 or SEC1, PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Certificates above it, when they are in another file.
    #[arg(long, value_name = "FILE")]
    chain: Option<PathBuf>,
    /// File whose first line is the password of the key.
    #[arg(long, env = "HANDFAST_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Beginning of the names of authorities that are made later.
    #[arg(long, env = "HANDFAST_CA_NAME", default_value = "Handfast")]
    name: String,
    /// Kind of the keys that are made: an intermediate below an imported root, and those of rotations.
    #[arg(long, env = "HANDFAST_CA_KEY", default_value = "p256", value_name = "KIND")]
    new_key: KeyKind,
    /// Trust domain of SPIFFE IDs.
    #[arg(long, env = "HANDFAST_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: String,
    /// URL of the folder where revocation lists are served.
    #[arg(long, env = "HANDFAST_CA_CRL_URL", value_name = "URL")]
    crl_url: Option<String>,
    /// Check everything, and write nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

#[derive(Serialize)]
struct Document {
    version: u8,
    dry_run: bool,
    dir: String,
    issuer: String,
    not_after: String,
}

/// Runs `handfast ca import`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|e| Failure::reading(path, &e).exit(EXIT_USAGE))
    };
    let mut chain_pem = read(&args.cert)?;
    if let Some(path) = &args.chain {
        chain_pem.push('\n');
        chain_pem.push_str(&read(path)?);
    }
    let password = args.password_file.as_ref().map(certs::read_private).transpose()?;
    let password = password.as_ref().and_then(|text| text.lines().next()).map(str::as_bytes);
    let key = PrivateKey::from_pem(&certs::read_private(&args.key)?, password)
        .map_err(|e| Failure::from(e).with("file", args.key.display()))?;
    let trust_domain = args
        .trust_domain
        .parse()
        .map_err(|e| Failure::usage(format!("--trust-domain {}: {e}", args.trust_domain)))?;
    let options = InitOptions {
        name: args.name,
        key: args.new_key,
        trust_domain,
        crl_url: args.crl_url,
        ..InitOptions::default()
    };
    let import = Import { chain_pem, key };
    let (who, now) = (operator::who(), OffsetDateTime::now_utc());
    let member = if args.dry_run {
        // The whole import, in a folder that is thrown away.
        let folder = tempfile::tempdir().map_err(|e| Failure::writing(&std::env::temp_dir(), &e))?;
        Authority::import(folder.path(), import, &options, &who, now)?.issuer().clone()
    } else {
        Authority::import(&globals.dir, import, &options, &who, now)?.issuer().clone()
    };
    let document = Document {
        version: 1,
        dry_run: args.dry_run,
        dir: globals.dir.display().to_string(),
        issuer: member.certificate.subject.clone(),
        not_after: certs::rfc3339(member.certificate.not_after),
    };
    output::print(globals.output, &document, || {
        let verb = if document.dry_run { "would import into" } else { "imported into" };
        format!("{verb} {}: {} issues until {}\n", document.dir, document.issuer, document.not_after)
    })?;
    Ok(EXIT_OK)
}
