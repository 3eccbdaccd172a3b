//! The model of the mesh to messages, and back. Both ways are total, and what comes back decides as what went in.
//!
//! What is read was written by somebody else, maybe by a newer control plane than this. So whatever decides and is not
//! understood closes what it would apply to (invariant 5): it is [`Refused`], with the field that is wrong and with what
//! takes its place until it is mended. Nothing is taken in by half.

mod modes;
mod policy;
mod service;
mod trust;
mod workload;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use model::identity::TrustDomain;
use model::mesh::policy::Scope;
use model::mesh::{AppProtocol, Change, Mode, Policy, Port, Service, ServiceName, Workload};
use prost::Message as _;

use crate::catalog::Type;
use crate::proto::{security, workload as proto};

pub use modes::{MODES_NAMESPACE, strict_policy};
pub use trust::{read_trust, trust_resource};

/// What messages leave out, because everybody in the mesh knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The trust domain of a workload that says none.
    pub trust_domain: TrustDomain,
    /// The network that addresses have to be of to be called; Istio's default is the empty one.
    pub network: String,
}

/// A field that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct Invalid {
    /// Its path within the message: `services[shop/web].ports[0].target_port`.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
}

impl Invalid {
    pub(crate) fn of(field: &str, what: impl Into<String>) -> Self {
        Self::new(field, what)
    }

    fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self { field: field.into(), what: what.into() }
    }

    fn within(mut self, outer: impl fmt::Display) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

type Result<T, E = Invalid> = std::result::Result<T, E>;

/// A resource that is not taken in.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What is wrong with it.
    pub error: Invalid,
    /// What takes its place.
    pub instead: Instead,
}

/// What takes the place of a resource that makes no sense.
#[derive(Clone, Debug)]
pub enum Instead {
    /// What was known before stays.
    Before,
    /// What was known before stays; where nothing was, this is taken.
    Else(Box<Change>),
    /// This, whatever was known before.
    Always(Box<Change>),
}

impl Instead {
    fn always(change: Change) -> Self {
        Self::Always(Box::new(change))
    }
}

impl From<Invalid> for Refused {
    fn from(error: Invalid) -> Self {
        Self { error, instead: Instead::Before }
    }
}

