//! `handfast kube netpol`: default-deny and allow rules for the declared edges; `test` proves that they hold.

mod agent;
mod apply;
mod input;
mod manifest;
mod proof;

use controller::netpol::{self as policies, Options};

use super::{connect, listing};
use crate::commands::Globals;
use crate::failure::{EXIT_OK, Failure, Outcome};
use crate::output::{self, Format};

/// Arguments of `handfast kube netpol`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: input::Source,
    #[command(flatten)]
    write: Write,
}

#[derive(clap::Args)]
struct Write {
    /// Networks of the nodes, for a network plugin that blocks the kubelet's probes; only the probes' ports open.
    #[arg(long, env = "HANDFAST_NODE_NETWORK", value_delimiter = ',', value_name = "CIDR")]
    node_network: Vec<String>,
    /// Apply the policies to the cluster (server-side apply, field manager handfast-netpol).
    #[arg(long, env = "HANDFAST_APPLY")]
    apply: bool,
    /// With --apply: ask the API server, show the difference and change nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
    /// Take over fields that another field manager owns.
    #[arg(long, env = "HANDFAST_FORCE_CONFLICTS")]
    force_conflicts: bool,
    /// Delete policies of ours, in the namespaces concerned, that belong to none of these workloads.
    #[arg(long, env = "HANDFAST_PRUNE")]
    prune: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Prove with allow and deny probes from real pods whether this cluster enforces the policies.
    Test(Box<proof::Args>),
    /// What runs in the probe pods.
    #[command(hide = true)]
    Agent(agent::Args),
}

/// Runs `handfast kube netpol`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Some(Command::Test(args)) => proof::run(*args, globals),
        Some(Command::Agent(args)) => agent::run(args),
        None => write(&args.source, &args.write, globals),
    }
}

fn write(source: &input::Source, args: &Write, globals: &Globals) -> Outcome {
    let mut nodes = Vec::new();
    for text in &args.node_network {
        match policies::edge::network(text) {
            Ok(Some(network)) => nodes.push(network),
            Ok(None) => {
                return Err(Failure::usage(format!(
                    "--node-network {text:?} is no network; as in 192.0.2.0/24"
                )));
            }
            Err(why) => return Err(Failure::usage(format!("--node-network: {why}"))),
        }
    }
    if (args.dry_run || args.prune || args.force_conflicts) && !args.apply {
        return Err(Failure::usage("--dry-run, --prune and --force-conflicts belong to --apply"));
    }
    listing::block(async {
        let mut cluster = input::Cluster::of(source);
        let graph = input::graph(source, &mut cluster).await?;
        for warning in &graph.warnings {
            eprintln!("warning: {warning}");
        }
        let written = policies::generate(&graph, &Options { nodes });
        if args.apply {
            let client = cluster.client().await?;
            let settings = apply::Settings {
                dry_run: args.dry_run,
                force: args.force_conflicts,
                prune: args.prune,
                format: globals.output,
            };
            return apply::run(&client, &graph, &written, &settings).await;
        }
        let text = match globals.output {
            Format::Table | Format::Yaml => manifest::yaml(&written)?,
            Format::Json => manifest::json(&written)?,
        };
        output::print(Format::Table, &(), || text)?;
        Ok(EXIT_OK)
    })
}
