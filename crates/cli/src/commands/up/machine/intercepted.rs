//! A pod whose network is its own: the proxy's sockets in it, and the rules that lead all of its TCP there.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};

use controller::mesh::Index;
use controller::names::MESH_USER;
use manifests::folder::LocalPod;
use model::codes::{mesh as codes, serving};
use model::mesh::HBONE_PORT;
use proxy::mesh::{Pod, Probes};

use super::network::{Sandbox, redirection};
use super::variables;
use crate::commands::mesh::{INBOUND, OUTBOUND};
use crate::failure::Failure;

/// Listens inside of a pod, and has its connections redirected. From then on nothing goes around the proxy, which need
/// not take connections yet.
pub fn listen(pod: &LocalPod, sandbox: &Sandbox) -> Result<(TcpListener, Pod), Failure> {
    let internal = |error| Failure::new(&model::codes::usage::INTERNAL, error);
    let listen = || Ok((sys::listen(OUTBOUND)?, sys::listen(INBOUND)?, sys::listen(HBONE_PORT)?));
    let opened: std::io::Result<_> = sandbox.namespace().run(listen).map_err(internal)?;
    let (outbound, inbound, hbone) = opened.map_err(|error| {
        Failure::new(&serving::LISTEN_FAILED, format!("inside of {}: {error}", pod.key()))
    })?;
    let redirected = sandbox.namespace().run(|| redirection().apply()).map_err(internal)?;
    redirected.map_err(|error| Failure::new(&codes::REDIRECTION, format!("{}: {error}", pod.key())))?;
    let own = Pod {
        outbound,
        inbound,
        mark: Some(MESH_USER),
        keeps_client_address: true,
        namespace: Some(sandbox.namespace().clone()),
        // Readiness is asked for from inside.
        probes: Probes::default(),
    };
    Ok((hbone, own))
}

/// Tells its processes of the Services of their namespace, where these really are.
pub fn tell(pod: &LocalPod, index: &Index, given: &mut BTreeMap<String, String>) {
    for service in index.services.iter().filter(|service| service.name.namespace == pod.namespace) {
        let Some(address) = service.addresses.first() else { continue };
        for (number, port) in service.ports.iter().enumerate() {
            variables::tell(given, service, number, SocketAddr::new(*address, port.service));
        }
    }
}
