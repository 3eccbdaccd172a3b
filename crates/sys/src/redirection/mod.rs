//! What is redirected in a pod's network, and how: the pod's calls to its proxy, and what arrives for it.
//!
//! [`Redirection`] is what a person decides; `rules` makes packet rules of it, which `text` shows and `encode` gives
//! to the kernel; `read` asks what of them is in force; `routing` leads answers to foreign addresses back.

mod encode;
mod read;
mod routing;
mod rules;
mod subnet;
mod text;

#[cfg(test)]
mod tests;

use std::io;

pub use read::{InForce, in_force};
pub use subnet::{NotASubnet, Subnet};

/// The port of HBONE: it is the proxy's own, and never redirected.
const HBONE: u16 = 15008;
/// Metrics and readiness of the proxy.
const METRICS: u16 = 15020;
const READINESS: u16 = 15021;
/// Each exception is a rule that a packet passes; far more than anybody has.
const EXCEPTIONS: usize = 256;
/// The connection tracking of connections that the proxy makes to its application. Such a one may have the addresses
/// and ports of a client's that was redirected, and must not be taken for it.
const ZONE: u16 = 1;

/// What is redirected in the network of one pod. The defaults are those of Istio's data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// Where the pod's calls go: 15001.
    pub outbound_port: u16,
    /// Where plain connections to the pod go: 15006.
    pub inbound_port: u16,
    /// The mark of the proxy's own sockets, which are never redirected: 1337.
    pub mark: u32,
    /// The mark of answers that have to come back to the proxy: 0x111.
    pub answer_mark: u32,
    /// The routing table that leads them there: 100.
    pub table: u32,
    /// A user whose calls are not redirected either, for a proxy without the right to mark its sockets.
    pub proxy_uid: Option<u32>,
    /// What the pod calls without its proxy.
    pub outbound: Exceptions,
    /// The only networks that it calls through its proxy; none of them: all.
    pub only_outbound_subnets: Vec<Subnet>,
    /// Ports at which the pod is called without its proxy.
    pub inbound_ports: Vec<u16>,
    /// Who reaches which port without the proxy: kubelet's TCP probes, which ask no more than whether a connection is
    /// taken. The proxy takes each, and would answer for an application that is away.
    pub probes: Vec<(Subnet, u16)>,
}

/// What is not redirected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    /// TCP ports of the destination.
    pub ports: Vec<u16>,
    /// Networks of the destination.
    pub subnets: Vec<Subnet>,
}

impl Default for Redirection {
    fn default() -> Self {
        Self {
            outbound_port: 15001,
            inbound_port: 15006,
            mark: 1337,
            answer_mark: 0x111,
            table: 100,
            proxy_uid: None,
            // Long answers of the DNS come by TCP; names are not the mesh's business, as with UDP.
            outbound: Exceptions { ports: vec![53], subnets: Vec::new() },
            only_outbound_subnets: Vec::new(),
            inbound_ports: Vec::new(),
            probes: Vec::new(),
        }
    }
}

/// Why rules are not in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// They contradict themselves; nothing was asked of the kernel.
    #[error("{0}")]
    Invalid(String),
    /// The kernel did not take them; what was in force before is so still.
    #[error("the kernel refuses {what}: {source}")]
    Kernel {
        /// Which part.
        what: &'static str,
        /// Why. `PermissionDenied`: `CAP_NET_ADMIN` is missing in this network namespace.
        source: io::Error,
    },
}

impl Redirection {
    /// Whether it makes sense.
    ///
    /// # Errors
    ///
    /// What contradicts itself, as [`Error::Invalid`].
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Invalid(what));
        if self.outbound_port == self.inbound_port {
            return refuse(format!("port {} cannot take calls and arrivals alike", self.inbound_port));
        }
        for port in [self.outbound_port, self.inbound_port] {
            if port == 0 || [HBONE, METRICS, READINESS].contains(&port) {
                return refuse(format!("nothing can be redirected to port {port}"));
            }
            if self.inbound_ports.contains(&port) || self.probes.iter().any(|(_, own)| *own == port) {
                return refuse(format!("port {port} is the proxy's: it cannot be excepted"));
            }
        }
        if self.mark == 0 || self.answer_mark == 0 || self.mark == self.answer_mark {
            return refuse(format!(
                "the marks {} and {} do not tell sockets apart",
                self.mark, self.answer_mark
            ));
        }
        // `unspec`, `default`, `main` and `local` are the system's; above 255 older tools do not see it.
        if !(1..=252).contains(&self.table) {
            return refuse(format!("routing table {} is none of 1 to 252", self.table));
        }
        if self.proxy_uid == Some(0) {
            return refuse("user 0 cannot be excepted: most applications could go round the mesh".to_owned());
        }
        let lists = [
            self.outbound.ports.len(),
            self.outbound.subnets.len(),
            self.only_outbound_subnets.len(),
            self.inbound_ports.len(),
            self.probes.len(),
        ];
        if lists.iter().any(|length| *length > EXCEPTIONS) {
            return refuse(format!("more than {EXCEPTIONS} exceptions of a kind"));
        }
        Ok(())
    }

    /// The same rules as text, in the language of nft(8); then what is put beside them, as comments in that of ip(8).
    pub fn describe(&self) -> String {
        format!("{}{}", text::table(&self.chains(true)), routing::describe(self))
    }

    /// Puts the rules in force in the network of the calling thread, in place of those that were. Open connections are
    /// not touched. The packet rules are one transaction of the kernel: all of them, or none.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] before anything is done; [`Error::Kernel`] with everything as it was.
    pub fn apply(&self) -> Result<(), Error> {
        self.validate()?;
        let made = routing::add(self)?;
        encode::replace(&self.chains(true)).map_err(|source| {
            made.undo();
            Error::Kernel { what: "the packet rules", source }
        })
    }

    /// Redirects nothing new, and leaves what open connections need: they go on through the proxy.
    ///
    /// # Errors
    ///
    /// As [`Redirection::apply`].
    pub fn release(&self) -> Result<(), Error> {
        self.validate()?;
        encode::replace(&self.chains(false))
            .map_err(|source| Error::Kernel { what: "the packet rules", source })
    }

    /// Takes everything away. Connections that were redirected end: nobody translates their addresses any more.
    ///
    /// # Errors
    ///
    /// [`Error::Kernel`]. What is not there is no error.
    pub fn remove(&self) -> Result<(), Error> {
        encode::remove().map_err(|source| Error::Kernel { what: "to delete the packet rules", source })?;
        routing::remove(self)
    }
}
