//! From declared edges to who may reach which port of whom: names and ports resolved.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Edge, Error, Objects, Port, PortName, Protocol, Service, Side, Workload};

/// One end of what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Index in [`Graph::objects`]' workloads.
    Workload(usize),
    /// Addresses.
    Network(String),
}

/// A client, a server and a port of the server's pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allowed {
    /// Who accepts.
    pub server: Peer,
    /// Who opens.
    pub client: Peer,
    /// The port of the pod, never that of the Service.
    pub port: Port,
}

/// What is allowed, and what a person should know about it.
#[derive(Debug)]
pub struct Graph {
    /// What was read.
    pub objects: Objects,
    /// All that is allowed.
    pub allowed: BTreeSet<Allowed>,
    /// What policies cannot do here, or do more than was meant.
    pub warnings: Vec<String>,
}

/// Resolves the edges, and those of the workloads' annotations. `namespace` is that of names without one.
pub fn resolve(mut objects: Objects, edges: &[Edge], namespace: &str) -> Result<Graph, Error> {
    objects.sort();
    let mut edges = edges.to_vec();
    let mut allowed = BTreeSet::new();
    for (client, workload) in objects.workloads.iter().enumerate() {
        for call in &workload.calls {
            let edge = Edge::call(&workload.namespace, &workload.name, call)?;
            allow(&objects, &edge, &[Peer::Workload(client)], &workload.namespace, &mut allowed)?;
        }
    }
    for edge in edges.drain(..) {
        let (clients, place) = match &edge.client {
            Side::Network(network) => (vec![Peer::Network(network.clone())], namespace.to_owned()),
            Side::Named { namespace: own, name } => {
                let place = own.as_deref().unwrap_or(namespace);
                let found: Vec<Peer> = named(&objects, place, name).map(Peer::Workload).collect();
                // A client may be named by its Service too.
                let found = match (found.is_empty(), service(&objects, place, name)) {
                    (true, Some(service)) => {
                        objects.behind(service).map(|(i, _)| Peer::Workload(i)).collect()
                    }
                    _ => found,
                };
                if found.is_empty() {
                    return Err(unknown(&objects, &edge, name, "workload", place));
                }
                (found, place.to_owned())
            }
        };
        allow(&objects, &edge, &clients, &place, &mut allowed)?;
    }
    let warnings = warnings(&objects, &allowed);
    Ok(Graph { objects, allowed, warnings })
}

fn allow(
    objects: &Objects,
    edge: &Edge,
    clients: &[Peer],
    place: &str,
    allowed: &mut BTreeSet<Allowed>,
) -> Result<(), Error> {
    let mut servers: Vec<(Peer, Port)> = Vec::new();
    match &edge.server {
        Side::Network(network) => {
            if let Some(PortName::Number(number)) = edge.port {
                servers.push((Peer::Network(network.clone()), Port { protocol: Protocol::Tcp, number }));
            }
        }
        Side::Named { namespace, name } => {
            let place = namespace.as_deref().unwrap_or(place);
            let found = match service(objects, place, name) {
                Some(service) => of_service(objects, edge, service)?,
                None => of_workloads(objects, edge, name, place)?,
            };
            servers.extend(found.into_iter().map(|(index, port)| {
                // Before `kube wire` has moved the Service, the manifest still names the application's port.
                let tcp = port.protocol == Protocol::Tcp;
                let listen = objects.workloads[index].sidecar.get(&port.number).filter(|_| tcp);
                (Peer::Workload(index), Port { number: *listen.unwrap_or(&port.number), ..port })
            }));
        }
    }
    for (server, port) in servers {
        for client in clients {
            allowed.insert(Allowed { server: server.clone(), client: client.clone(), port });
        }
    }
    Ok(())
}

fn of_service(objects: &Objects, edge: &Edge, service: &Service) -> Result<Vec<(usize, Port)>, Error> {
    let wrong = |why: String| Error::Port { origin: edge.origin.clone(), why };
    let Service { namespace, name, .. } = service;
    if service.selector.is_empty() {
        return Err(wrong(format!(
            "Service {namespace}/{name} selects no pods; allow its addresses, as in client=203.0.113.7/32:443"
        )));
    }
    let workloads: Vec<(usize, &Workload)> = objects.behind(service).collect();
    if workloads.is_empty() {
        return Err(wrong(format!(
            "no workload here has the labels that Service {namespace}/{name} selects"
        )));
    }
    let of_name = |port: &&(Option<String>, Port, IntOrString)| match &edge.port {
        None => true,
        Some(PortName::Number(number)) => port.1.number == *number,
        Some(PortName::Name(name)) => port.0.as_ref() == Some(name),
    };
    let mut chosen: Vec<_> = service.ports.iter().filter(of_name).collect();
    if chosen.is_empty()
        && let Some(PortName::Number(number)) = edge.port
    {
        // Whoever knows the pod's port rather than the Service's means the same thing.
        chosen = service
            .ports
            .iter()
            .filter(|(_, port, target)| match target {
                IntOrString::Int(own) => *own == i32::from(number),
                IntOrString::String(name) => workloads.iter().any(|(_, workload)| {
                    let wanted = (Some(name.clone()), Port { protocol: port.protocol, number });
                    workload.ports.contains(&wanted)
                }),
            })
            .collect();
    }
    if chosen.is_empty() {
        let known: Vec<String> = service
            .ports
            .iter()
            .map(|(name, port, _)| {
                format!("{}{port}", name.as_ref().map_or(String::new(), |n| format!("{n} ")))
            })
            .collect();
        let port = edge.port.as_ref().map_or(String::new(), |port| format!(" {port}"));
        return Err(wrong(format!(
            "Service {namespace}/{name} has no port{port}; it has: {}",
            known.join(", ")
        )));
    }
    let mut found = Vec::new();
    for (_, port, target) in chosen {
        let before = found.len();
        for (index, workload) in &workloads {
            let protocol = port.protocol;
            match target {
                IntOrString::Int(number) => {
                    found.extend(
                        u16::try_from(*number).ok().map(|number| (*index, Port { protocol, number })),
                    );
                }
                IntOrString::String(name) => found.extend(
                    workload
                        .ports
                        .iter()
                        .filter(|(own, port)| own.as_ref() == Some(name) && port.protocol == protocol)
                        .map(|(_, port)| (*index, *port)),
                ),
            }
        }
        if found.len() == before {
            return Err(wrong(format!(
                "port {port} of Service {namespace}/{name} leads to the container port {}, which no workload names",
                match target {
                    IntOrString::Int(number) => number.to_string(),
                    IntOrString::String(name) => format!("{name:?}"),
                }
            )));
        }
    }
    Ok(found)
}

