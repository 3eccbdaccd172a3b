//! `handfast mesh tap`: connections of pods as they end, and refusals as they come, from any number of pods in one stream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use controller::names::NODE;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use model::codes::mesh as codes;
use model::units::Span;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::look::{self, Carrier, Look, Uncarried, reach};
use crate::commands::Globals;
use crate::commands::kube::connect::{Cluster, block_on};
use crate::failure::{EXIT_OK, Failure, Outcome};
use crate::output::Format;

/// Lines that wait to be printed.
const WAITING: usize = 1024;

/// Arguments of `handfast mesh tap`.
#[derive(clap::Args)]
#[command(
    after_help = "A connection is a line when it ends; a refusal at once. With -o json each line is a document. \
    Exit codes: 0 · 1 no proxy can be asked · 2 wrong usage."
)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Pods, by name; all with a proxy by default.
    #[arg(value_name = "POD")]
    pods: Vec<String>,
    /// Namespace of the pods; without it, all.
    #[arg(short = 'n', long, env = "HANDFAST_KUBE_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// End after so long; by default at Ctrl-C.
    #[arg(long = "for", env = "HANDFAST_FOR", value_name = "SPAN")]
    span: Option<Span>,
    /// End after so many lines.
    #[arg(long, env = "HANDFAST_COUNT", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Runs `handfast mesh tap`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    block_on(async {
        let client = args.cluster.client().await?;
        let look = Look::at(&client).await?;
        let mut pods = look.carried(args.namespace.as_deref());
        if !args.pods.is_empty() {
            for wanted in &args.pods {
                if !pods.iter().any(|pod| look::name(pod) == wanted) {
                    let place = args.namespace.as_deref().unwrap_or("any namespace");
                    return Err(Failure::usage(format!("no pod {wanted} with a proxy runs in {place}")));
                }
            }
            pods.retain(|pod| args.pods.iter().any(|wanted| wanted == look::name(pod)));
        }
        if pods.is_empty() {
            return Err(Failure::new(&codes::NOTHING_TO_SEE, "there is no pod with a proxy here"));
        }
        let (sender, mut lines) = mpsc::channel::<Value>(WAITING);
        let mut opened = 0;
        let sources = sources(&look, &pods);
        for source in &sources {
            let Source { namespace, name, carried } = source.clone();
            let stream = match reach::lines(&client, &namespace, &name, "/tap").await {
                Ok(stream) => stream,
                Err(why) => {
                    eprintln!("{namespace}/{name}: {why}");
                    continue;
                }
            };
            opened += 1;
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut stream = std::pin::pin!(stream);
                while let Some(line) = stream.next().await {
                    let mut line = line.unwrap_or_else(|why| json!({ "error": why }));
                    let workload = line["workload"].as_str();
                    let pod = workload.and_then(|uid| Some(uid.split_once("//Pod/")?.1.to_owned()));
                    // The proxy of a node tells of all of its pods.
                    if pod.as_ref().zip(carried.as_ref()).is_some_and(|(pod, carried)| !carried.contains(pod))
                    {
                        continue;
                    }
                    line["pod"] = json!(pod.unwrap_or_else(|| format!("{namespace}/{name}")));
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
                eprintln!("{namespace}/{name}: its stream has ended");
            });
        }
        drop(sender);
        if opened == 0 {
            return Err(Failure::new(&codes::NOTHING_TO_SEE, "none of the proxies can be asked"));
        }
        eprintln!("listening to {opened} of {} proxies", sources.len());
        let limit = args.span.as_ref().map_or(Duration::MAX, |span| span.0);
        let printing = async {
            let mut printed = 0;
            while let Some(line) = lines.recv().await {
                match globals.output {
                    Format::Table => println!("{}", text(&line)),
                    Format::Json | Format::Yaml => println!("{line}"),
                }
                printed += 1;
                if args.count.is_some_and(|count| printed >= count) {
                    return;
                }
            }
        };
        tokio::select! {
            () = printing => {}
            () = wait(limit) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(EXIT_OK)
    })
}

/// A proxy that is listened to.
#[derive(Clone)]
struct Source {
    namespace: String,
    name: String,
    /// Of a node's proxy: the pods that are asked for, `NAMESPACE/NAME`.
    carried: Option<BTreeSet<String>>,
}

