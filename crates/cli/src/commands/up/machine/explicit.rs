//! The ways out of a pod whose connections cannot be redirected: its processes are told of a proxy, and of ports that
//! stand for Services.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};

use controller::mesh::Index;
use manifests::folder::LocalPod;
use model::codes::serving;
use model::mesh::HBONE_PORT;
use proxy::mesh::WayOut;

use super::variables;
use crate::failure::Failure;

/// The port of the explicit proxy at each pod's address.
const PROXY_PORT: u16 = 15080;

/// Listens for a pod: for tunnels, and at its ways out, of which `given` tells its processes.
pub fn listen(
    pod: &LocalPod,
    address: IpAddr,
    index: &Index,
    given: &mut BTreeMap<String, String>,
) -> Result<(TcpListener, Vec<WayOut>), Failure> {
    let listen = |port: u16| {
        TcpListener::bind((address, port)).map_err(|error| {
            Failure::new(&serving::LISTEN_FAILED, format!("{address}:{port} for {}: {error}", pod.key()))
        })
    };
    let local = |socket: &TcpListener| {
        socket.local_addr().map_err(|error| Failure::new(&serving::LISTEN_FAILED, error))
    };
    let hbone = listen(HBONE_PORT)?;
    let mut ways_out = vec![WayOut::Proxy(listen(PROXY_PORT)?)];
    // Kubernetes gives a pod the variables of its own namespace's Services (and of the API server).
    for service in index.services.iter().filter(|service| service.name.namespace == pod.namespace) {
        for (number, port) in service.ports.iter().enumerate() {
            let socket = listen(0)?;
            variables::tell(given, service, number, local(&socket)?);
            ways_out.push(WayOut::Mapped { socket, service: service.name.clone(), port: port.service });
        }
    }
    let (http, socks) =
        (format!("http://{address}:{PROXY_PORT}"), format!("socks5h://{address}:{PROXY_PORT}"));
    for (names, value) in [
        (["HTTP_PROXY", "http_proxy"], &http),
        (["HTTPS_PROXY", "https_proxy"], &http),
        (["ALL_PROXY", "all_proxy"], &socks),
        (["NO_PROXY", "no_proxy"], &format!("localhost,127.0.0.1,::1,{address}")),
    ] {
        for name in names {
            given.insert(name.to_owned(), value.clone());
        }
    }
    Ok((hbone, ways_out))
}
