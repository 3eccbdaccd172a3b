//! `handfast mesh strict`: mutual TLS or nothing, for a namespace. `--preview` says first who would be refused then, from
//! what its proxies have seen: nobody who calls seldom is known before he has called.

mod join;

use std::fmt::Write as _;

use controller::names::OUTBOUND_MODE_ANNOTATION;
use model::codes::mesh as codes;
use serde_json::{Value, json};

use super::look::{self, Look};
use super::status::{columns, moment};
use crate::commands::Globals;
use crate::commands::kube::apply::{Target, yaml};
use crate::commands::kube::connect::{Cluster, block_on};
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Failure, Outcome};
use crate::output;
use join::{Pair, Preview};

/// Arguments of `handfast mesh strict`.
#[derive(clap::Args)]
#[command(
    after_help = "Without options, the PeerAuthentication is printed. Exit codes: 0 · 1 the cluster cannot be asked · \
    2 wrong usage · 3 somebody would be refused, or some proxies could not be asked."
)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// The namespace; for a preview, all of the mesh without it.
    #[arg(short = 'n', long, env = "HANDFAST_KUBE_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// List who would be refused, from what the proxies have seen; change nothing.
    #[arg(long, env = "HANDFAST_PREVIEW", conflicts_with_all = ["apply", "dry_run"])]
    preview: bool,
    /// Apply the PeerAuthentication, unless somebody who was seen would be refused.
    #[arg(long, env = "HANDFAST_APPLY")]
    apply: bool,
    /// Show what applying would change, and change nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN", conflicts_with = "apply")]
    dry_run: bool,
    /// Apply it also where somebody would be refused.
    #[arg(long, env = "HANDFAST_FORCE", requires = "apply")]
    force: bool,
}

/// Runs `handfast mesh strict`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    if args.preview {
        return block_on(async {
            let client = args.cluster.client().await?;
            let preview = preview(&client, args.namespace.as_deref()).await?;
            output::print(globals.output, &preview, || table(&preview))?;
            Ok(if preview.is_clear() { EXIT_OK } else { EXIT_FINDINGS })
        });
    }
    let Some(namespace) = args.namespace.as_deref() else {
        return Err(Failure::usage("for which namespace: --namespace NAME"));
    };
    let object = manifest(namespace);
    if !args.apply && !args.dry_run {
        print!("{}", yaml(&object));
        eprintln!("{}", hint(namespace));
        return Ok(EXIT_OK);
    }
    block_on(async {
        let client = args.cluster.client().await?;
        let target = Target::new(&client, &object);
        if args.dry_run {
            print!("{}", target.diff().await?);
            return Ok(EXIT_OK);
        }
        let preview = preview(&client, Some(namespace)).await?;
        // Who calls out is not concerned: the object is for what arrives.
        let somebody = !preview.inbound.is_empty() || !preview.not_asked.is_empty();
        if somebody && !args.force {
            print!("{}", table(&preview));
            eprintln!("nothing was applied: {}; --force does it all the same", codes::WOULD_BREAK.title);
            return Ok(EXIT_FINDINGS);
        }
        target.apply().await?;
        eprintln!("applied {}", target.title);
        eprintln!("{}", hint(namespace));
        Ok(EXIT_OK)
    })
}

fn manifest(namespace: &str) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": { "name": "default", "namespace": namespace },
        "spec": { "mtls": { "mode": "STRICT" } },
    })
}

fn hint(namespace: &str) -> String {
    format!(
        "this is for what arrives; for what the pods call: kubectl annotate namespace {namespace} \
         {OUTBOUND_MODE_ANNOTATION}=strict"
    )
}

async fn preview(client: &kube::Client, only: Option<&str>) -> Result<Preview, Failure> {
    let look = Look::at(client).await?;
    let told = look::ask_of(client, &look, &look.carried(only)).await;
    let without: Vec<String> = look
        .without_proxy(only)
        .iter()
        .map(|pod| format!("{}/{}", look::namespace(pod), look::name(pod)))
        .collect();
    Ok(join::join(&look.world, &look.listed.objects.pods, &told, without))
}

fn table(preview: &Preview) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "the proxies of {} pods were asked; the oldest has watched since {}",
        preview.asked,
        preview.since.as_deref().map_or_else(|| "no time".to_owned(), moment)
    );
    let listing = |text: &mut String, title: &str, pairs: &[Pair]| {
        if pairs.is_empty() {
            let _ = writeln!(text, "\n{title}: nobody");
            return;
        }
        let _ = writeln!(text, "\n{title}:");
        let mut rows = vec![["CALLER", "CALLED", "PORT", "TIMES", "LAST", "WHY"].map(str::to_owned)];
        rows.extend(pairs.iter().map(|pair| {
            let called = if pair.service.is_empty() {
                pair.called.clone()
            } else {
                format!("{} ({})", pair.called, pair.service)
            };
            [
                pair.caller.clone(),
                called,
                pair.port.to_string(),
                pair.count.to_string(),
                moment(&pair.last),
                pair.why.clone(),
            ]
        }));
        text.push_str(&columns(&rows));
    };
    listing(&mut text, "callers that would be refused if it were strict", &preview.inbound);
    listing(&mut text, "calls that would be refused if they were strict (outbound)", &preview.outbound);
    for (title, pods) in [
        ("could not be asked, so that the list is not complete", &preview.not_asked),
        ("have no proxy, so that strict keeps nobody from them", &preview.without_proxy),
        ("have forgotten some, because there were too many", &preview.forgot),
    ] {
        if !pods.is_empty() {
            let _ = writeln!(text, "\n{title}: {}", pods.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests;
