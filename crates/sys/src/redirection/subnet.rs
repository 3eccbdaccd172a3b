//! A network: an address and how many of its bits count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network, as in `10.96.0.0/12` or `fd00::/8`; an address alone is one of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    address: IpAddr,
    length: u8,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network such as 10.96.0.0/12 or fd00::/8")]
pub struct NotASubnet(pub String);

impl Subnet {
    /// Those that never leave a machine.
    pub(super) fn loopback() -> [Self; 2] {
        let v4 = Self { address: Ipv4Addr::new(127, 0, 0, 0).into(), length: 8 };
        [v4, Self { address: Ipv6Addr::LOCALHOST.into(), length: 128 }]
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits count.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The bits that count, in the order of the network: 4 or 16 bytes.
    pub(super) fn mask(&self) -> Vec<u8> {
        let bytes = if self.address.is_ipv4() { 4 } else { 16 };
        (0..bytes).map(|n| (0xff00_u16 >> self.length.saturating_sub(n * 8).min(8)) as u8).collect()
    }

    /// The address, in the order of the network.
    pub(super) fn octets(&self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }
}

impl FromStr for Subnet {
    type Err = NotASubnet;

    fn from_str(text: &str) -> Result<Self, NotASubnet> {
        let wrong = || NotASubnet(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(length) => length.parse().ok().filter(|length| *length <= most).ok_or_else(wrong)?,
        };
        let subnet = Self { address, length };
        // Bits beyond the length are a slip of the pen: which network was meant is not guessed.
        match subnet.octets().iter().zip(subnet.mask()).all(|(octet, mask)| octet & !mask == 0) {
            true => Ok(subnet),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}
