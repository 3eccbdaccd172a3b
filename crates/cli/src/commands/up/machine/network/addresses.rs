//! Addresses: one for each pod and each Service, which stay theirs while the machine is up. Without networks of their own
//! pods have loopback addresses: all of 127.0.0.0/8 is this machine's own on Linux, and no other machine's packet comes
//! from there. With networks of their own it is a private range that no route of the machine leads to, so that one address
//! does not mean two things.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

use model::codes::serving;
use model::mesh::HBONE_PORT;

use crate::failure::Failure;

/// The second number of addresses: the first block that nobody else has.
const BLOCKS: std::ops::Range<u8> = 77..127;
/// The bits of an address that all of a block share.
pub const LENGTH: u8 = 16;

/// The addresses that were given.
pub struct Addresses {
    block: [u8; 2],
    pods: BTreeMap<String, Ipv4Addr>,
    services: BTreeMap<String, Ipv4Addr>,
    /// Held as long as the block is ours: another `handfast up` finds it taken.
    _held: Option<TcpListener>,
}

impl Addresses {
    /// Takes a block of loopback addresses.
    pub fn loopback() -> Result<Self, Failure> {
        let mut last = None;
        for block in BLOCKS {
            match TcpListener::bind((Ipv4Addr::new(127, block, 0, 1), HBONE_PORT)) {
                Ok(held) => {
                    return Ok(Self::of([127, block], Some(held)));
                }
                Err(error) => last = Some(error),
            }
        }
        let why = last.map(|error| error.to_string()).unwrap_or_default();
        Err(Failure::new(&serving::LISTEN_FAILED, format!("no block of loopback addresses is free: {why}"))
            .fix("on Linux all of 127.0.0.0/8 is loopback; elsewhere add addresses: ifconfig lo0 alias 127.77.0.1"))
    }

    /// A private block. Where each is somebody's the first one has to do: nothing of it is seen from outside.
    pub fn private() -> Self {
        let routes = std::fs::read_to_string("/proc/self/net/route").unwrap_or_default();
        let free = BLOCKS.map(|block| [10, block]).find(|block| !is_routed(&routes, *block));
        Self::of(free.unwrap_or([10, BLOCKS.start]), None)
    }

    fn of(block: [u8; 2], held: Option<TcpListener>) -> Self {
        Self { block, pods: BTreeMap::new(), services: BTreeMap::new(), _held: held }
    }

    /// The block, as in `10.77.0.0/16`.
    pub fn block(&self) -> String {
        let [first, second] = self.block;
        format!("{first}.{second}.0.0/{LENGTH}")
    }

    /// The machine's own address among them, which no pod gets.
    pub fn node(&self) -> Ipv4Addr {
        let [first, second] = self.block;
        Ipv4Addr::new(first, second, 0, 1)
    }

    /// The address of a pod.
    pub fn pod(&mut self, key: &str) -> Ipv4Addr {
        give(self.block, 0, &mut self.pods, key)
    }

    /// The address of a Service.
    pub fn service(&mut self, key: &str) -> Ipv4Addr {
        give(self.block, 128, &mut self.services, key)
    }

    /// Pods that are no more give theirs back.
    pub fn keep_pods(&mut self, wanted: impl Fn(&str) -> bool) {
        self.pods.retain(|key, _| wanted(key));
    }
}

/// The first free address; a third number of `from` or more.
fn give([a, b]: [u8; 2], from: u8, given: &mut BTreeMap<String, Ipv4Addr>, key: &str) -> Ipv4Addr {
    if let Some(own) = given.get(key) {
        return *own;
    }
    let all = (from..from.saturating_add(127)).flat_map(|third| (2..255).map(move |last| (third, last)));
    let free = all.map(|(third, last)| Ipv4Addr::new(a, b, third, last));
    // 127 times 253 addresses: a folder has fewer manifests than that.
    let own = free.into_iter().find(|address| !given.values().any(|taken| taken == address));
    let own = own.unwrap_or(Ipv4Addr::new(a, b, from, 254));
    given.insert(key.to_owned(), own);
    own
}

/// Whether a route other than the default one leads to any address of a block. `routes` is `/proc/net/route`: interface,
/// destination, gateway, flags, three counters, mask; hexadecimal, in the machine's byte order.
fn is_routed(routes: &str, [first, second]: [u8; 2]) -> bool {
    let block = u32::from_be_bytes([first, second, 0, 0]);
    routes.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |at: usize| {
            let number = u32::from_str_radix(fields.get(at)?, 16).ok()?;
            Some(u32::from_be_bytes(number.to_ne_bytes()))
        };
        let (Some(destination), Some(mask)) = (number(1), number(7)) else { return false };
        // They meet where the shorter of the two masks sees no difference.
        let both = mask & !(u32::MAX >> LENGTH);
        mask != 0 && destination & both == block & both
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_a_route_leads_to_is_somebody_elses() {
        let line = |destination: [u8; 4], mask: [u8; 4]| {
            let number = |bytes| format!("{:08X}", u32::from_ne_bytes(bytes));
            format!("eth0\t{}\t0100A8C0\t0003\t0\t0\t0\t{}\t0\t0\t0\n", number(destination), number(mask))
        };
        let routes = line([0; 4], [0; 4]) + &line([10, 78, 3, 0], [255, 255, 255, 0]);
        let routes = format!("Iface\tDestination\tGateway\n{routes}");
        assert!(
            !is_routed(&routes, [10, 77]) && is_routed(&routes, [10, 78]) && !is_routed(&routes, [10, 79])
        );
        assert!(is_routed(&line([10, 0, 0, 0], [255, 0, 0, 0]), [10, 99]), "a wider one has all of them");
        assert!(is_routed(&line([10, 99, 0, 7], [255; 4]), [10, 99]), "and a host its own");
    }
}
