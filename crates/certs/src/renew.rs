//! Renewal: when a certificate should be replaced (a pure decision), and the request that replaces it.

use rcgen::SubjectPublicKeyInfo;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::authority::{Authority, Issued};
use crate::error::{Error, Result};
use crate::issue::{SKEW, whole_second};
use crate::key::KeyKind;
use crate::ledger::Record;
use crate::request::Request;

#[cfg(test)]
mod tests;

/// When to renew: at two thirds of the lifetime, moved by up to a thirtieth of it to either side, so that
/// certificates that were issued together are not renewed together. `jitter` is in 0..=255.
pub fn renew_at(issued: OffsetDateTime, not_after: OffsetDateTime, jitter: u8) -> OffsetDateTime {
    let lifetime = (not_after - issued).max(Duration::ZERO);
    let moved = lifetime / 15 * i32::from(jitter) / 255 - lifetime / 30;
    issued + lifetime * 2 / 3 + moved
}

impl Record {
    /// When this certificate should be renewed. The jitter comes from the serial number, so that the answer
    /// is the same after a restart.
    pub fn renew_at(&self) -> OffsetDateTime {
        let jitter = self.serial.as_bytes().last().copied().unwrap_or(0);
        whole_second(renew_at(self.issued_at, self.not_after, jitter))
    }
}

impl Authority {
    /// Issues a certificate like an older one: same name, names, usage, kind of key and lifetime. Its key is
    /// new; where the older one's key is somebody else's, that key is certified again.
    pub fn renew(&mut self, record: &Record, who: &str, now: OffsetDateTime) -> Result<Issued> {
        let request = request_of(record)?;
        match record.own_key {
            Some(false) => {
                let broken = || Error::Broken(format!("the key of {} cannot be read", record.serial));
                let (_, x509) = X509Certificate::from_der(&record.der).map_err(|_| broken())?;
                let key = SubjectPublicKeyInfo::from_der(x509.public_key().raw).map_err(|_| broken())?;
                self.certify(&request, &key, who, now)
            }
            _ => self.issue(&request, who, now),
        }
    }
}

/// The request that an issued certificate came from.
pub fn request_of(record: &Record) -> Result<Request> {
    let broken = || Error::Broken(format!("the ledger's certificate {} cannot be read", record.serial));
    let (_, x509) = X509Certificate::from_der(&record.der).map_err(|_| broken())?;
    let first = |mut names: Box<dyn Iterator<Item = Option<String>> + '_>| names.next().flatten();
    let text =
        |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
    Ok(Request {
        name: record.name.clone(),
        common_name: first(Box::new(x509.subject().iter_common_name().map(text))),
        organization: first(Box::new(x509.subject().iter_organization().map(text))),
        names: record.names.clone(),
        usage: Some(record.usage.parse()?),
        key: kind_of(&x509),
        lifetime: record.lifetime.unwrap_or(record.not_after - record.issued_at),
        backdated: SKEW,
    })
}

fn kind_of(x509: &X509Certificate<'_>) -> KeyKind {
    use x509_parser::public_key::PublicKey;
    match x509.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() > 3072 => KeyKind::Rsa(4096),
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() > 2048 => KeyKind::Rsa(3072),
        Ok(PublicKey::RSA(_)) => KeyKind::Rsa(2048),
        Ok(PublicKey::EC(point)) if point.key_size() > 384 => KeyKind::P521,
        Ok(PublicKey::EC(point)) if point.key_size() > 256 => KeyKind::P384,
        Ok(PublicKey::EC(_)) => KeyKind::P256,
        _ => KeyKind::Ed25519,
    }
}
