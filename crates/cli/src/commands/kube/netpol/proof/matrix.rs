//! Who must reach whom, who must not, and what happened.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use controller::netpol::{Graph, Peer, Port, selects};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, Client};
use model::codes::kube::{NETPOL_ALLOWED_BLOCKED, NETPOL_NOT_ENFORCED, NETPOL_PROBE, NETPOL_UNDECLARED_OPEN};
use serde::Serialize;

use super::super::agent::Seen;
use super::control::Enforced;
use super::listing;
use super::pods::{Role, Run, SPARE, Stand};
use crate::failure::Failure;

/// A name that every cluster has.
const NAME: &str = "kubernetes.default.svc";

/// How a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it must be.
    Ok,
    /// Not as it must be.
    Fail,
    /// Not tried, with its reason.
    Skipped,
}

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) client: String,
    pub(super) server: String,
    pub(super) port: String,
    /// Whether it must connect.
    pub(super) allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<Seen>,
    pub(super) verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
    pub(super) detail: String,
    #[serde(skip)]
    from: usize,
    #[serde(skip)]
    to: Option<usize>,
    #[serde(skip)]
    target: String,
}

/// All rows: the declared edges, every other pair, a stranger from elsewhere, the way elsewhere, and DNS.
pub(super) fn rows(graph: &Graph, stands: &[Stand]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (from, client) in stands.iter().enumerate() {
        for (to, server) in stands.iter().enumerate().filter(|(to, _)| *to != from) {
            let (declared, unsure) = match (client.role, server.role) {
                (Role::Workload(_), Role::Workload(_)) | (Role::Open, Role::Workload(_)) => (true, true),
                (Role::Workload(_), Role::Open) => (false, true),
                _ => (false, false),
            };
            if !declared && !unsure {
                continue;
            }
            for port in &server.ports {
                rows.push(row(graph, (from, client), (to, server), *port));
            }
        }
        if matches!(client.role, Role::Workload(_)) {
            rows.push(Row {
                client: client.title.clone(),
                server: "DNS".to_owned(),
                port: NAME.to_owned(),
                allowed: true,
                seen: None,
                verdict: Verdict::Ok,
                code: None,
                detail: String::new(),
                from,
                to: None,
                target: format!("dns:{NAME}"),
            });
        }
    }
    rows
}

fn row(graph: &Graph, client: (usize, &Stand), server: (usize, &Stand), port: Port) -> Row {
    let peer = |stand: &Stand| match stand.role {
        Role::Workload(index) => Some(Peer::Workload(index)),
        _ => None,
    };
    let (caller, called) = (peer(client.1), peer(server.1));
    let allowed = graph.allowed.iter().any(|edge| {
        Some(&edge.client) == caller.as_ref() && Some(&edge.server) == called.as_ref() && edge.port == port
    });
    // A policy for addresses holds for pods too in some plugins and not in others. Both ends have to allow it.
    let covers = |network: &Peer, stand: &Stand| match network {
        Peer::Network(network) => contains(network, &stand.address),
        Peer::Workload(_) => false,
    };
    let blurred = !allowed
        && graph.allowed.iter().any(|edge| {
            edge.port == port
                && (Some(&edge.server) == called.as_ref() && covers(&edge.client, client.1)
                    || Some(&edge.client) == caller.as_ref() && covers(&edge.server, server.1))
        });
    Row {
        client: client.1.title.clone(),
        server: server.1.title.clone(),
        port: if port == SPARE { format!("{port} (undeclared)") } else { port.to_string() },
        allowed,
        seen: None,
        verdict: if blurred { Verdict::Skipped } else { Verdict::Ok },
        code: None,
        detail: if blurred {
            "an edge for addresses covers this pod's own".to_owned()
        } else {
            String::new()
        },
        from: client.0,
        to: Some(server.0),
        target: server.1.target(port),
    }
}

