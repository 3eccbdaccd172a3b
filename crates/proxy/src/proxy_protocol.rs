//! The PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>): who the
//! client of a load balancer is. Reading is strict and bounded; [`parse`] is pure, for fuzzing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use model::codes::usage;
use model::snapshot::ProxyProtocol;

use crate::connection::{Address, Connection};
use crate::error::Error;

#[cfg(test)]
mod tests;

/// Longest header of version 1, its CR LF included (section 2.1).
const V1_MOST: usize = 107;
/// Longest header of version 2 that is accepted: addresses, and room for the usual extensions.
const V2_MOST: usize = 16 + 4096;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What was found at the start of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// A whole header.
    Complete {
        /// How long it is, in bytes.
        length: usize,
        /// The client and what it connected to; none for `LOCAL` and `UNKNOWN`: the connection's own.
        addresses: Option<(SocketAddr, SocketAddr)>,
    },
}

/// Why it is no PROXY protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Neither version's signature.
    #[error("the connection does not begin with a PROXY protocol header")]
    Signature,
    /// Too long.
    #[error("the PROXY protocol header is too long")]
    TooLong,
    /// Malformed.
    #[error("the PROXY protocol header is malformed: {0}")]
    Malformed(&'static str),
}

/// Reads a header from the first bytes of a connection.
///
/// # Errors
///
/// As soon as it is certain that the bytes are no header.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let signature = bytes.len().min(V2_SIGNATURE.len());
    if bytes[..signature] == V2_SIGNATURE[..signature] {
        // Not a single byte is the start of either.
        return if signature == V2_SIGNATURE.len() { v2(bytes) } else { Ok(Parsed::Incomplete) };
    }
    let start = bytes.len().min(6);
    if bytes[..start] == b"PROXY "[..start] {
        return v1(bytes);
    }
    Err(ParseError::Signature)
}

fn v1(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let window = &bytes[..bytes.len().min(V1_MOST)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= V1_MOST { Err(ParseError::TooLong) } else { Ok(Parsed::Incomplete) };
    };
    let malformed = ParseError::Malformed;
    let line = std::str::from_utf8(&window[..end]).map_err(|_| malformed("it is not ASCII"))?;
    let length = end + 2;
    let mut fields = line.split(' ').skip(1);
    let family = fields.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // The rest of the line is to be ignored.
        return Ok(Parsed::Complete { length, addresses: None });
    }
    let mut address = || match (family, fields.next().unwrap_or_default()) {
        ("TCP4", text) => text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| malformed("an IPv4 address")),
        ("TCP6", text) => text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| malformed("an IPv6 address")),
        _ => Err(malformed("the family is not TCP4, TCP6 or UNKNOWN")),
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || {
        let text = fields.next().unwrap_or_default();
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if plain { text.parse::<u16>().map_err(|_| malformed("a port")) } else { Err(malformed("a port")) }
    };
    let (from, to) = (port()?, port()?);
    if fields.next().is_some() {
        return Err(malformed("too many fields"));
    }
    let addresses = Some((SocketAddr::new(source, from), SocketAddr::new(destination, to)));
    Ok(Parsed::Complete { length, addresses })
}

