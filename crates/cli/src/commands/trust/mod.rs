//! `handfast trust`: the root into the trust stores of this machine and out again, proved by connecting.
//!
//! [`stores`] knows where the stores are and their commands; [`connect`] tries them with real programs.

mod connect;
mod roots;
mod stores;

use std::path::PathBuf;

use certs::Layout;
use serde::Serialize;

use self::connect::{Answer, Server, kind, try_store};
use self::roots::{Roots, guard_key};
use self::stores::{Kind, Root, Store};
use super::Globals;
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Failure, Outcome};
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
    let foreign = options.ca.is_some();
    let source = options.ca.clone().unwrap_or_else(|| Layout::new(&globals.dir).bundle());
    let roots = Roots::read(&source, (!foreign).then_some(globals.dir.as_path()))?;
    if wanted == Wanted::Trusted {
        guard_key(&source, &globals.dir, foreign)?;
    }
    let server = match foreign || options.dry_run {
        true => None,
        false => Server::of_authority(&globals.dir)?,
    };
    let (mut rows, mut found, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for kind in &options.store {
        match stores::find(*kind) {
            Ok(stores) => found.extend(stores),
            Err(why) => rows.push(Row::absent(*kind, &why)),
        }
    }
    for store in &found {
        added.push(change(store, &roots, wanted, options.dry_run)?);
    }
    if options.dry_run {
        return Ok(EXIT_OK);
    }
    // Tried when all are changed: Debian's Java reads what the system store writes.
    let tried: Vec<_> = found
        .iter()
        .map(|store| match &server {
            Some(server) => try_store(server, store),
            None => (String::new(), Answer::NotPresent),
        })
        .collect();
    let mut undone = vec![false; found.len()];
    for (index, (store, (_, answer))) in found.iter().zip(&tried).enumerate() {
        if wanted == Wanted::Trusted && matches!(answer, Answer::Refuses(_)) && !added[index].is_empty() {
            eprintln!("{store}: the proof failed, so the root is taken out again");
            for root in &added[index] {
                perform_all(&store.uninstall(root), root)?;
            }
            undone[index] = true;
        }
    }
    for ((store, (client, answer)), undone) in found.iter().zip(tried).zip(undone) {
        let mut row = Row::of(store, &roots, wanted, server.as_ref(), client, answer);
        if undone {
            row.result.push_str("; taken out again");
        }
        rows.push(row);
    }
    let document = serde_json::json!({ "version": 1, "stores": rows });
    output::print(globals.output, &document, || table(&rows))?;
    Ok(if rows.iter().all(|row| row.good) { EXIT_OK } else { EXIT_FINDINGS })
}

/// Makes a store hold what it should; the roots that were put in come back.
fn change<'a>(
    store: &Store,
    roots: &'a Roots,
    wanted: Wanted,
    dry_run: bool,
) -> Result<Vec<&'a Root>, Failure> {
    let (mut added, mut said) = (Vec::new(), false);
    let trusted = roots.trusted.iter().map(|root| (root, wanted == Wanted::Trusted));
    let all = trusted.chain(roots.retired.iter().map(|root| (root, false)));
    for (root, put_in) in all.filter(|_| wanted != Wanted::Consistent) {
        if store.holds(root) == put_in {
            continue;
        }
        if !std::mem::replace(&mut said, true) {
            eprintln!("{store}:");
        }
        let actions = if put_in { store.install(root) } else { store.uninstall(root) };
        actions.iter().try_for_each(|action| stores::perform(action, root, dry_run))?;
        if put_in {
            added.push(root);
        }
    }
    Ok(added)
}

fn perform_all(actions: &[stores::Action], root: &Root) -> Result<(), Failure> {
    actions.iter().try_for_each(|action| stores::perform(action, root, false))
}

impl Row {
    fn absent(kind: Kind, why: &str) -> Self {
        Self {
            store: format!("{kind:?}").to_lowercase(),
            installed: None,
            client: String::new(),
            result: format!("not present: {why}"),
            good: true,
        }
    }

    fn of(
        store: &Store,
        roots: &Roots,
        wanted: Wanted,
        server: Option<&Server>,
        client: String,
        answer: Answer,
    ) -> Self {
        let lacking: Vec<&Root> = roots.trusted.iter().filter(|root| !store.holds(root)).collect();
        let stale: Vec<&Root> = roots.retired.iter().filter(|root| store.holds(root)).collect();
        let installed = lacking.is_empty();
        // The root of the certificate that was shown; during a rotation the store may hold the other one only.
        let shown = roots.trusted.iter().find(|root| server.is_none_or(|server| server.root_pem == root.pem));
        let expected = match wanted {
            Wanted::Trusted => true,
            Wanted::Refused => false,
            Wanted::Consistent => shown.is_some_and(|root| store.holds(root)),
        };
        // Debian's Java reads the system store's copy too, so that it may trust without an entry of ours.
        let java = wanted == Wanted::Consistent && kind(store) == Kind::Java;
        let (mut result, agrees) = match &answer {
            Answer::Accepts => ("connects".to_owned(), expected || java),
            Answer::Refuses(why) => (format!("refuses: {why}"), !expected),
            Answer::Broken(why) => (format!("failed before it could say: {why}"), false),
            Answer::NotPresent if server.is_none() => {
                ("not tried: no certificate to connect with can be made".to_owned(), true)
            }
            Answer::Untried(why) => (format!("not tried: {why}"), true),
            Answer::NotPresent => (format!("not tried: {client} is not present"), true),
        };
        let holds_as_wanted = match wanted {
            Wanted::Trusted => installed,
            Wanted::Refused => lacking.len() == roots.trusted.len(),
            // All or none: a store with a part would refuse after the next step of a rotation.
            Wanted::Consistent => installed || lacking.len() == roots.trusted.len(),
        };
        if !holds_as_wanted && wanted != Wanted::Refused {
            result.push_str(&format!("; lacks {}", subjects(&lacking)));
        }
        if !stale.is_empty() {
            result.push_str(&format!("; still trusts the retired {}", subjects(&stale)));
        }
        let good = agrees && holds_as_wanted && stale.is_empty();
        Self { store: store.to_string(), installed: Some(installed), client, result, good }
    }
}

fn subjects(roots: &[&Root]) -> String {
    roots.iter().map(|root| root.subject.as_str()).collect::<Vec<_>>().join(" and ")
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
