//! Modes: in our words, within the workload itself; and in Istio's, as policies that deny plain text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::mesh::policy::{Action, Clause, Field, Match, Rule, Scope, Text};
use model::mesh::{Mode, Modes, Policy, PortModes};
use prost::Message as _;

use super::{Invalid, Result, is_strict, port_number};
use crate::proto::mesh::{self as proto, MODES_EXTENSION, MODES_TYPE};
use crate::proto::{Any, Extension};

/// The namespace of policies that say in Istio's words how a workload is called. No object of a cluster is in it: names
/// there have no underscore.
pub const MODES_NAMESPACE: &str = "handfast_modes";

/// The modes of a workload, for proxies that know what they are; none where they are as if nothing was said.
pub(super) fn to_wire(modes: &Modes) -> Vec<Extension> {
    if *modes == Modes::default() {
        return Vec::new();
    }
    let message = proto::Modes {
        inbound: Some(port_modes_to_wire(&modes.inbound)),
        outbound: Some(port_modes_to_wire(&modes.outbound)),
    };
    let config = Any { type_url: MODES_TYPE.to_owned(), value: message.encode_to_vec().into() };
    vec![Extension { name: MODES_EXTENSION.to_owned(), config: Some(config) }]
}

fn port_modes_to_wire(modes: &PortModes) -> proto::PortModes {
    let mode = |mode: Mode| match mode {
        Mode::Disabled => proto::Mode::Disabled.into(),
        Mode::Permissive => proto::Mode::Permissive.into(),
        Mode::Strict => proto::Mode::Strict.into(),
    };
    let ports = modes.ports.iter().map(|(port, own)| (u32::from(*port), mode(*own))).collect();
    proto::PortModes { all: mode(modes.all), ports }
}

/// The modes of a workload. One of a control plane that knows of none takes plain text, as it would there; what keeps it
/// from that are the policies that it lists.
pub(super) fn from_wire(extensions: &[Extension]) -> Result<Option<Modes>> {
    let field = || format!("extensions[{MODES_EXTENSION}]");
    let mut ours = extensions.iter().filter(|extension| extension.name == MODES_EXTENSION);
    let Some(extension) = ours.next() else { return Ok(None) };
    if ours.next().is_some() {
        return Err(Invalid::new(field(), "it is there twice"));
    }
    let config = extension.config.as_ref().filter(|config| config.type_url == MODES_TYPE);
    let Some(config) = config else { return Err(Invalid::new(field(), format!("it is no {MODES_TYPE}"))) };
    let message = proto::Modes::decode(config.value.clone())
        .map_err(|error| Invalid::new(field(), format!("it cannot be decoded: {error}")))?;
    if message.encoded_len() != config.value.len() {
        return Err(Invalid::new(field(), "it has a field that is not known"));
    }
    let side = |name: &str, modes: Option<proto::PortModes>| {
        let modes = modes.ok_or_else(|| Invalid::new(name, "it is not said"));
        modes.and_then(|modes| port_modes_from_wire(&modes).map_err(|error| error.within(name)))
    };
    let both = side("inbound", message.inbound).and_then(|inbound| {
        let outbound = side("outbound", message.outbound)?;
        Ok(Modes { inbound, outbound })
    });
    both.map(Some).map_err(|error| error.within(field()))
}

fn port_modes_from_wire(modes: &proto::PortModes) -> Result<PortModes> {
    let mode = |field: String, number: i32| match proto::Mode::try_from(number) {
        Ok(proto::Mode::Disabled) => Ok(Mode::Disabled),
        Ok(proto::Mode::Permissive) => Ok(Mode::Permissive),
        Ok(proto::Mode::Strict) => Ok(Mode::Strict),
        Ok(proto::Mode::Unspecified) | Err(_) => {
            Err(Invalid::new(field, format!("there is no mode {number}")))
        }
    };
    let mut ports = BTreeMap::new();
    for (port, own) in &modes.ports {
        ports.insert(port_number("ports", *port)?, mode(format!("ports[{port}]"), *own)?);
    }
    Ok(PortModes { all: mode("all".to_owned(), modes.all)?, ports })
}

/// What takes the place of modes that make no sense: nothing in plain text, in either direction.
pub(super) fn closed() -> Modes {
    Modes { inbound: Mode::Strict.into(), outbound: Mode::Strict.into() }
}

/// The policy by which Istio's proxies refuse plain text as these modes ask for; none where they ask for nothing. It is
/// the same for the same modes, so that workloads share it, and its name says what it does.
///
/// Our own proxies pass it over: they know the modes, and have refused plain text by them before any policy is asked. It
/// denies nobody who has an identity, so it would decide nothing; it could only be missing.
pub fn strict_policy(inbound: &PortModes) -> Option<Policy> {
    let ports = |strict: bool| -> Vec<u16> {
        let those = inbound.ports.iter().filter(|(_, mode)| is_strict(**mode) == strict);
        those.map(|(port, _)| *port).collect()
    };
    let (word, destination_ports) = if is_strict(inbound.all) {
        ("except", Field { any: Vec::new(), none: ports(false) })
    } else {
        ("on", Field { any: ports(true), none: Vec::new() })
    };
    if !is_strict(inbound.all) && destination_ports.any.is_empty() {
        return None;
    }
    let mut name = "strict".to_owned();
    let listed = destination_ports.any.iter().chain(&destination_ports.none);
    for (at, port) in listed.enumerate() {
        if at == 0 {
            // Writing to a string cannot fail.
            let _ = write!(name, "_{word}");
        }
        let _ = write!(name, "_{port}");
    }
    let nobody = Field { any: Vec::new(), none: vec![Text::Presence] };
    let part = Match { principals: nobody, destination_ports, ..Match::default() };
    Some(Policy {
        namespace: MODES_NAMESPACE.to_owned(),
        name,
        scope: Scope::Selected,
        action: Action::Deny,
        rules: vec![Rule { clauses: vec![Clause { matches: vec![part] }] }],
        dry_run: false,
    })
}
