//! Serial numbers: 128 random bits, positive, never zero, and never shorter than 16 bytes, so that the
//! hexadecimal form always has 32 digits. Uniqueness is the ledger's (its column is UNIQUE).

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::issuer::CaCertificate;

#[cfg(test)]
mod tests;

/// The serial number of a certificate (RFC 5280, section 4.1.2.2): at most 20 bytes, without leading zeros.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// A new one from the system's random numbers.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        loop {
            aws_lc_rs::rand::fill(&mut bytes)
                .map_err(|_| Error::Signing("the system gives no random numbers".into()))?;
            if bytes[0] != 0 {
                return Ok(Self(bytes.to_vec()));
            }
        }
    }

    /// A number that this authority gives to no certificate and that each of its lists may name, so that refusing
    /// what is revoked can be shown before anything is. It follows from the authority's certificate; that a random
    /// one is the same is as likely as that two random ones are.
    pub fn of_proof(authority: &CaCertificate) -> Self {
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        hash.update(b"handfast: a revoked serial number for proofs\0");
        hash.update(&authority.der);
        let mut bytes: Vec<u8> = hash.finish().as_ref().iter().copied().take(16).collect();
        if let Some(first) = bytes.first_mut() {
            // Neither negative nor shorter.
            *first = (*first & 0x7f) | 0x40;
        }
        Self(bytes)
    }

    /// From big-endian bytes, as in a certificate; leading zeros do not count.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
        Self(bytes[start..].to_vec())
    }

    /// Big-endian, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Upper-case hexadecimal without separators.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::text::serial_hex(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

/// Reads hexadecimal of either case, with or without colons and `0x`.
impl FromStr for Serial {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").unwrap_or(text).replace(':', "");
        let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits };
        match hex::decode(&padded) {
            Ok(bytes) if !bytes.is_empty() && bytes.len() <= 21 => Ok(Self::from_bytes(&bytes)),
            _ => Err(Error::Request(format!("{text:?} is no serial number in hexadecimal"))),
        }
    }
}
