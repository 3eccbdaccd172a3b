//! `handfast mesh status`: control planes and their proxies, how far each proxy has come, and who should be there and is not.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::ValueEnum;
use controller::names::NODE;
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde_json::Value;

use super::look::{self, Look, Told, Uncarried};
use crate::commands::Globals;
use crate::commands::kube::connect::{Cluster, block_on};
use crate::failure::{EXIT_FINDINGS, EXIT_OK, Outcome};
use crate::output;

/// Arguments of `handfast mesh status`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 · 1 the cluster cannot be asked · 2 wrong usage · 3 something is not as --fail-on asks."
)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Only pods of this namespace.
    #[arg(short = 'n', long, env = "HANDFAST_KUBE_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// What makes the exit code 3.
    #[arg(long, env = "HANDFAST_FAIL_ON", value_enum, default_value = "never", value_name = "WHAT")]
    fail_on: FailOn,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Nothing.
    Never,
    /// Pods that should be in the mesh and are not, and control planes that do not answer.
    Missing,
    /// Those, and proxies that have not taken the last change.
    Behind,
}

/// The document.
#[derive(Debug, Default, Serialize)]
struct Document {
    version: u32,
    control_planes: Vec<ControlPlane>,
    proxies: Vec<Proxy>,
    /// Pods that proxies of nodes carry.
    by_node: Vec<ByNode>,
    missing: Vec<Missing>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct ControlPlane {
    pod: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    handfast: Value,
    generation: Value,
    changed: Value,
    workloads: Value,
    services: Value,
    policies: Value,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Proxy {
    namespace: String,
    pod: String,
    identity: String,
    control_plane: String,
    since: String,
    /// Resources that it has not taken yet, and since when.
    behind: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    behind_since: Option<String>,
    /// What it said no to last.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct ByNode {
    namespace: String,
    pod: String,
    identity: String,
    /// The pod of that proxy, in its own namespace.
    proxy: String,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Missing {
    namespace: String,
    pod: String,
    why: String,
    fix: String,
}

/// Runs `handfast mesh status`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    block_on(async {
        let client = args.cluster.client().await?;
        let look = Look::at(&client).await?;
        let told = look::ask(&client, &look.control_planes()).await;
        let only = args.namespace.as_deref();
        let by_node = look.by_node(only);
        let said =
            look::ask_of(&client, &look, &by_node.iter().map(|(pod, _)| *pod).collect::<Vec<_>>()).await;
        let by_node = by_node.into_iter().filter_map(|(pod, proxy)| {
            let said =
                said.iter().find(|one| (&one.namespace, &one.pod) == (&place(pod).0, &place(pod).1))?;
            Some((said.clone(), proxy.map(|proxy| look::name(proxy).to_owned())))
        });
        let by_node = by_node.collect();
        let pods = |pods: Vec<&Pod>| pods.into_iter().map(place).collect::<Vec<_>>();
        let wanted = Wanted {
            with_sidecar: pods(look.with_sidecar(only)),
            by_node,
            without_proxy: pods(look.without_proxy(only)),
        };
        let document = document(&told, &wanted, only);
        output::print(globals.output, &document, || table(&document))?;
        let missing = !document.missing.is_empty()
            || document.control_planes.is_empty()
            || document.control_planes.iter().any(|one| one.error.is_some());
        let behind = document.proxies.iter().any(|proxy| proxy.behind > 0);
        let fails = match args.fail_on {
            FailOn::Never => false,
            FailOn::Missing => missing,
            FailOn::Behind => missing || behind,
        };
        Ok(if fails { EXIT_FINDINGS } else { EXIT_OK })
    })
}

/// A pod's namespace and name.
type Place = (String, String);

fn place(pod: &Pod) -> Place {
    (look::namespace(pod).to_owned(), look::name(pod).to_owned())
}

