//! `handfast cert sign`: shows what a signing request asks for, and certifies its key with the names that
//! the operator grants.

use std::io::Read as _;
use std::path::PathBuf;

use certs::{Authority, Csr, Request};
use time::OffsetDateTime;

use super::names::{For, Names, is_spiffe, trust_domain};
use super::written::{self, Files};
use crate::commands::Globals;
use crate::duration::Lifetime;
use crate::failure::{EXIT_USAGE, Failure, Outcome};
use crate::operator;

/// Arguments of `handfast cert sign`.
#[derive(clap::Args)]
pub struct Args {
    /// The signing request, PEM or DER; `-` is stdin.
    csr: PathBuf,
    /// Name of the file and in the ledger, and common name. Default: the request's file name without its ending,
    /// and no common name.
    #[arg(long, env = "HANDFAST_CERT_NAME")]
    name: Option<String>,
    #[command(flatten)]
    names: Names,
    /// Grant the names that the request asks for, after they were shown. A SPIFFE ID among them is granted to a
    /// person at a terminal only, not with --yes.
    #[arg(long, env = "HANDFAST_GRANT_REQUESTED")]
    grant_requested: bool,
    #[command(flatten)]
    uses: For,
    /// Lifetime, as in 90d or 12h.
    #[arg(
        long,
        visible_alias = "days",
        env = "HANDFAST_LIFETIME",
        default_value = "90d",
        value_name = "TIME"
    )]
    lifetime: Lifetime,
    /// Folder for NAME.crt. Default: certs/ in the authority's folder.
    #[arg(long, env = "HANDFAST_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace a file of the same name.
    #[arg(long, env = "HANDFAST_FORCE")]
    force: bool,
    /// Sign without asking.
    #[arg(short, long, env = "HANDFAST_YES")]
    yes: bool,
    /// Show what the request asks for and what would be granted, and sign nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

/// Runs `handfast cert sign`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let usage = |e: certs::Error| Failure::from(e).exit(EXIT_USAGE);
    let csr = Csr::parse(&read(&args.csr)?).map_err(usage)?;
    show(&csr);
    let stem = args.csr.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "-");
    let name =
        args.name.as_deref().or(stem).ok_or_else(|| Failure::usage("give the certificate a --name"))?;
    let trust_domain = trust_domain(globals)?;
    let mut names = args.names.parse(&trust_domain)?;
    if args.grant_requested {
        for name in &csr.names {
            if !names.contains(name) {
                // An identity of the mesh is what policies go by: a request must not get it by asking, unseen.
                if is_spiffe(name) && args.yes && !args.dry_run {
                    return Err(Failure::usage(format!(
                        "{name} is an identity, and is not granted by --grant-requested together with --yes"
                    ))
                    .fix("grant it by name: --spiffe ID; or answer the question at a terminal"));
                }
                names.push(name.clone());
            }
        }
    }
    if names.is_empty() {
        return Err(Failure::usage("no name is granted: what a request asks for is not granted by being asked for")
            .fix("grant names with --dns, --ip, --uri, --spiffe or --email, or all that it asks for with --grant-requested"));
    }
    let mut request = Request::new(name).lifetime(args.lifetime.0);
    // The request's own words, its file name too, are no identity: only the operator's are.
    request.common_name = args.name.clone().filter(|_| request.common_name.is_some());
    request.usage = args.uses.usage(&names);
    request.names = names;
    request.check().map_err(usage)?;
    let granted: Vec<String> = request.names.iter().map(ToString::to_string).collect();
    eprintln!("granted: {} ({})", granted.join(", "), request.effective_usage());
    let folder = args.out.unwrap_or_else(|| certs::Layout::new(&globals.dir).issued());
    let files = Files::certificate_only(folder, name);
    files.check_free(args.force)?;
    if args.dry_run {
        return written::would_issue(globals, &request, &files);
    }
    operator::confirm("Sign it?", args.yes)?;
    let mut authority = Authority::open(&globals.dir)?;
    files.check_writable()?;
    let issued =
        authority.certify(&request, csr.public_key(), &operator::who(), OffsetDateTime::now_utc())?;
    files.write(&issued)?;
    written::issued(globals, &issued, &files)
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        return match std::io::stdin().take(1 << 20).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(Failure::reading(path, &error).exit(EXIT_USAGE)),
        };
    }
    std::fs::read(path).map_err(|e| Failure::reading(path, &e).exit(EXIT_USAGE))
}

fn show(csr: &Csr) {
    eprintln!("the request asks for:");
    eprintln!("  subject  {} (not taken over)", csr.subject);
    eprintln!("  key      {}, and its signature proves that the asker has it", csr.key);
    for name in &csr.names {
        eprintln!("  name     {name}");
    }
    for other in &csr.other {
        eprintln!("  other    {other} (never granted by asking)");
    }
}
