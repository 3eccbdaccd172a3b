//! `handfast ca import`: takes over an existing root or intermediate.

use std::path::PathBuf;

use certs::{Authority, Constraints, Import, InitOptions, KeyKind, Network, PrivateKey};
use serde::Serialize;
use time::OffsetDateTime;

use crate::commands::Globals;
use crate::commands::cert::input;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::{operator, output};

/// Arguments of `handfast ca import`.
#[derive(clap::Args)]
pub struct Args {
    /// Certificate of the authority, then those above it up to the root, PEM.
    #[arg(long, env = "HANDFAST_IMPORT_CERT", value_name = "FILE")]
    cert: PathBuf,
    /// Its private key: PKCS#8 (encrypted too), PKCS#1 or SEC1, PEM.
    #[arg(long, env = "HANDFAST_KEY_FILE", value_name = "FILE")]
    key: PathBuf,
    /// Certificates above it, when they are in another file.
    #[arg(long, env = "HANDFAST_IMPORT_CHAIN", value_name = "FILE")]
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
    /// Limit the new intermediate below an imported root to this DNS domain and those below it; may be repeated.
    #[arg(long, env = "HANDFAST_CA_PERMIT_DNS", value_name = "DOMAIN", value_delimiter = ',')]
    permit_dns: Vec<String>,
    /// Limit it to this network, as in 10.0.0.0/8; may be repeated.
    #[arg(long, env = "HANDFAST_CA_PERMIT_IP", value_name = "NETWORK", value_delimiter = ',')]
    permit_ip: Vec<Network>,
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
    let usage = |e: certs::Error| Failure::from(e).exit(EXIT_USAGE);
    let mut chain = input::certificates(&args.cert, None)?.certificates;
    if let Some(path) = &args.chain {
        chain.extend(input::certificates(path, None)?.certificates);
    }
    let password = args.password_file.as_deref().map(input::password).transpose()?;
    let password = password.as_ref().map(|text| text.as_bytes());
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
        constraints: Constraints::permit_only(&args.permit_dns, &args.permit_ip).map_err(usage)?,
        ..InitOptions::default()
    };
    let import = Import { chain_pem: certs::formats::pem::write(&chain), key };
    let (who, now) = (operator::who(), OffsetDateTime::now_utc());
    let named = |e: certs::Error| Failure::from(e).with("certificate", args.cert.display());
    let (issuer, not_after) = if args.dry_run {
        // Nothing is written, not even for a moment: the key stays where it is.
        if Authority::open_ledger(&globals.dir).is_ok() {
            return Err(certs::Error::Exists(globals.dir.clone()).into());
        }
        let first = import.check(&options, now).map_err(named)?;
        match first.self_issued {
            true => {
                let end = first.not_after.min(now + options.intermediate_lifetime);
                (format!("a new intermediate below {}", first.subject), end)
            }
            false => (first.subject, first.not_after),
        }
    } else {
        let authority = Authority::import(&globals.dir, import, &options, &who, now).map_err(named)?;
        let certificate = &authority.issuer().certificate;
        (certificate.subject.clone(), certificate.not_after)
    };
    let document = Document {
        version: 1,
        dry_run: args.dry_run,
        dir: globals.dir.display().to_string(),
        issuer,
        not_after: certs::rfc3339(not_after),
    };
    output::print(globals.output, &document, || {
        let verb = if document.dry_run { "would import into" } else { "imported into" };
        format!("{verb} {}: {} issues until {}\n", document.dir, document.issuer, document.not_after)
    })?;
    Ok(EXIT_OK)
}
