//! What proxies have seen, with names: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use model::mesh::{Owner, World};
use serde::Serialize;

use crate::commands::mesh::look::Told;

/// Who would be refused.
#[derive(Debug, Default, Serialize)]
pub(super) struct Preview {
    pub(super) version: u32,
    /// Proxies that were asked and answered.
    pub(super) asked: usize,
    /// Since when the oldest of them remembers.
    pub(super) since: Option<String>,
    /// Callers that would be refused if what arrives had to be mutual TLS.
    pub(super) inbound: Vec<Pair>,
    /// Calls that would be refused if what leaves had to be mutual TLS.
    pub(super) outbound: Vec<Pair>,
    /// Pods whose proxies did not answer, and why.
    pub(super) not_asked: Vec<String>,
    /// Pods of the mesh without a proxy.
    pub(super) without_proxy: Vec<String>,
    /// Pods whose proxies saw more than they remember.
    pub(super) forgot: Vec<String>,
}

/// Between whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Pair {
    pub(super) caller: String,
    pub(super) called: String,
    pub(super) port: u16,
    pub(super) service: String,
    pub(super) why: String,
    pub(super) count: u64,
    pub(super) last: String,
}

impl Preview {
    /// Whether nobody would be refused, as far as can be known.
    pub(super) fn is_clear(&self) -> bool {
        self.inbound.is_empty() && self.outbound.is_empty() && self.not_asked.is_empty()
    }
}

/// Joins what proxies tell with what is known of addresses. Replicas of one workload are one.
pub(super) fn join(world: &World, pods: &[Pod], told: &[Told], without_proxy: Vec<String>) -> Preview {
    let mut preview = Preview { version: 1, without_proxy, ..Preview::default() };
    let mut inbound: BTreeMap<(String, String, u16, String, String), Pair> = BTreeMap::new();
    let mut outbound = BTreeMap::new();
    for one in told {
        let place = format!("{}/{}", one.namespace, one.pod);
        let status = match &one.status {
            Ok(status) if status["plain"].is_object() => status,
            Ok(_) => {
                preview.not_asked.push(format!("{place} (it is of an older version)"));
                continue;
            }
            Err(why) => {
                preview.not_asked.push(format!("{place} ({why})"));
                continue;
            }
        };
        preview.asked += 1;
        if let Some(started) = status["started"].as_str() {
            let earlier = preview.since.take().filter(|known| known.as_str() < started);
            preview.since = Some(earlier.unwrap_or_else(|| started.to_owned()));
        }
        if status["plain"]["forgotten"].as_u64().is_some_and(|count| count > 0) {
            preview.forgot.push(place.clone());
        }
        for seen in status["plain"]["pairs"].as_array().into_iter().flatten() {
            let text = |name: &str| seen[name].as_str().unwrap_or_default().to_owned();
            // The proxy of a node tells of all of its pods.
            if !text("workload").ends_with(&format!("//Pod/{place}")) {
                continue;
            }
            let is_inbound = text("direction") == "inbound";
            // A probe of the node is let in whatever the mode; and what is disabled is not the mesh's.
            if is_inbound && text("why") != "permissive" {
                continue;
            }
            let own = own_name(world, one);
            let (caller, called) = match is_inbound {
                true => (whose(world, pods, &text("source")), own),
                false => (own, whose(world, pods, &text("destination"))),
            };
            let port = seen["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
            let service = text("service");
            let service = service.split_once('/').map_or(service.clone(), |(_, host)| host.to_owned());
            let key = (caller.clone(), called.clone(), port, service.clone(), text("why"));
            let count = seen["count"].as_u64().unwrap_or_default();
            let pair =
                Pair { caller, called, port, service, why: text("why"), count: 0, last: String::new() };
            let all = if is_inbound { &mut inbound } else { &mut outbound };
            let pair = all.entry(key).or_insert(pair);
            pair.count += count;
            pair.last = std::mem::take(&mut pair.last).max(text("last"));
        }
    }
    preview.inbound = inbound.into_values().collect();
    preview.outbound = outbound.into_values().collect();
    preview
}

fn own_name(world: &World, told: &Told) -> String {
    let own =
        world.workloads().find(|workload| workload.namespace == told.namespace && workload.name == told.pod);
    format!("{}/{}", told.namespace, own.map_or(&told.pod, |own| &own.workload_name))
}

/// Whose address it is: a workload's, a service's, a node's, or nobody's that is known (any more).
fn whose(world: &World, pods: &[Pod], address: &str) -> String {
    let Ok(parsed) = address.parse::<IpAddr>() else { return address.to_owned() };
    match world.at(parsed) {
        Some(Owner::Workload(workload)) => {
            return format!("{}/{}", workload.namespace, workload.workload_name);
        }
        Some(Owner::Service(service)) => return format!("{}/{}", service.name.namespace, service.short),
        None => {}
    }
    let node = pods.iter().find_map(|pod| {
        let status = pod.status.as_ref()?;
        let is_host = status.host_ip.as_deref() == Some(address)
            || status.host_ips.iter().flatten().any(|host| host.ip == address);
        is_host.then(|| pod.spec.as_ref()?.node_name.clone()).flatten()
    });
    match node {
        Some(node) => format!("node {node} ({address})"),
        None => format!("{address} (nobody known)"),
    }
}

/// For tests of the table.
#[cfg(test)]
pub(super) fn told(pod: &str, status: Result<serde_json::Value, String>) -> Told {
    let at = time::OffsetDateTime::UNIX_EPOCH;
    Told { namespace: "shop".into(), pod: pod.into(), node: "n".into(), status, uncarried: None, asked: at }
}
