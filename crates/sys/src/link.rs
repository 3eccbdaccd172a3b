//! Network interfaces of the calling thread's network: as much as it takes to connect namespaces on one machine
//! (rtnetlink(7), `linux/if_link.h`; numbers below are those headers').

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use crate::netlink::{Attributes, CREATE, EXCL, Messages};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
/// `IFLA_*`.
const HARDWARE: u16 = 1;
const NAME: u16 = 3;
const MASTER: u16 = 10;
const INFO: u16 = 18;
const NETWORK: u16 = 28;
/// `IFLA_INFO_*`, `VETH_INFO_PEER`.
const KIND: u16 = 1;
const DATA: u16 = 2;
const PEER: u16 = 1;
/// `IFF_UP`.
const UP: u32 = 1;

/// Takes an interface into use.
///
/// # Errors
///
/// When there is none of this name, or without `CAP_NET_ADMIN`.
pub fn up(name: &str) -> io::Result<()> {
    link(NEW_LINK, 0, UP, |link| link.text(NAME, name))
}

/// Makes a bridge, which forwards between its interfaces at once, and takes it into use.
///
/// # Errors
///
/// When the name is taken, the kernel has no bridges, or without `CAP_NET_ADMIN`.
pub fn bridge(name: &str) -> io::Result<()> {
    link(NEW_LINK, CREATE | EXCL, UP, |link| {
        link.text(NAME, name);
        link.nested(INFO, |info| info.text(KIND, "bridge"));
    })
}

/// Takes an interface away; of a pair, both.
///
/// # Errors
///
/// When there is none of this name, or without `CAP_NET_ADMIN`.
pub fn remove(name: &str) -> io::Result<()> {
    link(DELETE_LINK, 0, 0, |link| link.text(NAME, name))
}

/// The other end of a pair of interfaces.
pub struct Peer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its hardware address: one that follows from its IP address stays right in its neighbours' memories when another
    /// interface takes the IP address over.
    pub hardware: [u8; 6],
    /// The network that it is in.
    pub network: BorrowedFd<'a>,
}

/// Makes a pair of interfaces: one at a bridge of this network, in use; its peer in another network, not in use yet.
///
/// # Errors
///
/// When a name is taken, there is no such bridge, the kernel has no veth, or without `CAP_NET_ADMIN` in both networks.
pub fn veth(name: &str, bridge: &str, peer: &Peer<'_>) -> io::Result<()> {
    let bridge = index(bridge)?;
    link(NEW_LINK, CREATE | EXCL, UP, |link| {
        link.text(NAME, name);
        link.native(MASTER, bridge);
        link.nested(INFO, |info| {
            info.text(KIND, "veth");
            info.nested(DATA, |data| {
                data.nested(PEER, |other| {
                    other.fixed(&header(0));
                    other.text(NAME, peer.name);
                    other.bytes(HARDWARE, &peer.hardware);
                    other.native(NETWORK, peer.network.as_raw_fd() as u32);
                });
            });
        });
    })
}

/// Gives an interface an address, with the length of its network.
///
/// # Errors
///
/// When there is no such interface, it has the address already, or without `CAP_NET_ADMIN`.
pub fn address(name: &str, address: IpAddr, length: u8) -> io::Result<()> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (libc::AF_INET as u8, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6 as u8, address.octets().to_vec()),
    };
    // struct ifaddrmsg: family, length, flags, scope (everywhere), index.
    let mut fixed = vec![family, length, 0, 0];
    fixed.extend(index(name)?.to_ne_bytes());
    let mut messages = Messages::default();
    messages.push(NEW_ADDRESS, CREATE | EXCL, &fixed, |attributes| {
        // IFA_LOCAL, IFA_ADDRESS.
        attributes.bytes(2, &octets);
        attributes.bytes(1, &octets);
    });
    let last = messages.acknowledge();
    messages.send(None, last)
}

fn link(kind: u16, flags: u16, up: u32, body: impl FnOnce(&mut Attributes<'_>)) -> io::Result<()> {
    let mut messages = Messages::default();
    messages.push(kind, flags, &header(up), body);
    let last = messages.acknowledge();
    messages.send(None, last)
}

/// struct ifinfomsg: family, type, index, flags, and which of these are meant.
fn header(flags: u32) -> [u8; 16] {
    let mut fixed = [0; 16];
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&flags.to_ne_bytes());
    fixed
}

fn index(name: &str) -> io::Result<u32> {
    let any = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(netdevice::name_to_index(any.as_fd(), name)?)
}
