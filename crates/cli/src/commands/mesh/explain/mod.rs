//! `handfast mesh explain FROM TO`: goes the way of a call, layer by layer, and says which is the first that stops it.

mod ends;
mod layers;
mod secured;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use serde::Serialize;
use time::OffsetDateTime;

use super::look::{self, Carrier, Look, Told};
use crate::commands::Globals;
use crate::commands::kube::connect::{Cluster, block_on};
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Failure, Outcome};
use crate::output;
use layers::Walk;

/// Arguments of `handfast mesh explain`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing that was looked at stops the call · 1 the cluster cannot be asked · 2 wrong usage · \
    3 a layer stops the call."
)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Who calls: NAMESPACE/NAME of a pod, a Deployment or a service account; or NAMESPACE/KIND/NAME, with KIND pod,
    /// deployment or sa.
    #[arg(value_name = "FROM")]
    from: String,
    /// Who is called: a Service as the caller writes it (web, web.shop), NAMESPACE/NAME of a Service or a pod, or an
    /// address; with :PORT.
    #[arg(value_name = "TO[:PORT]")]
    to: String,
    /// Really call, too: from the caller's pod, the way that its application's calls go. The connection is opened and
    /// closed; no byte is sent.
    #[arg(long, env = "HANDFAST_LIVE")]
    live: bool,
}

/// The document.
#[derive(Debug, Serialize)]
struct Document {
    version: u32,
    from: String,
    to: String,
    /// The first layer that stops the call; none where nothing that was looked at does.
    stopped_by: Option<&'static str>,
    /// The way to the endpoint that is stopped, or to the first.
    layers: Vec<layers::Layer>,
    /// What would become of calls to the other endpoints.
    others: Vec<Other>,
}

#[derive(Debug, Serialize)]
struct Other {
    endpoint: String,
    stopped_by: Option<&'static str>,
}

/// Runs `handfast mesh explain`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    block_on(async {
        let client = args.cluster.client().await?;
        let look = Look::at(&client).await?;
        let source = ends::source(&look, &args.from).map_err(Failure::usage)?;
        let to = ends::To::read(&args.to).map_err(Failure::usage)?;
        // Whoever can be the source or the destination; all others are nobody's business.
        let mut asked: Vec<_> = look.pod(&source).into_iter().collect();
        for workload in layers::reached(&look, &source, &to) {
            let pod = look.pod(&workload);
            asked.extend(pod.filter(|pod| {
                !asked.iter().any(|known| {
                    look::name(known) == look::name(pod) && look::namespace(known) == look::namespace(pod)
                })
            }));
        }
        let told = look::ask_of(&client, &look, &asked).await;
        let mut document = document(&look, &told, &source, &to, &args);
        if args.live {
            let layer = live(&client, &look, &source, &to).await;
            if layer.stops() && document.stopped_by.is_none() {
                document.stopped_by = Some(layer.layer);
            }
            document.layers.push(layer);
        }
        output::print(globals.output, &document, || table(&document))?;
        Ok(if document.stopped_by.is_some() { EXIT_FINDINGS } else { EXIT_OK })
    })
}

fn document(
    look: &Look,
    told: &[Told],
    source: &model::mesh::Workload,
    to: &ends::To,
    args: &Args,
) -> Document {
    let mut walks = layers::walk(look, told, source, to, OffsetDateTime::now_utc());
    let first = walks.iter().position(|walk| walk.stopped_by().is_some()).unwrap_or_default();
    let shown = if walks.is_empty() { Walk::default() } else { walks.remove(first) };
    Document {
        version: 1,
        from: format!("{}/{} (service account {})", source.namespace, source.name, source.service_account),
        to: args.to.clone(),
        stopped_by: shown.stopped_by(),
        layers: shown.layers,
        others: walks
            .iter()
            .map(|walk| Other { endpoint: walk.endpoint.clone(), stopped_by: walk.stopped_by() })
            .collect(),
    }
}

/// A real call, which the caller's proxy makes as its application would.
async fn live(
    client: &kube::Client,
    look: &Look,
    source: &model::mesh::Workload,
    to: &ends::To,
) -> layers::Layer {
    let skipped = |why: &str| layers::Layer::unknown("live", why.to_owned());
    let nobody = "the caller has no proxy that could make the call; try it from its container";
    let Ok((address, _)) = ends::destination(look, source, to) else {
        return skipped("there is no address to call");
    };
    let path = format!("/try/{address}");
    let (namespace, name, path) = match look.pod(source).and_then(|pod| look.carrier(pod)) {
        Some(Carrier::Sidecar) => (source.namespace.as_str(), source.name.as_str(), path),
        Some(Carrier::Node(Some(proxy))) => {
            (look::namespace(proxy), look::name(proxy), format!("{path}?workload={}", source.uid))
        }
        Some(Carrier::Node(None)) | None => return skipped(nobody),
    };
    let patience = std::time::Duration::from_secs(30);
    match look::reach::get_within(client, namespace, name, &path, patience).await {
        Ok(answer) => layers::of_call(&answer),
        Err(why) => skipped(&why),
    }
}

fn table(document: &Document) -> String {
    let mut text = format!("{} -> {}\n\n", document.from, document.to);
    // Writing to a String cannot fail.
    for layer in &document.layers {
        let mark = match layer.verdict {
            "ok" => "ok  ",
            "warn" => "warn",
            "stopped" => "STOP",
            _ => "?   ",
        };
        let _ = writeln!(text, "  {mark}  {:14} {}", layer.layer, layer.what);
        for line in &layer.evidence {
            let _ = writeln!(text, "                       {line}");
        }
        if layer.verdict == "stopped" {
            if let Some(fix) = &layer.fix {
                let _ = writeln!(text, "                       fix: {fix}");
            }
            if let Some(code) = layer.code {
                let _ = writeln!(text, "                       more: handfast explain {code}");
            }
        }
    }
    for other in &document.others {
        let what = other.stopped_by.map_or_else(|| "not stopped".to_owned(), |by| format!("stopped by {by}"));
        let _ = writeln!(text, "\nanother endpoint, {}: {what}", other.endpoint);
    }
    match document.stopped_by {
        Some(layer) => _ = writeln!(text, "\nthe first layer that stops this call: {layer}"),
        None => text.push_str("\nnothing that was looked at stops this call\n"),
    }
    text
}
