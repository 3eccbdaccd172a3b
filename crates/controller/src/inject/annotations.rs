//! What a pod's annotations say of its redirection.

use serde_json::Value;

use super::Refusal;
use crate::names::{OPAQUE_PORTS, SKIP_INBOUND_PORTS, SKIP_OUTBOUND_PORTS, SKIP_OUTBOUND_SUBNETS};

/// What goes around the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirected {
    /// Ports that the pod is called on.
    pub skip_inbound_ports: Vec<u16>,
    /// Ports that it calls.
    pub skip_outbound_ports: Vec<u16>,
    /// Networks that it calls, `ADDRESS/LENGTH`.
    pub skip_outbound_subnets: Vec<String>,
}

impl Redirected {
    /// Reads annotations.
    ///
    /// # Errors
    ///
    /// When one has no ports or networks in it.
    pub fn read(annotations: &Value) -> Result<Self, Refusal> {
        // Nothing is looked into yet, so that every port is opaque; a wrong one is a mistake all the same.
        ports(annotations, OPAQUE_PORTS)?;
        let subnets = entries(annotations, SKIP_OUTBOUND_SUBNETS)
            .map(|entry| match is_network(entry) {
                true => Ok(entry.to_owned()),
                false => Err(wrong(SKIP_OUTBOUND_SUBNETS, entry, "no network, as in 10.1.0.0/16")),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            skip_inbound_ports: ports(annotations, SKIP_INBOUND_PORTS)?,
            skip_outbound_ports: ports(annotations, SKIP_OUTBOUND_PORTS)?,
            skip_outbound_subnets: subnets,
        })
    }
}

fn entries<'a>(annotations: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    let text = annotations[name].as_str().unwrap_or_default();
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn ports(annotations: &Value, name: &str) -> Result<Vec<u16>, Refusal> {
    let port = |entry: &str| entry.parse::<u16>().ok().filter(|port| *port > 0);
    entries(annotations, name)
        .map(|entry| port(entry).ok_or_else(|| wrong(name, entry, "no port from 1 to 65535")))
        .collect()
}

fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    match (address.parse::<std::net::IpAddr>(), length.parse::<u8>()) {
        (Ok(address), Ok(length)) => length <= if address.is_ipv4() { 32 } else { 128 },
        _ => false,
    }
}

fn wrong(name: &str, entry: &str, why: &str) -> Refusal {
    Refusal::new(format!("metadata.annotations[{name}]"), format!("{entry:?} is {why}"))
}