fn v2(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let malformed = ParseError::Malformed;
    let Some(head) = bytes.first_chunk::<16>() else {
        if bytes.get(12).is_some_and(|byte| byte >> 4 != 2) {
            return Err(malformed("the version is not 2"));
        }
        return Ok(Parsed::Incomplete);
    };
    let [.., version, family, high, low] = *head;
    if version >> 4 != 2 {
        return Err(malformed("the version is not 2"));
    }
    let length = 16 + usize::from(u16::from_be_bytes([high, low]));
    if length > V2_MOST {
        return Err(ParseError::TooLong);
    }
    let Some(body) = bytes.get(16..length) else { return Ok(Parsed::Incomplete) };
    let complete = |addresses| Ok(Parsed::Complete { length, addresses });
    match version & 0xf {
        // LOCAL: a health check of the balancer itself; the rest is to be skipped.
        0 => return complete(None),
        1 => {}
        _ => return Err(malformed("the command is neither LOCAL nor PROXY")),
    }
    let (addresses, extensions) = match family {
        0x11 => {
            let (block, rest) =
                body.split_first_chunk::<12>().ok_or(malformed("the addresses are cut off"))?;
            let [a, b, c, d, e, f, g, h, p, q, r, s] = *block;
            let from = SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([p, q]));
            let to = SocketAddr::new(Ipv4Addr::new(e, f, g, h).into(), u16::from_be_bytes([r, s]));
            (Some((from, to)), rest)
        }
        0x21 => {
            let (block, rest) =
                body.split_first_chunk::<36>().ok_or(malformed("the addresses are cut off"))?;
            let ip = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&block[at..at + 16]);
                IpAddr::from(octets)
            };
            let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
            (Some((SocketAddr::new(ip(0), port(32)), SocketAddr::new(ip(16), port(34)))), rest)
        }
        // UNSPEC, and socket files: the connection's own addresses.
        0x00 => (None, &[][..]),
        0x31 => (None, body.get(216..).ok_or(malformed("the addresses are cut off"))?),
        _ => return Err(malformed("the family is not a stream over IPv4, IPv6 or a socket file")),
    };
    extensions_are_whole(extensions)?;
    complete(addresses)
}

/// Each extension is a type, a length and so many bytes (section 2.2.7); what they say is not used.
fn extensions_are_whole(mut rest: &[u8]) -> Result<(), ParseError> {
    while let Some((head, tail)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        rest = tail.get(length..).ok_or(ParseError::Malformed("an extension is cut off"))?;
    }
    if rest.is_empty() { Ok(()) } else { Err(ParseError::Malformed("an extension is cut off")) }
}

/// The header that tells a service who its client is; without a client (health checks) it says so.
pub fn header(version: ProxyProtocol, client: Option<&Connection>) -> Vec<u8> {
    let addresses = client.and_then(|client| match (client.peer_addr, client.local_addr) {
        (Address::Ip(from), Address::Ip(to)) => Some((from, to)),
        _ => None,
    });
    write(version, addresses, client.is_some())
}

fn write(version: ProxyProtocol, addresses: Option<(SocketAddr, SocketAddr)>, relayed: bool) -> Vec<u8> {
    // Both ends are of one family: an IPv4 address beside an IPv6 one is written as mapped.
    let pair = addresses.map(|(from, to)| {
        let (source, target) = (from.ip().to_canonical(), to.ip().to_canonical());
        match (source, target) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => (source, target),
            (source, target) => (mapped(source), mapped(target)),
        }
    });
    let (from, to) = addresses.map_or((0, 0), |(from, to)| (from.port(), to.port()));
    match version {
        ProxyProtocol::V1 => match pair {
            Some((source, target)) => {
                let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
                format!("PROXY {family} {source} {target} {from} {to}\r\n").into_bytes()
            }
            None => b"PROXY UNKNOWN\r\n".to_vec(),
        },
        ProxyProtocol::V2 => {
            let mut header = V2_SIGNATURE.to_vec();
            header.push(if relayed { 0x21 } else { 0x20 });
            match pair {
                Some((IpAddr::V4(source), IpAddr::V4(target))) => {
                    header.extend([0x11, 0, 12]);
                    header.extend(source.octets());
                    header.extend(target.octets());
                }
                Some((IpAddr::V6(source), IpAddr::V6(target))) => {
                    header.extend([0x21, 0, 36]);
                    header.extend(source.octets());
                    header.extend(target.octets());
                }
                _ => {
                    header.extend([0x00, 0, 0]);
                    return header;
                }
            }
            header.extend(from.to_be_bytes());
            header.extend(to.to_be_bytes());
            header
        }
    }
}

fn mapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        ip => ip,
    }
}

/// A network in CIDR form; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address belongs to it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(base).checked_shr(shift) == u32::from(ip).checked_shr(shift)
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(base).checked_shr(shift) == u128::from(ip).checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::new(&usage::USAGE, format!("{text:?} is not a network: write 10.0.0.0/8 or 2001:db8::/32"))
        };
        let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let base: IpAddr = ip.parse().map_err(|_| wrong())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok(Self { base, bits }) }
    }
}