/// The pods that should be in the mesh.
#[derive(Default)]
struct Wanted {
    with_sidecar: Vec<Place>,
    /// What the proxies of their nodes say of them, and the names of these, where they run.
    by_node: Vec<(Told, Option<String>)>,
    without_proxy: Vec<Place>,
}

/// Puts together what control planes say, and who should be there.
fn document(told: &[Told], wanted: &Wanted, only: Option<&str>) -> Document {
    let mut document = Document { version: 1, ..Document::default() };
    for one in told {
        let Ok(status) = &one.status else {
            let error = one.status.as_ref().err().cloned();
            document.control_planes.push(ControlPlane {
                pod: one.pod.clone(),
                error,
                ..ControlPlane::default()
            });
            continue;
        };
        document.control_planes.push(ControlPlane {
            pod: one.pod.clone(),
            error: None,
            handfast: status["handfast"].clone(),
            generation: status["generation"].clone(),
            changed: status["changed"].clone(),
            workloads: status["workloads"].clone(),
            services: status["services"].clone(),
            policies: status["policies"].clone(),
        });
        document
            .proxies
            .extend(status["proxies"].as_array().into_iter().flatten().map(|of| proxy(of, &one.pod)));
    }
    let connected: BTreeSet<Place> =
        document.proxies.iter().map(|proxy| (proxy.namespace.clone(), proxy.pod.clone())).collect();
    let connected = |namespace: &str, pod: &str| connected.contains(&(namespace.to_owned(), pod.to_owned()));
    // A node's proxy is shown with the namespaces whose pods it carries.
    let carries = |name: &str| wanted.by_node.iter().any(|(_, proxy)| proxy.as_deref() == Some(name));
    document.proxies.retain(|proxy| {
        only.is_none_or(|only| proxy.namespace == only || (proxy.namespace == NODE && carries(&proxy.pod)))
    });
    document.proxies.sort_by(|a, b| (&a.namespace, &a.pod).cmp(&(&b.namespace, &b.pod)));
    let mut missing: Vec<Missing> = Vec::new();
    for (said, proxy) in &wanted.by_node {
        let Told { namespace, pod, .. } = said;
        let (why, fix) = match (proxy, &said.status) {
            (None, _) => {
                (Uncarried::NodeAway.why().to_owned(), format!("kubectl -n {NODE} get pods -o wide"))
            }
            (Some(proxy), _) if !connected(NODE, proxy) => (
                format!("the proxy of its node, {proxy}, is not connected to any control plane that answers"),
                format!("kubectl -n {NODE} logs {proxy}"),
            ),
            (Some(proxy), Err(why)) => (why.clone(), format!("kubectl -n {NODE} logs {proxy}")),
            (Some(proxy), Ok(status)) => {
                document.by_node.push(ByNode {
                    namespace: namespace.clone(),
                    pod: pod.clone(),
                    identity: status["identity"].as_str().unwrap_or_default().to_owned(),
                    proxy: proxy.clone(),
                });
                continue;
            }
        };
        missing.push(Missing { namespace: namespace.clone(), pod: pod.clone(), why, fix });
    }
    for (namespace, pod) in &wanted.with_sidecar {
        if !connected(namespace, pod) {
            missing.push(Missing {
                namespace: namespace.clone(),
                pod: pod.clone(),
                why: "it has its proxy, which is not connected to any control plane that answers".to_owned(),
                fix: format!("kubectl -n {namespace} logs {pod} -c handfast-proxy"),
            });
        }
    }
    for (namespace, pod) in &wanted.without_proxy {
        missing.push(Missing {
            namespace: namespace.clone(),
            pod: pod.clone(),
            why: "it was made before its namespace's label, and has no proxy".to_owned(),
            fix: "restart it: kubectl rollout restart its Deployment, or delete the pod and make it again"
                .to_owned(),
        });
    }
    document.missing = missing;
    document
}

