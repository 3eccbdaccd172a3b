//! Where kubelet's probes come from. The pod's manifest has the node's own addresses; but on a bridge (and on most
//! point-to-point links) a node speaks to its pods from the address that is their gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The gateways of the default routes of the calling thread's network; none where they cannot be told.
pub fn gateways() -> Vec<IpAddr> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let four = read("/proc/thread-self/net/route");
    let six = read("/proc/thread-self/net/ipv6_route");
    four.lines().filter_map(gateway_v4).chain(six.lines().filter_map(gateway_v6)).collect()
}

/// A line of `/proc/net/route`: interface, destination, gateway, ...; hexadecimal, in the machine's byte order.
fn gateway_v4(line: &str) -> Option<IpAddr> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (destination, gateway) = (fields.next()?, fields.next()?);
    let mask = fields.nth(4)?;
    if destination != "00000000" || mask != "00000000" {
        return None;
    }
    let bits = u32::from_str_radix(gateway, 16).ok().filter(|bits| *bits != 0)?;
    Some(Ipv4Addr::from(bits.to_ne_bytes()).into())
}

/// A line of `/proc/net/ipv6_route`: destination, its length, source, its length, next hop, ...; hexadecimal.
fn gateway_v6(line: &str) -> Option<IpAddr> {
    let mut fields = line.split_ascii_whitespace();
    let (destination, length) = (fields.next()?, fields.next()?);
    let hop = fields.nth(2)?;
    if length != "00" || destination.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let bits = u128::from_str_radix(hop, 16).ok().filter(|bits| *bits != 0)?;
    Some(Ipv6Addr::from(bits).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_of_default_routes_are_read_and_others_are_not() {
        let line = "eth0\t00000000\t0100F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        assert_eq!(gateway_v4(line), Some("10.244.0.1".parse().unwrap()));
        let own = "eth0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        assert_eq!(gateway_v4(own), None);
        assert_eq!(gateway_v4("Iface\tDestination\tGateway \tFlags"), None);
        let nothing = "0".repeat(32);
        let hop = "fd00000000000000000000000000000a";
        let line = format!("{nothing} 00 {nothing} 00 {hop} 00000400 00000001 00000000 00000003 eth0");
        assert_eq!(gateway_v6(&line), Some("fd00::a".parse().unwrap()));
        let unreachable =
            format!("{nothing} 00 {nothing} 00 {nothing} ffffffff 00000001 00000000 00200200 lo");
        assert_eq!(gateway_v6(&unreachable), None);
    }
}
