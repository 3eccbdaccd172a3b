//! `handfast.mesh.v1`: modes in both directions and whom to trust, which nobody else has.

use std::collections::BTreeMap;

/// The type of [`Modes`] within an `Any`.
pub const MODES_TYPE: &str = "type.googleapis.com/handfast.mesh.v1.Modes";
/// The name of the extension of a workload that carries its [`Modes`].
pub const MODES_EXTENSION: &str = "handfast.dev/modes";

/// The type of [`Trust`] on the stream.
pub const TRUST_TYPE: &str = "type.googleapis.com/handfast.mesh.v1.Trust";

/// Whom the workloads of a trust domain believe.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Trust {
    /// The trust domain; also the resource's name.
    #[prost(string, tag = "1")]
    pub trust_domain: String,
    /// Every root that is trusted, PEM.
    #[prost(string, tag = "2")]
    pub roots: String,
    /// The authority that issues now.
    #[prost(string, tag = "3")]
    pub issuer: String,
    /// SHA-256 of its certificate (DER).
    #[prost(bytes = "vec", tag = "4")]
    pub issuer_fingerprint: Vec<u8>,
    /// Grows with each step of a rotation.
    #[prost(uint64, tag = "5")]
    pub step: u64,
}

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
