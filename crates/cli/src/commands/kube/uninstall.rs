//! `handfast kube uninstall`: takes out what `install` put in, in the opposite order. The authority's Secret, and with
//! it the namespace that it is in, stay unless they are asked for: without them no certificate can be renewed again.

use controller::names::AUTHORITY_SECRET;
use serde_json::Value;

use super::apply::{Tally, Target};
use super::connect::{Cluster, block_on};
use super::install::What;
use crate::commands::Globals;
use crate::failure::{EXIT_OK, Outcome};

/// Arguments of `handfast kube uninstall`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    what: What,
    /// Delete the objects, rather than list them.
    #[arg(long, env = "HANDFAST_APPLY", conflicts_with = "dry_run")]
    apply: bool,
    /// List what would be deleted, and delete nothing: as without --apply.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
    /// Delete the kind Certificate too, and with it every Certificate and its Secret.
    #[arg(long, env = "HANDFAST_DELETE_CERTIFICATES")]
    delete_certificates: bool,
    /// Delete the authority with its keys too, and its namespace. This cannot be undone.
    #[arg(long, env = "HANDFAST_DELETE_AUTHORITY")]
    delete_authority: bool,
}

/// Runs `handfast kube uninstall`.
pub fn run(args: Args, _globals: &Globals) -> Outcome {
    let mut objects = args.what.objects()?;
    objects.reverse();
    objects.retain(|object| is_deleted(object, &args));
    block_on(async {
        let client = args.cluster.client().await?;
        let mut tally = Tally::default();
        for object in &objects {
            let target = Target::new(&client, object);
            if !args.apply {
                println!("{}", target.title);
                tally.add("would be deleted");
            } else if target.delete().await? {
                eprintln!("deleted {}", target.title);
                tally.add("deleted");
            } else {
                tally.add("not there");
            }
        }
        eprintln!("{tally}");
        if !args.delete_authority {
            eprintln!("the authority stays in {}/{AUTHORITY_SECRET}", args.what.namespace());
        }
        Ok(EXIT_OK)
    })
}

fn is_deleted(object: &Value, args: &Args) -> bool {
    match object["kind"].as_str() {
        Some("Secret" | "Namespace") => args.delete_authority,
        Some("CustomResourceDefinition") => args.delete_certificates,
        _ => true,
    }
}
