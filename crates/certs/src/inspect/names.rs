//! Alternative names and usages, as people write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Serialize, Serializer};
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, KeyUsage};

use crate::verify::reason::printable;

/// A general name (RFC 5280, section 4.2.1.6); shown and serialised as `DNS:example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A host, perhaps with a wildcard.
    Dns(String),
    /// An address, or a network in a name constraint.
    Ip(String),
    /// A URI, such as a SPIFFE identity.
    Uri(String),
    /// An e-mail address.
    Email(String),
    /// Any other kind, described.
    Other(String),
}

impl Name {
    /// The name without its kind.
    pub fn value(&self) -> &str {
        match self {
            Self::Dns(text) | Self::Ip(text) | Self::Uri(text) | Self::Email(text) | Self::Other(text) => {
                text
            }
        }
    }

    /// A name in a name constraint, where an address is a network: address, then mask.
    pub(super) fn constraint(name: &GeneralName<'_>) -> Self {
        match name {
            GeneralName::IPAddress(bytes) if bytes.len() == 8 || bytes.len() == 32 => {
                let (address, mask) = bytes.split_at(bytes.len() / 2);
                let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
                Self::Ip(format!("{}/{ones}", ip(address)))
            }
            other => Self::from(other),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Dns(_) => "DNS:",
            Self::Ip(_) => "IP:",
            Self::Uri(_) => "URI:",
            Self::Email(_) => "email:",
            Self::Other(_) => "",
        };
        write!(f, "{kind}{}", self.value())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<&GeneralName<'_>> for Name {
    fn from(name: &GeneralName<'_>) -> Self {
        match name {
            GeneralName::DNSName(text) => Self::Dns(printable(text)),
            GeneralName::IPAddress(bytes) => Self::Ip(ip(bytes)),
            GeneralName::URI(text) => Self::Uri(printable(text)),
            GeneralName::RFC822Name(text) => Self::Email(printable(text)),
            GeneralName::DirectoryName(name) => Self::Other(printable(&format!("directory:{name}"))),
            GeneralName::OtherName(oid, _) => Self::Other(format!("other:{oid}")),
            GeneralName::RegisteredID(oid) => Self::Other(format!("registered:{oid}")),
            _ => Self::Other("malformed name".to_owned()),
        }
    }
}

fn ip(bytes: &[u8]) -> String {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        IpAddr::V4(Ipv4Addr::from(four)).to_string()
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
        IpAddr::V6(Ipv6Addr::from(sixteen)).to_string()
    } else {
        format!("malformed address {}", hex::encode(bytes))
    }
}

/// Key usages by their names in RFC 5280, section 4.2.1.3.
pub(super) fn key_usages(usage: &KeyUsage) -> Vec<String> {
    [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .map(|(_, name)| name.to_owned())
    .collect()
}

/// Extended key usages by their names in RFC 5280, section 4.2.1.12.
pub(super) fn extended_key_usages(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let mut list: Vec<String> = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .map(|(_, name)| name.to_owned())
    .collect();
    list.extend(usage.other.iter().map(|oid| oid.to_id_string()));
    list
}

/// Why a certificate was revoked (RFC 5280, section 5.3.1).
pub(super) fn revocation_reason(code: u8) -> &'static str {
    match code {
        0 => "unspecified",
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        _ => "unknown",
    }
}
