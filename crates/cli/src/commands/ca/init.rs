//! `handfast ca init`: makes a root and an intermediate in a folder that has none.

use certs::{Authority, Constraints, InitOptions, KeyKind, Network};
use model::identity::TrustDomain;
use serde::Serialize;
use time::OffsetDateTime;

use crate::commands::Globals;
use crate::duration::Lifetime;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::{operator, output};

/// Arguments of `handfast ca init`.
#[derive(clap::Args)]
pub struct Args {
    /// Beginning of the authorities' names.
    #[arg(long, env = "HANDFAST_CA_NAME", default_value = "Handfast")]
    name: String,
    /// Organisation in the authorities' names.
    #[arg(long, env = "HANDFAST_CA_ORGANIZATION")]
    organization: Option<String>,
    /// Kind of both keys: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096.
    #[arg(long, env = "HANDFAST_CA_KEY", default_value = "p256", value_name = "KIND")]
    key: KeyKind,
    /// Lifetime of the root, as in 3650d or 10y.
    #[arg(long, env = "HANDFAST_CA_ROOT_LIFETIME", default_value = "10y", value_name = "TIME")]
    root_lifetime: Lifetime,
    /// Lifetime of the intermediate.
    #[arg(long, env = "HANDFAST_CA_INTERMEDIATE_LIFETIME", default_value = "5y", value_name = "TIME")]
    intermediate_lifetime: Lifetime,
    /// Trust domain of SPIFFE IDs.
    #[arg(long, env = "HANDFAST_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    trust_domain: String,
    /// Limit the intermediate to this DNS domain and those below it; may be repeated. What is not
    /// permitted is excluded: with a domain alone, no IP address can be issued.
    #[arg(long, env = "HANDFAST_CA_PERMIT_DNS", value_name = "DOMAIN", value_delimiter = ',')]
    permit_dns: Vec<String>,
    /// Limit the intermediate to this network, as in 10.0.0.0/8; may be repeated.
    #[arg(long, env = "HANDFAST_CA_PERMIT_IP", value_name = "NETWORK", value_delimiter = ',')]
    permit_ip: Vec<Network>,
    /// URL of the folder where revocation lists are served (`handfast ca crl --serve`); certificates name it.
    #[arg(long, env = "HANDFAST_CA_CRL_URL", value_name = "URL")]
    crl_url: Option<String>,
    /// Say what would be made, and make nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u8,
    dry_run: bool,
    dir: String,
    key: String,
    trust_domain: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Made>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intermediate: Option<Made>,
    trust_bundle: String,
}

#[derive(Serialize)]
struct Made {
    subject: String,
    serial: String,
    not_after: String,
    key_file: String,
}

/// Runs `handfast ca init`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let usage = |e: certs::Error| Failure::from(e).exit(EXIT_USAGE);
    let trust_domain: TrustDomain = args
        .trust_domain
        .parse()
        .map_err(|e| Failure::usage(format!("--trust-domain {}: {e}", args.trust_domain)))?;
    let options = InitOptions {
        name: args.name,
        organization: args.organization,
        key: args.key,
        root_lifetime: args.root_lifetime.0,
        intermediate_lifetime: args.intermediate_lifetime.0,
        constraints: Constraints::permit_only(&args.permit_dns, &args.permit_ip).map_err(usage)?,
        trust_domain,
        crl_url: args.crl_url,
    };
    options.check().map_err(usage)?;
    let layout = certs::Layout::new(&globals.dir);
    let mut document = Document {
        version: 1,
        dry_run: args.dry_run,
        dir: globals.dir.display().to_string(),
        key: options.key.to_string(),
        trust_domain: options.trust_domain.as_str(),
        root: None,
        intermediate: None,
        trust_bundle: layout.bundle().display().to_string(),
    };
    if args.dry_run {
        if Authority::open_ledger(&globals.dir).is_ok() {
            return Err(certs::Error::Exists(globals.dir.clone()).into());
        }
    } else {
        let authority = Authority::init(&globals.dir, &options, &operator::who(), OffsetDateTime::now_utc())?;
        for member in authority.members()? {
            let made = Made {
                subject: member.certificate.subject.clone(),
                serial: member.certificate.serial.to_string(),
                not_after: certs::rfc3339(member.certificate.not_after),
                key_file: layout.key(&member.name).display().to_string(),
            };
            if member.name.starts_with("root") {
                document.root = Some(made);
            } else {
                document.intermediate = Some(made);
            }
        }
    }
    output::print(globals.output, &document, || table(&document))?;
    if !args.dry_run {
        eprintln!(
            "The root key is needed again only for a new intermediate and for the root's revocation list:\n\
             take {} offline (keep a copy in a safe place).",
            layout.dir().join("root").display()
        );
    }
    Ok(EXIT_OK)
}

fn table(document: &Document<'_>) -> String {
    let mut text = format!(
        "{} a certificate authority in {} ({} keys, trust domain {})\n",
        if document.dry_run { "would make" } else { "made" },
        document.dir,
        document.key,
        document.trust_domain
    );
    for (what, made) in [("root", &document.root), ("intermediate", &document.intermediate)] {
        if let Some(made) = made {
            text.push_str(&format!(
                "  {what:<13} {} until {}\n  {:<13} {}\n",
                made.subject, made.not_after, "its key", made.key_file
            ));
        }
    }
    text.push_str(&format!("  {:<13} {}\n", "trust bundle", document.trust_bundle));
    text
}
