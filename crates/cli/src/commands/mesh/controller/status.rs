//! What a control plane says of itself and of its proxies.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use controller::mesh::watch::Known;
use serde_json::{Value, json};
use time::OffsetDateTime;
use wire::catalog::{Catalog, Type};
use wire::server::{Proxies, Status};

use super::catalog::Receiver;
use crate::pages::{Page, Pages};

/// `/status`: all of it, for `handfast mesh status`.
pub fn pages(catalog: Receiver, proxies: Proxies, known: Known) -> Pages {
    Arc::new(move |path| match path {
        "/status" => Some(Page::json(document(&catalog.borrow(), &proxies, &known).to_string())),
        _ => None,
    })
}

fn document(catalog: &Catalog, proxies: &Proxies, known: &Known) -> Value {
    let world = catalog.world();
    let proxies: Vec<Value> = proxies.status(catalog).iter().map(proxy).collect();
    let watches = known.silences().into_iter().map(|(kind, silent)| {
        let heard = silent.and_then(|silent| SystemTime::now().checked_sub(silent)).map(rfc3339);
        (kind.to_owned(), json!({ "heard": heard }))
    });
    json!({
        "version": 1,
        "handfast": env!("CARGO_PKG_VERSION"),
        "time": rfc3339(SystemTime::now()),
        "generation": catalog.generation(),
        "changed": rfc3339(catalog.at().clock),
        // Since when a watch of the API server is silent; one that does not answer is behind other control planes.
        "watches": watches.collect::<serde_json::Map<_, _>>(),
        "silent": known.silent().map(|(kind, _)| kind),
        "workloads": world.workloads().count(),
        "services": world.services().count(),
        "policies": world.policies().count(),
        "trust": catalog.trust().map(|trust| json!({
            "step": trust.step,
            "issuer": trust.issuer,
            "issuer_fingerprint": trust.issuer_fingerprint,
            "roots": trust.roots.matches("-----BEGIN CERTIFICATE-----").count(),
        })),
        "proxies": proxies,
    })
}

fn proxy(status: &Status) -> Value {
    let types = status.types.iter().map(|(of, progress, behind)| {
        let refused = progress.refused.as_ref();
        let value = json!({
            "sent": progress.sent,
            "acknowledged": progress.acknowledged,
            "behind": behind.as_ref().map(|behind| json!({
                "resources": behind.resources,
                "since": rfc3339(behind.since),
            })),
            "refused": refused.map(|(why, at)| json!({ "why": why, "at": rfc3339(*at) })),
        });
        (name(*of).to_owned(), value)
    });
    json!({
        "node": status.proxy.node,
        "address": status.proxy.address.to_string(),
        "identity": status.proxy.identity,
        "since": rfc3339(status.proxy.since),
        "types": types.collect::<serde_json::Map<_, _>>(),
    })
}

fn name(of: Type) -> &'static str {
    match of {
        Type::Trust => "trust",
        Type::Address => "workloads",
        Type::Authorization => "policies",
    }
}

fn rfc3339(at: SystemTime) -> String {
    certs::rfc3339(OffsetDateTime::from(at))
}

/// The metrics of a control plane (OpenMetrics).
pub fn metrics(catalog: &Catalog, proxies: &Proxies, known: &Known) -> String {
    let all = proxies.status(catalog);
    let behind = all.iter().filter(|one| one.types.iter().any(|(_, _, behind)| behind.is_some())).count();
    let world = catalog.world();
    let mut text = String::new();
    for (metric, help, value) in [
        ("handfast_mesh_proxies", "Proxies that are connected to this control plane", all.len()),
        ("handfast_mesh_proxies_behind", "Of them, those that have not taken the last change yet", behind),
        ("handfast_mesh_workloads", "Workloads that proxies are told of", world.workloads().count()),
        ("handfast_mesh_services", "Services that proxies are told of", world.services().count()),
        ("handfast_mesh_policies", "Policies that proxies are told of", world.policies().count()),
    ] {
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP {metric} {help}.\n# TYPE {metric} gauge\n{metric} {value}\n");
    }
    let metric = "handfast_mesh_watch_silence_seconds";
    let help =
        "How long ago the API server was last heard of, by kind; a good watch is heard of every 30 seconds";
    let _ = write!(text, "# HELP {metric} {help}.\n# TYPE {metric} gauge\n");
    for (kind, silent) in known.silences() {
        if let Some(silent) = silent {
            let _ = writeln!(text, "{metric}{{kind=\"{kind}\"}} {:.3}", silent.as_secs_f64());
        }
    }
    text + "# EOF\n"
}
