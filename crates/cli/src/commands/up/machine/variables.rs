//! What processes are told of Services in their environment, as Kubernetes does.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::mesh::Service;

/// Adds the variables of a Service's port, number `number` of its ports, which is called at `at`.
pub fn tell(given: &mut BTreeMap<String, String>, service: &Service, number: usize, at: SocketAddr) {
    let prefix = service.short.to_uppercase().replace(['-', '.'], "_");
    let (host, port) = (at.ip().to_string(), at.port().to_string());
    if number == 0 {
        given.insert(format!("{prefix}_SERVICE_HOST"), host.clone());
        given.insert(format!("{prefix}_SERVICE_PORT"), port.clone());
    }
    if let Some(own) = service.ports.get(number) {
        given.insert(format!("{prefix}_PORT_{}_TCP_ADDR", own.service), host);
        given.insert(format!("{prefix}_PORT_{}_TCP_PORT", own.service), port);
    }
}