/// Whether a network holds an address.
pub(super) fn contains(network: &str, address: &str) -> bool {
    let Some((base, prefix)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(address), Ok(prefix)) = (base.parse(), address.parse(), prefix.parse::<u32>()) else {
        return false;
    };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
            u32::from(base) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
            u128::from(base) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

fn as_wanted(row: &Row) -> bool {
    match row.seen {
        Some(Seen::Answered) => row.allowed,
        Some(Seen::Refused | Seen::Silent) => !row.allowed,
        _ => false,
    }
}

/// Tries every row, from all pods at once, until all of a pod's are as wanted or the time is over.
pub(super) async fn try_all(
    run: &Run,
    stands: &[Stand],
    rows: &mut [Row],
    settle: Duration,
) -> Result<(), Failure> {
    let each = stands.iter().enumerate().map(|(from, stand)| {
        let own =
            rows.iter().enumerate().filter(|(_, row)| row.from == from && row.verdict != Verdict::Skipped);
        try_one(run, stand, own.map(|(index, row)| (index, row.clone())).collect(), settle)
    });
    let each: Vec<_> = each.collect();
    for (index, row) in futures_util::future::try_join_all(each).await?.into_iter().flatten() {
        rows[index] = row;
    }
    Ok(())
}

async fn try_one(
    run: &Run,
    stand: &Stand,
    mut own: Vec<(usize, Row)>,
    settle: Duration,
) -> Result<Vec<(usize, Row)>, Failure> {
    let targets: Vec<String> = own.iter().map(|(_, row)| row.target.clone()).collect();
    let begin = Instant::now();
    while !targets.is_empty() {
        for ((_, row), result) in own.iter_mut().zip(run.dial(stand, &targets).await?) {
            if result.seen == Seen::Failed {
                return Err(Failure::new(
                    &NETPOL_PROBE,
                    format!(
                        "the probe for {} could not try {}: {}",
                        stand.title, result.target, result.detail
                    ),
                ));
            }
            row.seen = Some(result.seen);
            row.detail = result.detail;
        }
        if own.iter().all(|(_, row)| as_wanted(row)) || begin.elapsed() >= settle {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(own)
}

/// Gives every row its verdict, and those that failed the likely reason.
pub(super) async fn judge(
    client: &Client,
    graph: &Graph,
    stands: &[Stand],
    rows: &mut [Row],
    enforced: &Enforced,
) {
    for row in rows.iter_mut().filter(|row| row.verdict != Verdict::Skipped) {
        if as_wanted(row) {
            continue;
        }
        row.verdict = Verdict::Fail;
        let code = match (row.allowed, enforced.ingress || enforced.egress) {
            (true, _) => &NETPOL_ALLOWED_BLOCKED,
            (false, false) => &NETPOL_NOT_ENFORCED,
            (false, true) => &NETPOL_UNDECLARED_OPEN,
        };
        row.code = Some(code.id);
    }
    let namespaces = graph.objects.workloads.iter().map(|workload| workload.namespace.as_str());
    for namespace in namespaces.collect::<std::collections::BTreeSet<_>>() {
        let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
        let Ok(policies) = listing::all(&api, &ListParams::default()).await else { continue };
        for row in rows.iter_mut().filter(|row| row.verdict == Verdict::Fail) {
            let ends = [(Some(row.from), "Egress"), (row.to, "Ingress")];
            for (end, direction) in ends.into_iter().filter_map(|(end, way)| Some((&stands[end?], way))) {
                if end.namespace == namespace && matches!(end.role, Role::Workload(_)) {
                    row.detail = format!("{}; {}", row.detail, selecting(&policies, end, direction));
                }
            }
        }
    }
}

fn selecting(policies: &[NetworkPolicy], stand: &Stand, direction: &str) -> String {
    let names: Vec<&str> = policies
        .iter()
        .filter(|policy| {
            policy.spec.as_ref().is_some_and(|spec| {
                let selected =
                    spec.pod_selector.as_ref().is_none_or(|selector| selects(selector, &stand.labels));
                let types = spec.policy_types.as_deref().unwrap_or_default();
                selected && types.iter().any(|kind| kind == direction)
            })
        })
        .filter_map(|policy| policy.metadata.name.as_deref())
        .collect();
    match names.as_slice() {
        [] => format!("no policy for {} selects {}", direction.to_ascii_lowercase(), stand.title),
        names => format!("{} of {}: {}", direction.to_ascii_lowercase(), stand.title, names.join(", ")),
    }
}