/// A proxy in the words of a control plane. Its node id is `ztunnel~ADDRESS~POD.NAMESPACE~DOMAIN`.
fn proxy(of: &Value, control_plane: &str) -> Proxy {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let node = text(&of["node"]);
    let whole = node.split('~').nth(2).unwrap_or(&node);
    let (pod, namespace) = whole.rsplit_once('.').unwrap_or((whole, ""));
    let mut found = Proxy {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        identity: text(&of["identity"]),
        control_plane: control_plane.to_owned(),
        since: text(&of["since"]),
        ..Proxy::default()
    };
    for (kind, progress) in of["types"].as_object().into_iter().flatten() {
        let behind = &progress["behind"];
        // A number, or the names themselves.
        let resources = &behind["resources"];
        let count =
            resources.as_u64().unwrap_or_else(|| resources.as_array().map_or(0, |all| all.len() as u64));
        found.behind += count;
        if let Some(since) = behind["since"].as_str() {
            found.behind = found.behind.max(1);
            let earlier = found.behind_since.take().filter(|known| known.as_str() < since);
            found.behind_since = Some(earlier.unwrap_or_else(|| since.to_owned()));
        }
        if let Some(why) = progress["refused"]["why"].as_str() {
            found.refused = Some(format!("{kind}, {}: {why}", text(&progress["refused"]["at"])));
        }
    }
    found
}

fn table(document: &Document) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if document.control_planes.is_empty() {
        text.push_str("no control plane runs: handfast mesh check\n");
    }
    for one in &document.control_planes {
        let _ = match &one.error {
            Some(error) => writeln!(text, "control plane {}: does not answer: {error}", one.pod),
            None => writeln!(
                text,
                "control plane {}: version {}, generation {}, {} workloads, {} services, {} policies, last change {}",
                one.pod,
                one.handfast.as_str().unwrap_or("unknown"),
                one.generation,
                one.workloads,
                one.services,
                one.policies,
                one.changed.as_str().map_or_else(|| "unknown".to_owned(), moment),
            ),
        };
    }
    if !document.proxies.is_empty() {
        let row = |proxy: &Proxy| {
            [
                format!("{}/{}", proxy.namespace, proxy.pod),
                proxy.identity.clone(),
                moment(&proxy.since),
                match (&proxy.behind_since, proxy.behind) {
                    (_, 0) => "up to date".to_owned(),
                    (Some(since), count) => format!("{count} behind since {}", moment(since)),
                    (None, count) => format!("{count} behind"),
                },
            ]
        };
        let mut rows = vec![["POD", "IDENTITY", "CONNECTED SINCE", "STATE"].map(str::to_owned)];
        rows.extend(document.proxies.iter().map(row));
        text.push('\n');
        text.push_str(&columns(&rows));
    }
    if !document.by_node.is_empty() {
        let row = |one: &ByNode| {
            [format!("{}/{}", one.namespace, one.pod), one.identity.clone(), one.proxy.clone()]
        };
        let mut rows = vec![["POD", "IDENTITY", "CARRIED BY ITS NODE'S"].map(str::to_owned)];
        rows.extend(document.by_node.iter().map(row));
        text.push('\n');
        text.push_str(&columns(&rows));
    }
    for proxy in &document.proxies {
        if let Some(refused) = &proxy.refused {
            let _ = writeln!(text, "\n{}/{} refused {refused}", proxy.namespace, proxy.pod);
        }
    }
    for missing in &document.missing {
        let Missing { namespace, pod, why, fix } = missing;
        let _ = write!(text, "\nnot in the mesh: {namespace}/{pod}: {why}\n  fix: {fix}\n");
    }
    text
}

/// A time as people read it: without parts of seconds, of which JSON has all.
pub fn moment(rfc3339: &str) -> String {
    let Some((whole, rest)) = rfc3339.split_once('.') else { return rfc3339.to_owned() };
    let zone = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    format!("{whole}{zone}")
}

/// Rows under one another.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}
