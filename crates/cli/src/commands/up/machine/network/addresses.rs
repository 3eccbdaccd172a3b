//! Loopback addresses: one for each pod and each Service, which stay theirs while the machine is up. All of 127.0.0.0/8
//! is this machine's own on Linux, and no other machine's packet comes from there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

use model::codes::serving;
use model::mesh::HBONE_PORT;

use crate::failure::Failure;

/// The second number of addresses: the first block that nobody else has.
const BLOCKS: std::ops::Range<u8> = 77..127;

/// The addresses that were given.
pub struct Addresses {
    block: u8,
    pods: BTreeMap<String, Ipv4Addr>,
    services: BTreeMap<String, Ipv4Addr>,
    /// Held as long as the block is ours: another `handfast up` finds it taken.
    _held: TcpListener,
}

impl Addresses {
    /// Takes a block.
    pub fn take() -> Result<Self, Failure> {
        let mut last = None;
        for block in BLOCKS {
            match TcpListener::bind((Ipv4Addr::new(127, block, 0, 1), HBONE_PORT)) {
                Ok(held) => {
                    return Ok(Self { block, pods: BTreeMap::new(), services: BTreeMap::new(), _held: held });
                }
                Err(error) => last = Some(error),
            }
        }
        let why = last.map(|error| error.to_string()).unwrap_or_default();
        Err(Failure::new(&serving::LISTEN_FAILED, format!("no block of loopback addresses is free: {why}"))
            .fix("on Linux all of 127.0.0.0/8 is loopback; elsewhere add addresses: ifconfig lo0 alias 127.77.0.1"))
    }

    /// The address of a pod.
    pub fn pod(&mut self, key: &str) -> IpAddr {
        give(self.block, 0, &mut self.pods, key)
    }

    /// The address of a Service.
    pub fn service(&mut self, key: &str) -> IpAddr {
        give(self.block, 128, &mut self.services, key)
    }

    /// Pods that are no more give theirs back.
    pub fn keep_pods(&mut self, wanted: impl Fn(&str) -> bool) {
        self.pods.retain(|key, _| wanted(key));
    }
}

/// The first free address; a third number of `from` or more.
fn give(block: u8, from: u8, given: &mut BTreeMap<String, Ipv4Addr>, key: &str) -> IpAddr {
    if let Some(own) = given.get(key) {
        return (*own).into();
    }
    let all = (from..from.saturating_add(127)).flat_map(|third| (2..255).map(move |last| (third, last)));
    let free = all.map(|(third, last)| Ipv4Addr::new(127, block, third, last));
    // 127 times 253 addresses: a folder has fewer manifests than that.
    let own = free.into_iter().find(|address| !given.values().any(|taken| taken == address));
    let own = own.unwrap_or(Ipv4Addr::new(127, block, from, 254));
    given.insert(key.to_owned(), own);
    own.into()
}
