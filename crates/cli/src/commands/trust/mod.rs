//! `handfast trust`: the root into the trust stores of this machine and out again, proved by connecting.
//!
//! [`stores`] knows where the stores are and their commands; [`connect`] tries them with real programs.

mod connect;
mod stores;

use std::path::{Path, PathBuf};

use certs::{AltName, Authority, Layout, Request, inspect};
use model::codes;
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use self::connect::{Answer, Server, kind, try_store};
use self::stores::{Kind, Root, Store};
use super::Globals;
use super::cert::input;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::output;

/// Arguments of `handfast trust`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Put the root into the stores, then prove each by connecting.
    Install(Options),
    /// Take the root out of the stores, then prove that they refuse.
    Uninstall(Options),
    /// Try each store by connecting, and change nothing.
    Check(Options),
}

#[derive(clap::Args)]
struct Options {
    /// Which stores.
    #[arg(
        long,
        env = "HANDFAST_STORE",
        value_enum,
        value_delimiter = ',',
        default_value = "system,nss,java"
    )]
    store: Vec<Kind>,
    /// The root to trust; that of --dir by default. Another one's stores cannot be proved by connecting.
    #[arg(long, env = "HANDFAST_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Show each command and run none.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

#[derive(Serialize)]
struct Row {
    store: String,
    /// Whether the root is in it; `None` when the store is not present.
    installed: Option<bool>,
    /// The program that connected.
    client: String,
    result: String,
    good: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Trusted,
    Refused,
    /// As the store itself says.
    Consistent,
}

/// Runs `handfast trust`; exit code 3 when a store does not behave as it should.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let (options, wanted) = match args.command {
        Command::Install(options) => (options, Wanted::Trusted),
        Command::Uninstall(options) => (options, Wanted::Refused),
        Command::Check(options) => (options, Wanted::Consistent),
    };
    let source = options.ca.clone().unwrap_or_else(|| Layout::new(&globals.dir).bundle());
    let roots = roots(&source)?;
    if wanted == Wanted::Trusted {
        guard_key(&source, &globals.dir, options.ca.is_some())?;
    }
    let server = if options.ca.is_some() || options.dry_run { None } else { Some(server(&globals.dir)?) };
    let mut rows = Vec::new();
    for kind in &options.store {
        for root in &roots {
            match stores::find(*kind, root) {
                Err(why) => rows.push(Row {
                    store: format!("{kind:?}").to_lowercase(),
                    installed: None,
                    client: String::new(),
                    result: format!("not present: {why}"),
                    good: true,
                }),
                Ok(found) => {
                    for store in found {
                        change(&store, root, wanted, options.dry_run)?;
                        rows.push(Row::of(&store, root, wanted, None));
                    }
                }
            }
        }
    }
    if options.dry_run {
        return Ok(EXIT_OK);
    }
    // Tried when all are changed: Debian's Java reads what the system store writes.
    if let (Some(server), [root, ..]) = (&server, roots.as_slice()) {
        rows.retain(|row| row.installed.is_none());
        for found in options.store.iter().filter_map(|kind| stores::find(*kind, root).ok()) {
            rows.extend(found.iter().map(|store| Row::of(store, root, wanted, Some(server))));
        }
    }
    let document = serde_json::json!({ "version": 1, "stores": rows });
    output::print(globals.output, &document, || table(&rows))?;
    Ok(if rows.iter().all(|row| row.good) { EXIT_OK } else { EXIT_FINDINGS })
}

fn change(store: &Store, root: &Root, wanted: Wanted, dry_run: bool) -> Result<(), Failure> {
    let holds = store.holds(root);
    let actions = match wanted {
        Wanted::Trusted if !holds => store.install(root),
        Wanted::Refused if holds => store.uninstall(root),
        _ => return Ok(()),
    };
    eprintln!("{store}:");
    actions.iter().try_for_each(|action| stores::perform(action, root, dry_run))
}

