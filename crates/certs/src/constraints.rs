//! Name constraints (RFC 5280, section 4.2.1.10): what an intermediate may issue. Checked before signing,
//! so that nobody gets a certificate that no client would accept. DNS, IP and e-mail are understood;
//! URI constraints are never written, because rustls refuses every chain that has them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use x509_parser::extensions::{GeneralName, GeneralSubtree};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::{Error, Result};
use crate::issuer::CaCertificate;
use crate::request::AltName;

#[cfg(test)]
mod tests;

/// A network: an address whose host bits are zero, and the number of bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// First address.
    pub address: IpAddr,
    /// Bits that count, 0 to 32 or 128.
    pub prefix: u8,
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        let same = |a: &[u8], b: &[u8]| {
            let bits = usize::from(self.prefix);
            let (whole, rest) = (bits / 8, bits % 8);
            a[..whole] == b[..whole] && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0)
        };
        match (self.address, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(&a.octets(), &b.octets()),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(&a.octets(), &b.octets()),
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// `10.0.0.0/8`, `fd00::/8`, or one address.
impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| Error::Request(format!("{text:?} is no network: {why}"));
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| refuse("it begins with an IP address"))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| refuse("a number follows the slash"))?,
            None => longest,
        };
        if prefix > longest {
            return Err(refuse("the number after the slash is too large"));
        }
        let network = Self { address, prefix };
        let zero = match address {
            IpAddr::V4(a) => u128::from(u32::from(a).checked_shl(prefix.into()).unwrap_or(0)),
            IpAddr::V6(a) => u128::from(a).checked_shl(prefix.into()).unwrap_or(0),
        };
        if zero != 0 { Err(refuse("bits beyond the prefix are set")) } else { Ok(network) }
    }
}

/// Reserved never to exist (RFC 2606, section 2).
const NO_HOST: &str = "invalid";

/// What an authority may issue; empty lists limit nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// DNS domains, with all below them.
    pub permitted_dns: Vec<String>,
    /// DNS domains that are forbidden, with all below them; the empty text is every name.
    pub excluded_dns: Vec<String>,
    /// Networks.
    pub permitted_ip: Vec<Network>,
    /// Networks that are forbidden.
    pub excluded_ip: Vec<Network>,
    /// E-mail addresses, hosts or `.domains`.
    pub permitted_email: Vec<String>,
    /// As `permitted_email`, forbidden.
    pub excluded_email: Vec<String>,
}

