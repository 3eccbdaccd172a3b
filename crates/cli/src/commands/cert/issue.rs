//! `handfast cert issue`: a certificate with a new key, recorded, then written as NAME.crt and NAME.key.

use std::net::IpAddr;
use std::path::PathBuf;

use certs::{AltName, Authority, KeyKind, Request, Usage};
use model::identity::{LOCAL_NAMESPACE, SpiffeId, TrustDomain};
use time::OffsetDateTime;

use super::names::Names;
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
    /// For servers only.
    #[arg(long, conflicts_with_all = ["client", "both"])]
    server: bool,
    /// For clients only.
    #[arg(long, conflicts_with = "both")]
    client: bool,
    /// For both. Default: both for a SPIFFE ID, server for DNS names and addresses, else client.
    #[arg(long)]
    both: bool,
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
    #[arg(long)]
    force: bool,
    /// Say what would be issued, and issue nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

/// Runs `handfast cert issue`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let mut authority = Authority::open(&globals.dir)?;
    let mut names = args.names.parse(authority.trust_domain())?;
    if names.is_empty() {
        names.push(name_itself(&args.name, args.client, authority.trust_domain())?);
    }
    let mut request = Request::new(&args.name).key(args.key).lifetime(args.lifetime.0);
    request.organization = args.organization;
    request.names = names;
    request.usage = match (args.server, args.client, args.both) {
        (true, ..) => Some(Usage::Server),
        (_, true, _) => Some(Usage::Client),
        (_, _, true) => Some(Usage::Both),
        _ => None,
    };
    request.check().map_err(|e| Failure::from(e).exit(EXIT_USAGE))?;
    let files = Files::new(args.out.unwrap_or_else(|| authority.layout().issued()), &args.name);
    files.check_free(args.force)?;
    if args.dry_run {
        return written::would_issue(globals, &request, &files);
    }
    files.check_writable()?;
    let issued = authority.issue(&request, &operator::who(), OffsetDateTime::now_utc())?;
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