impl Row {
    fn of(store: &Store, root: &Root, wanted: Wanted, server: Option<&Server>) -> Self {
        let installed = store.holds(root);
        let (client, answer) = match server {
            Some(server) => try_store(server, store),
            None => (String::new(), Answer::NotPresent),
        };
        // Debian's Java reads the system store's copy too, so that it may trust without an entry of ours.
        let expected = match wanted {
            Wanted::Trusted => true,
            Wanted::Refused => false,
            Wanted::Consistent => installed,
        };
        let (result, agrees) = match &answer {
            Answer::Accepts => (
                "connects".to_owned(),
                expected || (wanted == Wanted::Consistent && kind(store) == Kind::Java),
            ),
            Answer::Refuses(why) => (format!("refuses: {why}"), !expected),
            Answer::NotPresent if server.is_none() => {
                ("not tried: no key to make a certificate with".to_owned(), true)
            }
            Answer::Untried(why) => (format!("not tried: {why}"), true),
            Answer::NotPresent => (format!("not tried: {client} is not present"), true),
        };
        let good = agrees && (wanted == Wanted::Consistent || installed == expected);
        Self { store: store.to_string(), installed: Some(installed), client, result, good }
    }
}

fn table(rows: &[Row]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let installed = match row.installed {
                Some(true) => "yes",
                Some(false) => "no",
                None => "-",
            };
            let mark = if row.good { "ok" } else { "WRONG" };
            vec![
                mark.to_owned(),
                row.store.clone(),
                installed.to_owned(),
                row.client.clone(),
                row.result.clone(),
            ]
        })
        .collect();
    output::columns(&["", "STORE", "INSTALLED", "CLIENT", "RESULT"], &cells)
}

/// The roots of a bundle, each in a file of its own for the programs that read one certificate.
fn roots(source: &Path) -> Result<Vec<Root>, Failure> {
    let mut roots = Vec::new();
    for der in input::certificates(source, None)?.certificates {
        let seen = inspect::certificate(&der)?;
        if !seen.is_ca || !seen.self_issued {
            return Err(Failure::new(
                &codes::trust::NOT_A_ROOT,
                format!("{} is no root certificate: trust stores are for roots", seen.subject),
            )
            .with("file", source.display())
            .exit(EXIT_USAGE));
        }
        let alias = format!("handfast-{}", &seen.fingerprint_sha256[..16]);
        let pem = certs::formats::pem::write(std::slice::from_ref(&der));
        let folder = std::env::temp_dir().join(format!("{alias}-{}", std::process::id()));
        certs::create_private_folder(&folder)?;
        let file = folder.join("root.crt");
        certs::write_public(&file, pem.as_bytes())?;
        roots.push(Root { file, pem, alias });
    }
    Ok(roots)
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Some(folder) = self.file.parent() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Who can read the root's key can impersonate every site to a machine that trusts the root.
fn guard_key(source: &Path, dir: &Path, foreign: bool) -> Result<(), Failure> {
    let mut keys = vec![source.with_extension("key")];
    if !foreign {
        let folder = std::fs::read_dir(dir.join("root")).into_iter().flatten().flatten();
        keys.extend(
            folder.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "key")),
        );
    }
    for key in keys.iter().filter(|key| key.exists()) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode =
                std::fs::metadata(key).map_err(|error| Failure::reading(key, &error))?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(Failure::new(
                    &codes::trust::ROOT_KEY_EXPOSED,
                    "the root's private key can be read by others, so the root is not put into a trust store",
                )
                .with("key", key.display())
                .with("mode", format!("{:04o}", mode & 0o7777))
                .fix(format!("chmod 600 {}; make a new root if others had access", key.display())));
            }
        }
        eprintln!("note: the root's key lies in {}; take it offline once it is not needed", key.display());
    }
    Ok(())
}

/// A server with a certificate that lives for ten minutes.
fn server(dir: &Path) -> Result<Server, Failure> {
    let mut authority = Authority::open(dir)?;
    let mut request = Request::new("trust-check");
    request.names = vec![AltName::dns("localhost")?, AltName::ip("127.0.0.1")?];
    request.lifetime = Duration::minutes(10);
    let issued = authority.issue(&request, "handfast trust", OffsetDateTime::now_utc())?;
    Server::start(&issued)
}