/// The proxies that carry these pods, each once.
fn sources(look: &Look, pods: &[&Pod]) -> Vec<Source> {
    let mut nodes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut sources = Vec::new();
    for pod in pods {
        match look.carrier(pod) {
            Some(Carrier::Sidecar) => sources.push(Source {
                namespace: look::namespace(pod).to_owned(),
                name: look::name(pod).to_owned(),
                carried: None,
            }),
            Some(Carrier::Node(Some(proxy))) => {
                let place = format!("{}/{}", look::namespace(pod), look::name(pod));
                nodes.entry(look::name(proxy)).or_default().insert(place);
            }
            Some(Carrier::Node(None)) => {
                eprintln!("{}/{}: {}", look::namespace(pod), look::name(pod), Uncarried::NodeAway.why());
            }
            None => {}
        }
    }
    sources.extend(nodes.into_iter().map(|(name, carried)| Source {
        namespace: NODE.to_owned(),
        name: name.to_owned(),
        carried: Some(carried),
    }));
    sources
}

async fn wait(limit: Duration) {
    match limit {
        Duration::MAX => std::future::pending().await,
        limit => tokio::time::sleep(limit).await,
    }
}

/// A connection in one line.
fn text(line: &Value) -> String {
    let of = |name: &str| line[name].as_str().unwrap_or_default();
    let pod = of("pod");
    if let Some(missed) = line["missed"].as_u64() {
        return format!("{pod}: {missed} connections were missed, more came than could be told");
    }
    if let Some(error) = line["error"].as_str() {
        return format!("{pod}: {error}");
    }
    let end = |identity: &str, address: &str| match (of(identity), of(address)) {
        ("", address) => address.to_owned(),
        (identity, address) => format!("{} ({address})", short(identity)),
    };
    let (from, to) = (end("source", "source_address"), end("destination", "destination_address"));
    let what = match (of("secured"), of("code")) {
        ("none", code) => format!("REFUSED {code} {}", of("detail")),
        (secured, code) => {
            let why = line["not_secured_because"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
            let code = if code.is_empty() { String::new() } else { format!(" {code} {}", of("detail")) };
            let spoken = line["protocol"].as_str().map(|name| format!(" {name}")).unwrap_or_default();
            format!(
                "{secured}{why}{spoken} {} B > {} B < {:.3} s{code}",
                line["sent"],
                line["received"],
                line["seconds"].as_f64().unwrap_or_default()
            )
        }
    };
    let service = match of("service") {
        "" => String::new(),
        service => format!(" [{}]", service.split_once('/').map_or(service, |(_, host)| host)),
    };
    format!("{} {:8} {pod}: {from} -> {to}{service}: {what}", of("time"), of("direction"))
}

/// An identity as people know it: `shop/web`.
fn short(identity: &str) -> String {
    let parts = identity.split_once("/ns/").and_then(|(_, rest)| rest.split_once("/sa/"));
    parts.map_or_else(|| identity.to_owned(), |(namespace, account)| format!("{namespace}/{account}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_and_a_refusal_are_a_line_each_with_who_where_and_why() {
        let mut line = json!({
            "time": "2026-01-01T00:00:00Z", "direction": "inbound", "pod": "shop/web-1",
            "source": "spiffe://cluster.local/ns/shop/sa/client", "source_address": "10.0.0.1:4000",
            "destination": "spiffe://cluster.local/ns/shop/sa/web", "destination_address": "10.0.0.2:8080",
            "service": "shop/web.shop.svc.cluster.local", "secured": "hbone", "protocol": "http/1.1", "sent": 12, "received": 34, "seconds": 0.5,
            "code": null, "detail": "no policy",
        });
        let said = text(&line);
        for part in [
            "shop/client (10.0.0.1:4000) -> shop/web (10.0.0.2:8080)",
            "[web.shop.svc.cluster.local]",
            "hbone http/1.1 12 B > 34 B <",
        ] {
            assert!(said.contains(part), "{said}");
        }
        line["secured"] = json!("none");
        line["code"] = json!("HF8003");
        line["detail"] = json!("denied by policy shop/deny");
        line["source"] = json!("");
        let said = text(&line);
        assert!(
            said.contains(": 10.0.0.1:4000 -> ")
                && said.contains("REFUSED HF8003 denied by policy shop/deny"),
            "{said}"
        );
        assert!(text(&json!({ "pod": "a/b", "missed": 3 })).contains("3 connections were missed"));
    }
}
