//! What a pod's annotations say of its redirection.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::Refusal;
use crate::names::{OPAQUE_PORTS, SKIP_INBOUND_PORTS, SKIP_OUTBOUND_PORTS, SKIP_OUTBOUND_SUBNETS};

/// Each is a rule that every packet passes; a few are reserved.
const MOST: usize = 250;

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
        // It redirects nothing ([`opaque_ports`]); a wrong one is a mistake all the same.
        ports(annotations, OPAQUE_PORTS)?;
        for name in [SKIP_INBOUND_PORTS, SKIP_OUTBOUND_PORTS, SKIP_OUTBOUND_SUBNETS] {
            if entries(annotations, name).count() > MOST {
                return Err(Refusal::new(
                    format!("metadata.annotations[{name}]"),
                    format!("more than {MOST} entries"),
                ));
            }
        }
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

/// The ports of a pod on which it is not looked at what is spoken, as far as they are ports.
pub fn opaque_ports(annotations: Option<&BTreeMap<String, String>>) -> Vec<u16> {
    let text = annotations.and_then(|all| all.get(OPAQUE_PORTS)).map(String::as_str).unwrap_or_default();
    text.split(',').filter_map(|entry| entry.trim().parse().ok()).collect()
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

/// As the rules take it: no bit of the address beyond its length.
fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    match address {
        IpAddr::V4(address) => length <= 32 && address.to_bits().checked_shl(length).unwrap_or_default() == 0,
        IpAddr::V6(address) => {
            length <= 128 && address.to_bits().checked_shl(length).unwrap_or_default() == 0
        }
    }
}

fn wrong(name: &str, entry: &str, why: &str) -> Refusal {
    Refusal::new(format!("metadata.annotations[{name}]"), format!("{entry:?} is {why}"))
}
