//! Who is wired, and who calls whom: from pods and Services as they are, without asking anybody.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use controller::names::{CALLS_ANNOTATION, CLIENT_MOUNT, SERVER_MOUNT};
use k8s_openapi::api::core::v1::{Container, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A managed Secret as a pod has it mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    pub secret: String,
    pub volume: String,
}

/// A pod with its client Secret.
#[derive(Clone, Debug)]
pub struct ClientPod {
    pub pod: Pod,
    pub name: String,
    pub workload: String,
    pub mounted: Mounted,
}

/// A pod with its server Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPod {
    pub name: String,
    pub address: SocketAddr,
    pub secret: String,
}

/// From one client to the pods of one port of a Service.
#[derive(Clone, Debug)]
pub struct Edge {
    pub client: ClientPod,
    pub service: String,
    pub port: i32,
    pub servers: Vec<ServerPod>,
}

/// What a person asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub server: Option<String>,
    pub client: Option<String>,
    pub port: Option<String>,
}

/// All edges, and in words what was left out.
pub fn edges(pods: &[Pod], services: &[Service], wanted: &Wanted) -> (Vec<Edge>, Vec<String>) {
    let (mut edges, mut notes) = (Vec::new(), Vec::new());
    let mut clients: BTreeMap<String, ClientPod> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| is_running(pod)) {
        let Some(mounted) = mounted(pod, CLIENT_MOUNT) else { continue };
        let (name, workload) = (name_of(pod), workload(pod));
        let asked =
            wanted.client.as_ref().is_none_or(|w| *w == name || *w == workload || *w == mounted.secret);
        if asked {
            // One pod speaks for all of its workload: they have the same Secret.
            clients.entry(format!("{workload} {}", mounted.secret)).or_insert(ClientPod {
                pod: pod.clone(),
                name,
                workload,
                mounted,
            });
        }
    }
    for service in services {
        let Some(service_name) = service.metadata.name.clone() else { continue };
        let behind: Vec<(&Pod, Mounted)> = pods
            .iter()
            .filter(|pod| selects(service, pod))
            .filter_map(|pod| Some((pod, mounted(pod, SERVER_MOUNT)?)))
            .collect();
        let Some((first, _)) = behind.first() else { continue };
        let workload_name = workload(first);
        if wanted.server.as_ref().is_some_and(|w| *w != service_name && *w != workload_name) {
            continue;
        }
        for port in ports(service, wanted.port.as_deref()) {
            let mut servers = Vec::new();
            for (pod, mounted) in &behind {
                match (is_running(pod), address(pod, &port)) {
                    (true, Some(address)) => {
                        servers.push(ServerPod {
                            name: name_of(pod),
                            address,
                            secret: mounted.secret.clone(),
                        });
                    }
                    (false, _) => notes.push(format!("pod {} does not run", name_of(pod))),
                    (true, None) => {
                        notes.push(format!(
                            "pod {} has no port for {service_name}:{}",
                            name_of(pod),
                            port.port
                        ));
                    }
                }
            }
            if servers.is_empty() {
                continue;
            }
            for client in clients.values() {
                if calls(&client.pod, &service_name, &workload_name) {
                    edges.push(Edge {
                        client: client.clone(),
                        service: service_name.clone(),
                        port: port.port,
                        servers: servers.clone(),
                    });
                }
            }
        }
    }
    notes.sort();
    notes.dedup();
    (edges, notes)
}

/// Whether a client calls this Service. One that does not say whom it calls may call all.
fn calls(pod: &Pod, service: &str, workload: &str) -> bool {
    let named = pod.metadata.annotations.as_ref().and_then(|all| all.get(CALLS_ANNOTATION));
    named.is_none_or(|list| {
        // `web`, `web:8443`, `web.shop`: the name is what is before the first of these.
        list.split(',')
            .filter_map(|each| each.trim().split([':', '.']).next())
            .any(|n| n == service || n == workload)
    })
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.as_ref();
    spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
}

/// The Secret that is mounted at this path.
fn mounted(pod: &Pod, path: &str) -> Option<Mounted> {
    let mount = containers(pod)
        .flat_map(|container| container.volume_mounts.iter().flatten())
        .find(|mount| mount.mount_path.trim_end_matches('/') == path)?;
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
    let projected = || {
        let sources = volume.projected.as_ref()?.sources.as_ref()?;
        sources.iter().find_map(|source| Some(source.secret.as_ref()?.name.clone()))
    };
    let secret = volume.secret.as_ref().and_then(|secret| secret.secret_name.clone()).or_else(projected)?;
    Some(Mounted { secret, volume: volume.name.clone() })
}

fn name_of(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

/// The Deployment, StatefulSet, ... of a pod, or its own name.
pub fn workload(pod: &Pod) -> String {
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    match owner {
        // A ReplicaSet is named after its Deployment and a hash.
        Some(owner) if owner.kind == "ReplicaSet" => {
            owner.name.rsplit_once('-').map_or(owner.name.as_str(), |(name, _)| name).to_owned()
        }
        Some(owner) => owner.name.clone(),
        None => name_of(pod),
    }
}

/// Whether it runs, and is not being deleted.
pub fn is_running(pod: &Pod) -> bool {
    let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    running && pod.metadata.deletion_timestamp.is_none()
}

/// Whether a Service leads to this pod.
pub fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let empty = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
    // A Service without a selector selects nothing.
    selector
        .is_some_and(|all| !all.is_empty() && all.iter().all(|(name, value)| labels.get(name) == Some(value)))
}

/// The ports that speak TLS: the one that was asked for; else those that say so; else all.
fn ports(service: &Service, wanted: Option<&str>) -> Vec<ServicePort> {
    let all: Vec<ServicePort> = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten())
        .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
        .cloned()
        .collect();
    if let Some(wanted) = wanted {
        let is = |port: &ServicePort| port.name.as_deref() == Some(wanted) || port.port.to_string() == wanted;
        return all.into_iter().filter(is).collect();
    }
    let says_so = |port: &ServicePort| {
        let words = [port.name.as_deref(), port.app_protocol.as_deref()];
        let named = words
            .into_iter()
            .flatten()
            .any(|w| ["tls", "https", "grpcs"].iter().any(|part| w.contains(part)));
        named || [443, 8443].contains(&port.port)
    };
    let secure: Vec<ServicePort> = all.iter().filter(|port| says_so(port)).cloned().collect();
    if secure.is_empty() { all } else { secure }
}

/// Where a pod listens for a port of a Service.
pub fn address(pod: &Pod, port: &ServicePort) -> Option<SocketAddr> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => containers(pod)
            .flat_map(|container| container.ports.iter().flatten())
            .find(|port| port.name.as_ref() == Some(name))
            .map(|port| port.container_port)?,
    };
    Some(SocketAddr::new(ip, u16::try_from(number).ok()?))
}

#[cfg(test)]
mod tests;
