//! `handfast cert issue`: a certificate with a new key, recorded, then written as NAME.crt and NAME.key.

use std::net::IpAddr;
use std::path::PathBuf;

use certs::{AltName, Authority, KeyKind, PrivateKey, Request};
use model::identity::{LOCAL_NAMESPACE, SpiffeId, TrustDomain};
use time::OffsetDateTime;

use super::names::{For, Names, trust_domain};
use super::written::{self, Files};
use crate::commands::Globals;
use crate::duration::Lifetime;
use crate::failure::{EXIT_USAGE, Failure, Outcome};
use crate::operator;

/// Arguments of `handfast cert issue`.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the files and in the ledger; without other names it is the name in the certificate too.
    name: String,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    uses: For,
    /// Kind of the key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096.
    #[arg(long, env = "HANDFAST_KEY", default_value = "p256", value_name = "KIND")]
    key: KeyKind,
    /// Lifetime, as in 90d or 12h.
    #[arg(
        long,
        visible_alias = "days",
        env = "HANDFAST_LIFETIME",
        default_value = "90d",
        value_name = "TIME"
    )]
    lifetime: Lifetime,
    /// Organisation in the subject.
    #[arg(long, env = "HANDFAST_ORGANIZATION")]
    organization: Option<String>,
    /// Folder for NAME.crt and NAME.key. Default: certs/ in the authority's folder.
    #[arg(long, env = "HANDFAST_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files of the same name.
    #[arg(long, env = "HANDFAST_FORCE")]
    force: bool,
    /// Say what would be issued, and issue nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

/// Runs `handfast cert issue`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let trust_domain = trust_domain(globals)?;
    let mut names = args.names.parse(&trust_domain)?;
    if names.is_empty() {
        names.push(name_itself(&args.name, args.uses.client, &trust_domain)?);
    }
    let mut request = Request::new(&args.name).key(args.key).lifetime(args.lifetime.0);
    request.organization = args.organization;
    request.usage = args.uses.usage(&names);
    request.names = names;
    request.check().map_err(|e| Failure::from(e).exit(EXIT_USAGE))?;
    let folder = args.out.unwrap_or_else(|| certs::Layout::new(&globals.dir).issued());
    let files = Files::new(folder, &args.name);
    files.check_free(args.force)?;
    if args.dry_run {
        Authority::open(&globals.dir)?.check_names(&request.names)?;
        return written::would_issue(globals, &request, &files);
    }
    files.check_writable()?;
    // Made while the authority is free for others: a long RSA key takes seconds.
    let key = PrivateKey::generate(request.key)?;
    let mut authority = Authority::open(&globals.dir)?;
    let issued = authority.issue_with(&request, key, &operator::who(), OffsetDateTime::now_utc())?;
    files.write(&issued)?;
    written::issued(globals, &issued, &files)
}

/// The name in the certificate, when none was given: what `NAME` looks like.
fn name_itself(name: &str, client: bool, trust_domain: &TrustDomain) -> Result<AltName, Failure> {
    let usage = |e: certs::Error| Failure::from(e).exit(EXIT_USAGE);
    if name.contains('@') {
        return AltName::email(name).map_err(usage);
    }
    if !client && (name == "localhost" || name.contains('.') || name.parse::<IpAddr>().is_ok()) {
        return AltName::guess(name).map_err(usage);
    }
    SpiffeId::service_account(trust_domain, LOCAL_NAMESPACE, name).map(|id| AltName::from(&id)).map_err(|e| {
        Failure::usage(format!("{name} is neither a DNS name nor a service account: {e}"))
            .fix("give the name in the certificate with --dns, --ip, --uri, --spiffe or --email")
    })
}