impl Constraints {
    /// Limits to these domains and networks, and to nothing else: a kind of name of which nothing is
    /// permitted is excluded as a whole, for the standard would otherwise let all of it pass.
    pub fn permit_only(dns: &[String], ip: &[Network]) -> Result<Self> {
        let mut all = Self { permitted_ip: ip.to_vec(), ..Self::default() };
        for domain in dns {
            match AltName::dns(domain.trim_start_matches('.'))? {
                AltName::Dns(name) if !name.starts_with('*') => all.permitted_dns.push(name),
                _ => {
                    return Err(Error::Request(format!(
                        "{domain:?} is no domain; it covers all names below it"
                    )));
                }
            }
        }
        if all.is_empty() {
            return Ok(all);
        }
        // There is no form that excludes every address; one host that nobody can have permits none.
        all.permitted_email.push(NO_HOST.to_owned());
        if dns.is_empty() {
            all.excluded_dns.push(String::new());
        }
        for everything in ["0.0.0.0/0", "::/0"] {
            let everything: Network = everything.parse()?;
            if !ip.iter().any(|n| n.address.is_ipv4() == everything.address.is_ipv4()) {
                all.excluded_ip.push(everything);
            }
        }
        Ok(all)
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads those of a certificate. A kind that is not understood is no obstacle here: verifiers judge it.
    pub fn of(ca: &CaCertificate) -> Result<Self> {
        let broken = || Error::Broken(format!("the name constraints of {} cannot be read", ca.subject));
        let (_, x509) = X509Certificate::from_der(&ca.der).map_err(|_| broken())?;
        let mut all = Self::default();
        let Some(found) = x509.name_constraints().map_err(|_| broken())? else { return Ok(all) };
        collect(
            found.value.permitted_subtrees.as_deref(),
            &mut all.permitted_dns,
            &mut all.permitted_ip,
            &mut all.permitted_email,
        );
        collect(
            found.value.excluded_subtrees.as_deref(),
            &mut all.excluded_dns,
            &mut all.excluded_ip,
            &mut all.excluded_email,
        );
        Ok(all)
    }

    /// Refuses the first name that is not permitted. The common name counts too where it looks like a name of
    /// one of the kinds: some clients still read it.
    pub fn check(&self, names: &[AltName], common_name: Option<&str>, issuer: &str) -> Result<()> {
        // One word is a person's or a service's name, and no host that could be reached from elsewhere.
        let common_name = common_name
            .filter(|text| text.contains(['.', ':', '@']))
            .and_then(|text| AltName::guess(text).ok())
            .filter(|name| !matches!(name, AltName::Uri(_)));
        for name in names.iter().chain(&common_name) {
            let (permitted, excluded) = match name {
                AltName::Dns(text) => (
                    self.permitted_dns.is_empty() || self.permitted_dns.iter().any(|d| below(text, d)),
                    self.excluded_dns.iter().any(|d| below(text, d)),
                ),
                AltName::Ip(ip) => (
                    self.permitted_ip.is_empty() || self.permitted_ip.iter().any(|n| n.contains(*ip)),
                    self.excluded_ip.iter().any(|n| n.contains(*ip)),
                ),
                AltName::Email(text) => (
                    self.permitted_email.is_empty() || self.permitted_email.iter().any(|d| mail(text, d)),
                    self.excluded_email.iter().any(|d| mail(text, d)),
                ),
                AltName::Uri(_) => (true, false),
            };
            if !permitted || excluded {
                return Err(Error::NotPermitted { issuer: issuer.to_owned(), name: name.to_string() });
            }
        }
        Ok(())
    }
}

fn collect(
    subtrees: Option<&[GeneralSubtree<'_>]>,
    dns: &mut Vec<String>,
    ip: &mut Vec<Network>,
    email: &mut Vec<String>,
) {
    for subtree in subtrees.unwrap_or_default() {
        match &subtree.base {
            GeneralName::DNSName(name) => dns.push(name.to_ascii_lowercase()),
            GeneralName::RFC822Name(name) => email.push(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => ip.extend(network(bytes)),
            _ => {}
        }
    }
}

fn network(bytes: &[u8]) -> Option<Network> {
    let (address, mask) = bytes.split_at(bytes.len() / 2);
    let address: IpAddr = match address.len() {
        4 => <[u8; 4]>::try_from(address).ok()?.into(),
        16 => <[u8; 16]>::try_from(address).ok()?.into(),
        _ => return None,
    };
    let prefix = mask.iter().map(|byte| byte.leading_ones()).sum::<u32>();
    Some(Network { address, prefix: u8::try_from(prefix).ok()? })
}

/// Whether a DNS name is the domain or below it. A wildcard is below what its fixed part is below.
fn below(name: &str, domain: &str) -> bool {
    let domain = domain.trim_start_matches('.');
    domain.is_empty() || name == domain || name.strip_suffix(domain).is_some_and(|head| head.ends_with('.'))
}

fn mail(address: &str, constraint: &str) -> bool {
    let address = address.to_ascii_lowercase();
    let Some((_, host)) = address.rsplit_once('@') else { return false };
    match constraint.strip_prefix('.') {
        Some(domain) => host.strip_suffix(domain).is_some_and(|head| head.ends_with('.')),
        None if constraint.contains('@') => address == constraint,
        None => host == constraint,
    }
}