fn of_workloads(
    objects: &Objects,
    edge: &Edge,
    name: &str,
    place: &str,
) -> Result<Vec<(usize, Port)>, Error> {
    let indices: Vec<usize> = named(objects, place, name).collect();
    if indices.is_empty() {
        return Err(unknown(objects, edge, name, "Service or workload", place));
    }
    let mut found = Vec::new();
    for index in indices {
        let workload = &objects.workloads[index];
        let before = found.len();
        match &edge.port {
            Some(PortName::Number(number)) => {
                let declared = workload.ports.iter().filter(|(_, port)| port.number == *number);
                let mut ports: Vec<Port> = declared.map(|(_, port)| *port).collect();
                if ports.is_empty() {
                    ports.push(Port { protocol: Protocol::Tcp, number: *number });
                }
                found.extend(ports.into_iter().map(|port| (index, port)));
            }
            Some(PortName::Name(wanted)) => found.extend(
                workload
                    .ports
                    .iter()
                    .filter(|(name, _)| name.as_ref() == Some(wanted))
                    .map(|(_, port)| (index, *port)),
            ),
            None => found.extend(workload.ports.iter().map(|(_, port)| (index, *port))),
        }
        if found.len() == before {
            let port = edge.port.as_ref().map_or("any port".to_owned(), |port| format!("the port {port}"));
            return Err(Error::Port {
                origin: edge.origin.clone(),
                why: format!("{workload} does not declare {port}; name a number, as in client={name}:8443"),
            });
        }
    }
    Ok(found)
}

fn service<'a>(objects: &'a Objects, namespace: &str, name: &str) -> Option<&'a Service> {
    objects.services.iter().find(|service| service.namespace == namespace && service.name == name)
}

fn named<'a>(objects: &'a Objects, namespace: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let all = objects.workloads.iter().enumerate();
    all.filter(move |(_, w)| w.namespace == namespace && w.name == name).map(|(index, _)| index)
}

fn unknown(objects: &Objects, edge: &Edge, name: &str, wanted: &'static str, namespace: &str) -> Error {
    let services = objects.services.iter().map(|s| (&s.namespace, &s.name));
    let workloads = objects.workloads.iter().map(|w| (&w.namespace, &w.name));
    let known: BTreeSet<&str> =
        services.chain(workloads).filter(|(place, _)| *place == namespace).map(|(_, n)| n.as_str()).collect();
    let known: Vec<&str> = known.into_iter().take(10).collect();
    let known = if known.is_empty() { String::new() } else { format!("; there are: {}", known.join(", ")) };
    let (origin, namespace) = (edge.origin.clone(), namespace.to_owned());
    Error::Unknown { origin, name: name.to_owned(), wanted, namespace, known }
}

/// Whether a selector selects pods with these labels.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().flatten().all(|expression| {
            let value = labels.get(&expression.key);
            let values = expression.values.as_deref().unwrap_or_default();
            match expression.operator.as_str() {
                "In" => value.is_some_and(|value| values.contains(value)),
                "NotIn" => value.is_none_or(|value| !values.contains(value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

fn warnings(objects: &Objects, allowed: &BTreeSet<Allowed>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, workload) in objects.workloads.iter().enumerate() {
        let peer = Peer::Workload(index);
        if workload.host_network {
            warnings.push(format!("{workload} uses the node's network: no NetworkPolicy holds for its pods"));
        }
        if !allowed.iter().any(|edge| edge.client == peer || edge.server == peer) {
            continue;
        }
        for other in objects.workloads.iter().filter(|other| {
            other.namespace == workload.namespace
                && (&other.kind, &other.name) != (&workload.kind, &workload.name)
        }) {
            if selects(&workload.selector, &other.labels) {
                warnings.push(format!(
                    "what is allowed to {workload} is allowed to {other} too: its pods carry the same labels"
                ));
            }
        }
    }
    for service in objects.services.iter().filter(|service| service.external) {
        let reached = objects.behind(service).any(|(index, _)| {
            let outside =
                |e: &Allowed| e.server == Peer::Workload(index) && matches!(e.client, Peer::Network(_));
            allowed.iter().any(outside)
        });
        if !reached {
            warnings.push(format!(
                "Service {}/{} is for clients outside of the cluster, and no edge lets them in; allow their \
                 addresses, as in --edge 0.0.0.0/0={}",
                service.namespace, service.name, service.name
            ));
        }
    }
    warnings
}
