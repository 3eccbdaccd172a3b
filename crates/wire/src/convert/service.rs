//! Services.

use model::mesh::{Service, ServiceName};

use super::{
    Context, Invalid, Result, address_from_wire, address_to_wire, port_to_wire, ports_from_wire, service_name,
};
use crate::proto::workload as proto;

pub(super) fn to_wire(service: &Service) -> proto::Service {
    let address = |address: &std::net::IpAddr| proto::NetworkAddress {
        network: String::new(),
        address: address_to_wire(*address),
        length: None,
    };
    proto::Service {
        name: service.short.clone(),
        namespace: service.name.namespace.clone(),
        hostname: service.name.hostname.clone(),
        addresses: service.addresses.iter().map(address).collect(),
        ports: service.ports.iter().map(port_to_wire).collect(),
        subject_alt_names: service.subject_alt_names.clone(),
        canonical: true,
        ..proto::Service::default()
    }
}

/// A gateway in front of a service is passed over: the workloads behind it are called themselves, and refuse who may not.
pub(super) fn from_wire(message: proto::Service, context: &Context) -> Result<Service> {
    let name = ServiceName { namespace: message.namespace, hostname: message.hostname };
    if service_name(&name.to_string()).as_ref() != Some(&name) {
        return Err(Invalid::new("hostname", format!("{name} is no name of a service")));
    }
    let mut addresses = Vec::new();
    for (at, address) in message.addresses.iter().enumerate() {
        let field = format!("addresses[{at}].address");
        let ip = address_from_wire(&field, &address.address)?.to_canonical();
        // A range of addresses is nobody's address, and one of another network is not ours to call.
        let whole = address.length.is_none_or(|length| length == if ip.is_ipv4() { 32 } else { 128 });
        if whole && address.network == context.network {
            addresses.push(ip);
        }
    }
    Ok(Service {
        name,
        short: message.name,
        addresses,
        ports: ports_from_wire(&message.ports)?,
        subject_alt_names: message.subject_alt_names,
    })
}
