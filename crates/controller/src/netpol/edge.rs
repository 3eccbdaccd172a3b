//! A declared edge: `client=web:8443`, `shop/client=web:https`, `10.0.0.0/8=web`, `web=203.0.113.0/24:443`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::Error;

/// One end of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A Service or a workload, in a namespace or in that of the other end.
    Named {
        /// Where it is, when that was said.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
    /// Addresses outside of the cluster's pods.
    Network(String),
}

/// A port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortName {
    /// The number of the Service's port.
    Number(u16),
    /// Its name.
    Name(String),
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Who may call whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Who opens the connection.
    pub client: Side,
    /// Who accepts it.
    pub server: Side,
    /// The server's port; all of its ports without one.
    pub port: Option<PortName>,
    /// Where this was declared, for messages.
    pub origin: String,
}

impl FromStr for Edge {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Edge { edge: text.to_owned(), why: why.to_owned() };
        let (client, server) =
            text.split_once('=').ok_or_else(|| wrong("write CLIENT=SERVER[:PORT], as in client=web:8443"))?;
        let (client, none) = side(client.trim()).map_err(|why| wrong(&why))?;
        if none.is_some() {
            return Err(wrong("only the server has a port; a client's port is any"));
        }
        let (server, port) = side(server.trim()).map_err(|why| wrong(&why))?;
        match (&client, &server) {
            (Side::Network(_), Side::Network(_)) => {
                return Err(wrong("one of its ends has to be a workload"));
            }
            (_, Side::Network(_)) if !matches!(port, Some(PortName::Number(_))) => {
                return Err(wrong("addresses need a port by number, as in web=203.0.113.0/24:443"));
            }
            _ => {}
        }
        Ok(Self { client, server, port, origin: format!("the edge {text}") })
    }
}

impl Edge {
    /// An edge from the annotation of a workload.
    pub fn call(namespace: &str, workload: &str, call: &str) -> Result<Self, Error> {
        let origin = format!("{} of {namespace}/{workload}", super::CALLS_ANNOTATION);
        let wrong = |why: String| Error::Edge { edge: format!("{origin}: {call}"), why };
        let (server, port) = side(call).map_err(wrong)?;
        if matches!(server, Side::Network(_)) && !matches!(port, Some(PortName::Number(_))) {
            return Err(wrong("addresses need a port by number, as in 203.0.113.0/24:443".to_owned()));
        }
        let client = Side::Named { namespace: Some(namespace.to_owned()), name: workload.to_owned() };
        Ok(Self { client, server, port, origin })
    }
}

fn side(text: &str) -> Result<(Side, Option<PortName>), String> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (network, rest) = rest.split_once(']').ok_or("the closing ] is missing")?;
            (
                network,
                rest.strip_prefix(':')
                    .or_else(|| rest.is_empty().then_some(""))
                    .ok_or("after ] comes :PORT")?,
            )
        }
        None if text.matches(':').count() > 1 => {
            (text, "") // IPv6 addresses without a port
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match (port, port.parse::<u16>()) {
        ("", _) => (!text.ends_with(':') || name == text)
            .then_some(None)
            .ok_or_else(|| "the port after : is missing".to_owned())?,
        (_, Ok(0)) => return Err("0 is no port".to_owned()),
        (_, Ok(number)) => Some(PortName::Number(number)),
        // A name of a port has a letter (RFC 6335, section 5.1).
        (name, Err(_))
            if is_name(name) && name.len() <= 15 && name.contains(|c: char| c.is_ascii_lowercase()) =>
        {
            Some(PortName::Name(name.to_owned()))
        }
        (other, _) => return Err(format!("{other:?} is no port")),
    };
    if let Some(network) = network(name)? {
        return Ok((Side::Network(network), port));
    }
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, name),
    };
    for part in namespace.into_iter().chain([name]) {
        if !is_name(part) {
            return Err(format!("{part:?} is no name of a Kubernetes object"));
        }
    }
    Ok((Side::Named { namespace: namespace.map(str::to_owned), name: name.to_owned() }, port))
}

/// The text as a network, when it is one: the prefix has to fit, because a cluster refuses or misreads others.
pub fn network(text: &str) -> Result<Option<String>, String> {
    let Some((address, prefix)) = text.rsplit_once('/') else { return Ok(None) };
    let Ok(address) = address.parse::<IpAddr>() else { return Ok(None) };
    let (bits, length) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    match prefix.parse::<u8>() {
        Ok(prefix) if prefix <= length => {
            let host =
                if prefix == 0 { u128::MAX } else { u128::MAX.checked_shr(prefix.into()).unwrap_or(0) };
            if bits & host != 0 {
                return Err(format!("{text} has bits set behind its prefix"));
            }
            Ok(Some(format!("{address}/{prefix}")))
        }
        _ => Err(format!("{text} has no valid prefix length")),
    }
}

fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 253
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
}
