//! Where a connection of a workload goes, and how securely.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{AppProtocol, HBONE_PORT, Mode, Owner, Port, Service, ServiceName, Tunnel, Workload, World};
use crate::codes::{Code, mesh};
use crate::identity::SpiffeId;

/// Where a connection goes.
#[derive(Clone, Debug)]
pub enum Route {
    /// Through HBONE: mutual TLS with one of the expected identities.
    Mesh {
        /// The workload.
        workload: Arc<Workload>,
        /// Where its proxy listens.
        proxy: SocketAddr,
        /// The `:authority` of CONNECT: the workload's own address and port.
        target: SocketAddr,
        /// Who may answer.
        identity: SpiffeId,
        /// The service that was called.
        service: Option<ServiceName>,
        /// What is spoken there.
        protocol: AppProtocol,
    },
    /// As it is.
    Plain {
        /// Where to.
        target: SocketAddr,
        /// Why it is not secured.
        why: Plain,
        /// The service that was called.
        service: Option<ServiceName>,
    },
}

/// Why a connection is not secured by the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plain {
    /// Nobody in the mesh has this address.
    Unknown,
    /// The workload is not in the mesh.
    NotInMesh,
    /// The caller's mode for this port is `disabled`, or the destination's.
    Disabled,
}

impl Plain {
    /// A label for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "destination_unknown",
            Self::NotInMesh => "destination_not_in_mesh",
            Self::Disabled => "disabled",
        }
    }
}

/// A connection that is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its code.
    pub code: &'static Code,
    /// The evidence, in one line.
    pub detail: String,
}

/// Finds the way from `source` to an address. `choose` picks one of so many endpoints.
///
/// # Errors
///
/// Where a service has no port of that number or nobody who takes connections; and, under `strict`, where the other
/// side could only be reached in plain text (invariant 3).
pub fn route(
    world: &World,
    source: &Workload,
    destination: SocketAddr,
    choose: impl FnOnce(usize) -> usize,
) -> Result<Route, Refused> {
    let destination = SocketAddr::new(destination.ip().to_canonical(), destination.port());
    let mode = source.modes.outbound.of(destination.port());
    match world.at(destination.ip()) {
        None => plain(mode, destination, Plain::Unknown, None),
        Some(Owner::Workload(workload)) => {
            let protocol = workload
                .services
                .values()
                .flatten()
                .find(|port| port.target == destination.port())
                .map_or(AppProtocol::Unknown, |port| port.protocol);
            to(mode, workload, destination, None, protocol)
        }
        Some(Owner::Service(service)) => {
            let (workload, port) = endpoint(world, &service, destination.port(), choose)?;
            let Some(ip) = workload
                .addresses
                .iter()
                .find(|ip| ip.is_ipv4() == destination.is_ipv4())
                .or(workload.addresses.first())
            else {
                return Err(nobody(&service, "its endpoint has no address"));
            };
            let target = SocketAddr::new(*ip, port.target);
            to(mode, workload, target, Some(service.name.clone()), port.protocol)
        }
    }
}

fn endpoint(
    world: &World,
    service: &Service,
    port: u16,
    choose: impl FnOnce(usize) -> usize,
) -> Result<(Arc<Workload>, Port), Refused> {
    let Some(own) = service.ports.iter().find(|own| own.service == port) else {
        let ports: Vec<String> = service.ports.iter().map(|port| port.service.to_string()).collect();
        return Err(Refused {
            code: &mesh::NO_PORT,
            detail: format!("{} has no port {port}; it has {}", service.name, ports.join(", ")),
        });
    };
    let all: Vec<(&Arc<Workload>, Port)> = world
        .endpoints(&service.name)
        .filter_map(|workload| {
            let ports = workload.services.get(&service.name)?;
            let found = ports.iter().find(|found| found.service == port)?;
            let protocol = if found.protocol == AppProtocol::Unknown { own.protocol } else { found.protocol };
            Some((workload, Port { protocol, ..*found }))
        })
        .collect();
    let ready: Vec<&(&Arc<Workload>, Port)> = all.iter().filter(|(workload, _)| workload.healthy).collect();
    match ready.get(choose(ready.len().max(1)) % ready.len().max(1)) {
        Some((workload, port)) => Ok((Arc::clone(workload), *port)),
        None if all.is_empty() => Err(nobody(service, "nobody is behind it")),
        None => Err(nobody(service, &format!("none of its {} workloads is ready", all.len()))),
    }
}

fn nobody(service: &Service, why: &str) -> Refused {
    Refused { code: &mesh::NO_ENDPOINT, detail: format!("{}: {why}", service.name) }
}

fn to(
    mode: Mode,
    workload: Arc<Workload>,
    target: SocketAddr,
    service: Option<ServiceName>,
    protocol: AppProtocol,
) -> Result<Route, Refused> {
    if mode == Mode::Disabled || workload.modes.inbound.of(target.port()) == Mode::Disabled {
        return plain(mode, target, Plain::Disabled, service);
    }
    if workload.tunnel == Tunnel::None {
        return plain(mode, target, Plain::NotInMesh, service);
    }
    let identity = workload.identity().map_err(|error| Refused {
        code: &mesh::NO_IDENTITY,
        detail: format!("{} has no identity: {error}", workload.uid),
    })?;
    let proxy = SocketAddr::new(target.ip(), HBONE_PORT);
    Ok(Route::Mesh { workload, proxy, target, identity, service, protocol })
}

fn plain(mode: Mode, target: SocketAddr, why: Plain, service: Option<ServiceName>) -> Result<Route, Refused> {
    if mode == Mode::Strict {
        let what = match why {
            Plain::Unknown => "no workload of the mesh has this address",
            Plain::NotInMesh => "the workload there is not in the mesh",
            Plain::Disabled => "mutual TLS is disabled there",
        };
        return Err(Refused {
            code: &mesh::WOULD_BE_PLAIN,
            detail: format!("{target} could be called in plain text only: {what}"),
        });
    }
    Ok(Route::Plain { target, why, service })
}
