//! Who calls, and who is called, as a person writes it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use model::codes::mesh as codes;
use model::mesh::{Service, Workload, WorkloadKind};

use super::layers::Layer;
use crate::commands::mesh::look::Look;

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct To {
    /// A name, or an address.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl To {
    /// Reads `web:80`, `shop/web`, `10.0.0.1:80`, `[fd00::1]:80`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: address.ip().to_string(), port: Some(address.port()) });
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err(format!("{text}: an address needs its port, as in {text}:80"));
        }
        let (host, port) = match text.rsplit_once(':') {
            None => (text, None),
            Some((host, port)) => match port.parse::<u16>() {
                Ok(port) if port > 0 => (host, Some(port)),
                _ => return Err(format!("{text}: {port:?} is no port")),
            },
        };
        if host.is_empty() {
            return Err(format!("{text}: who is called?"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// The workload that calls; of several, one that is ready.
pub(super) fn source(look: &Look, text: &str) -> Result<Arc<Workload>, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (namespace, kind, name) = match parts[..] {
        [namespace, name] => (namespace, None, name),
        [namespace, kind, name] => (namespace, Some(kind), name),
        _ => return Err(format!("FROM {text}: write NAMESPACE/NAME, as in shop/client")),
    };
    type Is = fn(&Workload, &str) -> bool;
    let kinds: [(&str, Is); 3] = [
        ("pod", |workload, name| workload.name == name),
        ("deployment", |workload, name| workload.kind != WorkloadKind::Pod && workload.workload_name == name),
        ("sa", |workload, name| workload.service_account == name),
    ];
    if let Some(kind) = kind.filter(|kind| !kinds.iter().any(|(known, _)| known == kind)) {
        return Err(format!("FROM {text}: {kind:?} is none of pod, deployment, sa"));
    }
    for (_, is) in kinds.iter().filter(|(known, _)| kind.is_none_or(|kind| kind == *known)) {
        let mut found: Vec<&Arc<Workload>> = look
            .world
            .workloads()
            .filter(|workload| {
                workload.namespace == namespace && workload.uid.contains("//Pod/") && is(workload, name)
            })
            .collect();
        found.sort_by_key(|workload| (!workload.healthy, workload.uid.clone()));
        if let Some(first) = found.first() {
            return Ok(Arc::clone(first));
        }
    }
    let mut known: Vec<&str> = look
        .world
        .workloads()
        .filter(|workload| workload.namespace == namespace)
        .map(|workload| workload.workload_name.as_str())
        .collect();
    known.sort_unstable();
    known.dedup();
    let known = if known.is_empty() { "nothing that runs".to_owned() } else { known.join(", ") };
    Err(format!(
        "FROM {text}: no pod, Deployment or service account of a pod is called so; in {namespace} there is {known}"
    ))
}

/// The service that a name stands for.
fn service<'a>(look: &'a Look, source: &Workload, host: &str) -> Option<&'a Arc<Service>> {
    match host.split_once('/') {
        Some((namespace, name)) => {
            look.world.services().find(|service| service.short == name && service.name.namespace == namespace)
        }
        None => look.world.service_called(host, &source.namespace),
    }
}

/// The address that is called, and how it was found; or the layer that says why there is none.
pub(super) fn destination(
    look: &Look,
    source: &Workload,
    to: &To,
) -> Result<(SocketAddr, String), Box<Layer>> {
    let stop = |code, what: String, fix: String| Box::new(Layer::stopped("name", code, what).fix(fix));
    if let (Ok(ip), Some(port)) = (to.host.parse::<IpAddr>(), to.port) {
        return Ok((SocketAddr::new(ip, port), "an address was given; no name is looked up".to_owned()));
    }
    if let Some(service) = service(look, source, &to.host) {
        let ports: Vec<String> = service.ports.iter().map(|port| port.service.to_string()).collect();
        let port = match (to.port, &service.ports[..]) {
            (Some(port), _) => port,
            (None, [only]) => only.service,
            (None, _) => {
                let what = format!("Service {} has the ports {}: which?", service.name, ports.join(", "));
                return Err(stop(&codes::NO_PORT, what, format!("{}:PORT", to.host)));
            }
        };
        if let Some(ip) = service.addresses.first() {
            return Ok((SocketAddr::new(*ip, port), format!("Service {}, {ip}", service.name)));
        }
        // Headless: the name stands for the pods themselves, and the port is theirs.
        let ready = look.world.endpoints(&service.name).find(|workload| workload.healthy);
        return match ready.and_then(|workload| workload.addresses.first()) {
            Some(ip) => {
                Ok((SocketAddr::new(*ip, port), format!("Service {} (headless), its pod {ip}", service.name)))
            }
            None => Err(stop(
                &codes::NO_ENDPOINT,
                format!(
                    "Service {} is headless, and none of its pods is ready: the name has no address",
                    service.name
                ),
                codes::NO_ENDPOINT.fix.to_owned(),
            )),
        };
    }
    let (namespace, name) = to.host.split_once('/').unwrap_or((&source.namespace, &to.host));
    let pod =
        look.world.workloads().find(|workload| workload.namespace == namespace && workload.name == name);
    let Some(pod) = pod else {
        let mut similar: Vec<String> = look
            .world
            .services()
            .filter(|service| service.short == to.host.split('.').next().unwrap_or_default())
            .map(|service| service.name.hostname.clone())
            .collect();
        similar.sort();
        let fix = match similar.is_empty() {
            true => codes::NAME_UNKNOWN.fix.to_owned(),
            false => format!("there is {}", similar.join(", ")),
        };
        let what = format!("{} is no Service as seen from {}, and no pod", to.host, source.namespace);
        return Err(stop(&codes::NAME_UNKNOWN, what, fix));
    };
    let Some(port) = to.port else {
        return Err(stop(
            &codes::NO_PORT,
            format!("pod {}: which port?", to.host),
            format!("{}:PORT", to.host),
        ));
    };
    match pod.addresses.first() {
        Some(ip) => Ok((SocketAddr::new(*ip, port), format!("pod {namespace}/{name}, {ip}"))),
        None => Err(stop(
            &codes::NO_ENDPOINT,
            format!("pod {namespace}/{name} has no address yet"),
            format!("kubectl -n {namespace} describe pod {name}"),
        )),
    }
}
