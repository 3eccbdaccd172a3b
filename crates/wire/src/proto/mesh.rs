//! `handfast.mesh.v1`: modes in both directions, which nobody else has.

use std::collections::BTreeMap;

/// The type of [`Modes`] within an `Any`.
pub const MODES_TYPE: &str = "type.googleapis.com/handfast.mesh.v1.Modes";
/// The name of the extension of a workload that carries its [`Modes`].
pub const MODES_EXTENSION: &str = "handfast.dev/modes";

/// How securely a workload is called, and calls.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Modes {
    /// Of connections to it.
    #[prost(message, optional, tag = "1")]
    pub inbound: Option<PortModes>,
    /// Of connections from it.
    #[prost(message, optional, tag = "2")]
    pub outbound: Option<PortModes>,
}

/// A mode, and other ones for some ports.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct PortModes {
    /// Where no port says otherwise.
    #[prost(enumeration = "Mode", tag = "1")]
    pub all: i32,
    /// By port.
    #[prost(btree_map = "uint32, enumeration(Mode)", tag = "2")]
    pub ports: BTreeMap<u32, i32>,
}

/// What is asked of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum Mode {
    /// Said by nobody: counts as strict.
    Unspecified = 0,
    /// Plain text.
    Disabled = 1,
    /// Mutual TLS where the other side can.
    Permissive = 2,
    /// Mutual TLS or nothing.
    Strict = 3,
}