/// The name of a workload's resource, and its content.
pub fn workload_resource(workload: &Workload) -> (String, Bytes) {
    let r#type = Some(proto::AddressType::Workload(workload::to_wire(workload)));
    (workload.uid.clone(), proto::Address { r#type }.encode_to_vec().into())
}

/// The name of a service's resource, and its content.
pub fn service_resource(service: &Service) -> (String, Bytes) {
    let r#type = Some(proto::AddressType::Service(service::to_wire(service)));
    (service.name.to_string(), proto::Address { r#type }.encode_to_vec().into())
}

/// The name of a policy's resource, and its content.
pub fn policy_resource(policy: &Policy) -> (String, Bytes) {
    (policy.key(), policy::to_wire(policy).encode_to_vec().into())
}

/// Reads an `istio.workload.Address` that was sent by this name.
///
/// # Errors
///
/// Where it cannot be decoded, a field makes no sense, or it is another's than the name says.
pub fn read_address(name: &str, bytes: &[u8], context: &Context) -> Result<Change, Refused> {
    let address = proto::Address::decode(bytes).map_err(|error| undecodable(&error))?;
    let (own, change) = match address.r#type {
        Some(proto::AddressType::Workload(message)) => {
            let workload = workload::from_wire(message, context)?;
            (workload.uid.clone(), Change::Workload(workload))
        }
        Some(proto::AddressType::Service(message)) => {
            let service = service::from_wire(message, context)?;
            (service.name.to_string(), Change::Service(service))
        }
        None => return Err(Invalid::new("type", "it is neither a workload nor a service").into()),
    };
    same_name(name, &own)?;
    Ok(change)
}

/// Reads an `istio.security.Authorization` that was sent by this name; none for one that only says in Istio's words what a
/// workload's modes say in ours.
///
/// # Errors
///
/// Where any of it is not understood, also a field that is not known: a condition that is passed over would let in whom
/// it keeps out.
pub fn read_authorization(name: &str, bytes: &[u8]) -> Result<Option<Change>, Refused> {
    let closed = |error: Invalid, scope: Scope| Refused {
        error,
        instead: Instead::always(Change::PolicyUnknown { key: name.to_owned(), scope }),
    };
    let message = security::Authorization::decode(bytes)
        .map_err(|error| unreadable(Type::Authorization, name, undecodable(&error)))?;
    let scope = policy::scope(message.scope).map_err(|error| closed(error, Scope::Global))?;
    let dry_run = message.dry_run;
    let whole = message.encoded_len() == bytes.len();
    let read = same_name(name, &format!("{}/{}", message.namespace, message.name))
        .and_then(
            |()| if whole { Ok(()) } else { Err(Invalid::new("?", "it has a field that is not known")) },
        )
        .and_then(|()| policy::from_wire(message));
    match read {
        Ok(policy) if policy.namespace == MODES_NAMESPACE && policy.scope == Scope::Selected => Ok(None),
        Ok(policy) => Ok(Some(Change::Policy(policy))),
        Err(error) if dry_run => Err(Refused { error, instead: Instead::always(tried(name, scope)) }),
        Err(error) => Err(closed(error, scope)),
    }
}

/// A resource of which nothing is known but its name.
pub(crate) fn unreadable(of: Type, name: &str, error: Invalid) -> Refused {
    let instead = match of {
        Type::Address | Type::Trust => Instead::Before,
        // Whom it was meant for is not known: it may have been anybody.
        Type::Authorization => {
            Instead::always(Change::PolicyUnknown { key: name.to_owned(), scope: Scope::Global })
        }
    };
    Refused { error, instead }
}

/// In place of a policy that is only tried and not understood: whoever lists it finds it, and it says nothing.
fn tried(name: &str, scope: Scope) -> Change {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    Change::Policy(Policy {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        scope,
        action: model::mesh::policy::Action::Deny,
        rules: Vec::new(),
        dry_run: true,
    })
}

fn undecodable(error: &prost::DecodeError) -> Invalid {
    Invalid::new("?", format!("it cannot be decoded: {error}"))
}

fn same_name(name: &str, own: &str) -> Result<()> {
    if name == own {
        return Ok(());
    }
    Err(Invalid::new("name", format!("it was sent as {name:?}, and is {own:?}")))
}

/// A Service's name as `namespace/hostname`.
pub(crate) fn service_name(text: &str) -> Option<ServiceName> {
    let (namespace, hostname) = text.split_once('/')?;
    let whole = !namespace.is_empty() && !hostname.is_empty() && !hostname.contains('/');
    whole.then(|| ServiceName { namespace: namespace.to_owned(), hostname: hostname.to_owned() })
}

fn address_to_wire(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_from_wire(field: impl fmt::Display, bytes: &[u8]) -> Result<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(octets));
    }
    <[u8; 16]>::try_from(bytes).map(IpAddr::from).map_err(|_| {
        Invalid::new(field.to_string(), format!("an address has 4 bytes or 16, and this has {}", bytes.len()))
    })
}

fn port_number(field: impl fmt::Display, number: u32) -> Result<u16> {
    u16::try_from(number).map_err(|_| Invalid::new(field.to_string(), format!("{number} is no port")))
}

fn port_to_wire(port: &Port) -> proto::Port {
    let app_protocol = match port.protocol {
        AppProtocol::Unknown => proto::AppProtocol::Unknown,
        AppProtocol::Http11 => proto::AppProtocol::Http11,
        AppProtocol::Http2 => proto::AppProtocol::Http2,
        AppProtocol::Grpc => proto::AppProtocol::Grpc,
        AppProtocol::Tcp => proto::AppProtocol::Tcp,
        AppProtocol::Tls => proto::AppProtocol::Tls,
    };
    proto::Port {
        service_port: port.service.into(),
        target_port: port.target.into(),
        app_protocol: app_protocol.into(),
    }
}

fn port_from_wire(port: &proto::Port) -> Result<Port> {
    // What is spoken decides nothing; one that is not known is as good as none.
    let protocol = match port.app_protocol() {
        proto::AppProtocol::Unknown => AppProtocol::Unknown,
        proto::AppProtocol::Http11 => AppProtocol::Http11,
        proto::AppProtocol::Http2 => AppProtocol::Http2,
        proto::AppProtocol::Grpc => AppProtocol::Grpc,
        proto::AppProtocol::Tcp => AppProtocol::Tcp,
        proto::AppProtocol::Tls => AppProtocol::Tls,
    };
    Ok(Port {
        service: port_number("service_port", port.service_port)?,
        target: port_number("target_port", port.target_port)?,
        protocol,
    })
}

fn ports_from_wire(ports: &[proto::Port]) -> Result<Vec<Port>> {
    let numbered = ports.iter().enumerate();
    numbered
        .map(|(at, port)| port_from_wire(port).map_err(|error| error.within(format!("ports[{at}]"))))
        .collect()
}

/// Whether a port takes plain text.
fn is_strict(mode: Mode) -> bool {
    mode == Mode::Strict
}
