//! What of the packet rules the kernel has in the network of the calling thread. Only the chains that redirect are asked
//! for, and how many rules each has: whoever may change rules here could change one by hand, and nobody else.

use std::io;

use rustix::net::netlink;

use super::Error;
use super::encode::{INET, NFTABLES, TABLE};
use crate::netlink::{Messages, network_number};

/// `NFT_MSG_GETCHAIN`, `NFT_MSG_NEWCHAIN`.
const GET_CHAIN: u16 = 4;
const NEW_CHAIN: u16 = 3;
/// Netlink's header and nfnetlink's.
const HEADERS: usize = 16 + 4;

/// How many rules there are that redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// For what the pod calls.
    pub outbound: u32,
    /// For what calls the pod.
    pub inbound: u32,
}

impl InForce {
    /// Whether both directions are redirected.
    pub fn both(self) -> bool {
        self.outbound > 0 && self.inbound > 0
    }
}

/// Asks the kernel.
///
/// # Errors
///
/// [`Error::Kernel`], as without `CAP_NET_ADMIN`. That there are none is no error.
pub fn in_force() -> Result<InForce, Error> {
    let ask =
        |chain| rules(chain).map_err(|source| Error::Kernel { what: "to show the packet rules", source });
    Ok(InForce { outbound: ask("outbound")?, inbound: ask("inbound")? })
}

fn rules(chain: &str) -> io::Result<u32> {
    let mut messages = Messages::default();
    messages.push(NFTABLES << 8 | GET_CHAIN, 0, &[INET, 0, 0, 0], |attributes| {
        attributes.text(1, TABLE);
        attributes.text(3, chain);
    });
    let last = messages.acknowledge();
    let mut used = 0;
    let asked = messages.ask(Some(netlink::NETFILTER), last, |answer| {
        let kind = answer.get(4..6).and_then(|kind| Some(u16::from_ne_bytes(kind.try_into().ok()?)));
        if kind == Some(NFTABLES << 8 | NEW_CHAIN)
            && let Some(attributes) = answer.get(HEADERS..)
        {
            // NFTA_CHAIN_USE.
            used = network_number(attributes, 6).unwrap_or_default();
        }
    });
    match asked {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(0),
        asked => asked.map(|()| used),
    }
}
