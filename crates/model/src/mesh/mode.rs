//! How securely a workload is called, and calls: by port, in both directions.

use std::collections::BTreeMap;

/// What is asked of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Plain text; the mesh keeps out of it.
    Disabled,
    /// Mutual TLS where the other side can, else plain text, which is counted and said.
    #[default]
    Permissive,
    /// Mutual TLS with the expected identity, or nothing (invariant 3).
    Strict,
}

impl Mode {
    /// As it is written: `disabled`, `permissive`, `strict`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Permissive => "permissive",
            Self::Strict => "strict",
        }
    }
}

/// A mode, and other ones for some ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortModes {
    /// Where no port says otherwise.
    pub all: Mode,
    /// By port: of the workload for connections to it, of the destination for its own.
    pub ports: BTreeMap<u16, Mode>,
}

impl PortModes {
    /// The mode of a port.
    pub fn of(&self, port: u16) -> Mode {
        self.ports.get(&port).copied().unwrap_or(self.all)
    }
}

impl From<Mode> for PortModes {
    fn from(all: Mode) -> Self {
        Self { all, ports: BTreeMap::new() }
    }
}

/// Both directions. A mesh that is strict only where connections arrive lets a client whose proxy sees no identity
/// fall back to plain text; so the side that calls has a mode of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Connections to it.
    pub inbound: PortModes,
    /// Connections from it.
    pub outbound: PortModes,
}
