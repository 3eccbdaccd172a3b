//! The hashing methods, with nginx's arithmetic (`ip_hash`, `hash`, `hash … consistent`).

use std::net::IpAddr;
use std::sync::Arc;

use crate::upstream::service::EndpointState;

const POINTS: u32 = 160;
const MOST_TRIES: u32 = 20;

const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
};

fn update(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

fn crc32(bytes: &[u8]) -> u32 {
    !update(u32::MAX, bytes)
}

/// The points of all endpoints on the ring, sorted.
pub(super) fn ring(endpoints: &[Arc<EndpointState>]) -> Vec<(u32, u16)> {
    let mut points = Vec::new();
    for (number, endpoint) in endpoints.iter().enumerate().filter(|(_, e)| !e.backup) {
        let (host, port) = match endpoint.address.strip_prefix("unix:") {
            Some(path) => (path, ""),
            None => endpoint.address.rsplit_once(':').unwrap_or((&endpoint.address, "")),
        };
        let base = update(update(update(u32::MAX, host.as_bytes()), b"\0"), port.as_bytes());
        let mut before = 0u32;
        for _ in 0..POINTS.saturating_mul(endpoint.weight.clamp(1, 256)) {
            let hash = !update(base, &before.to_le_bytes());
            points.push((hash, u16::try_from(number).unwrap_or(u16::MAX)));
            before = hash;
        }
    }
    points.sort_unstable();
    points.dedup_by_key(|(hash, _)| *hash);
    points
}

/// The first usable endpoint at or after the key's point.
pub(super) fn on_ring(ring: &[(u32, u16)], key: &str, usable: &impl Fn(usize) -> bool) -> Option<usize> {
    if ring.is_empty() {
        return None;
    }
    let hash = crc32(key.as_bytes());
    let start = ring.partition_point(|(point, _)| *point < hash);
    super::rotated(ring.len(), start).map(|at| usize::from(ring[at].1)).find(|n| usable(*n))
}

/// By the remainder of the key's hash; each further try hashes its number in front of the key.
pub(super) fn by_key(
    key: &str,
    endpoints: &[Arc<EndpointState>],
    usable: &impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut sum = 0u32;
    for again in 0..MOST_TRIES {
        let mut crc = u32::MAX;
        if again > 0 {
            crc = update(crc, again.to_string().as_bytes());
        }
        let hash = (!update(crc, key.as_bytes()) >> 16) & 0x7fff;
        sum = sum.wrapping_add(hash);
        if let Some(n) = by_weight(sum, endpoints)
            && usable(n)
        {
            return Some(n);
        }
    }
    None
}

/// By the client's address: the first three octets of IPv4, the whole of IPv6.
pub(super) fn by_address(
    address: Option<IpAddr>,
    endpoints: &[Arc<EndpointState>],
    usable: &impl Fn(usize) -> bool,
) -> Option<usize> {
    let octets = match address {
        Some(IpAddr::V4(v4)) => v4.octets()[..3].to_vec(),
        Some(IpAddr::V6(v6)) => v6.octets().to_vec(),
        None => vec![0; 3],
    };
    let mut hash = 89u32;
    for _ in 0..MOST_TRIES {
        hash = octets.iter().fold(hash, |hash, octet| (hash * 113 + u32::from(*octet)) % 6271);
        if let Some(n) = by_weight(hash, endpoints)
            && usable(n)
        {
            return Some(n);
        }
    }
    None
}

fn by_weight(hash: u32, endpoints: &[Arc<EndpointState>]) -> Option<usize> {
    let primary = || endpoints.iter().enumerate().filter(|(_, e)| !e.backup);
    let total: u64 = primary().map(|(_, e)| u64::from(e.weight.max(1))).sum();
    let mut rest = u64::from(hash).checked_rem(total)?;
    for (n, endpoint) in primary() {
        let weight = u64::from(endpoint.weight.max(1));
        if rest < weight {
            return Some(n);
        }
        rest -= weight;
    }
    None
}
