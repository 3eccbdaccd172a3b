//! Writes one certificate (RFC 5280 section 4.1) exactly as drafted, however wrong the draft is.

use rcgen::{KeyPair, SigningKey};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::{ForgeError, Issuer, sha1};
use crate::der::{bit_string, common_name, element, integer, octet_string, oid, sequence, time as der_time};

/// What a leaf says that it is for (extended key usage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// id-kp-clientAuth.
    Client,
    /// id-kp-serverAuth only: wrong for a client.
    Server,
}

/// How the draft is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// As the authority's key does by default (SHA-256 or better).
    Modern,
    /// SHA-1, which can be forged.
    Sha1,
}

/// Everything that goes into a certificate.
#[derive(Clone, Debug)]
pub struct Draft {
    /// 3, or 1 for a certificate without extensions.
    pub version: u8,
    /// The subject's common name.
    pub name: String,
    /// The URI in the subject alternative name.
    pub uri: Option<String>,
    /// DNS names beside it.
    pub dns: Vec<String>,
    /// The serial number, where it is not a random one.
    pub serial: Option<Vec<u8>>,
    /// First moment of validity.
    pub not_before: OffsetDateTime,
    /// Last moment of validity.
    pub not_after: OffsetDateTime,
    /// The digest of the signature.
    pub digest: Digest,
    /// The extended key usage of a leaf.
    pub purpose: Purpose,
    /// Adds a critical extension that nobody knows.
    pub unknown_critical: bool,
    /// SubjectPublicKeyInfo (DER).
    pub public_key: Vec<u8>,
    /// `Some` for an authority, with its path length if it has one.
    pub authority: Option<Option<u8>>,
}

impl Draft {
    /// A good leaf, valid from a minute ago (for clocks that differ) for an hour.
    pub fn leaf(name: &str, public_key: Vec<u8>, purpose: Purpose) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            version: 3,
            name: name.into(),
            uri: Some("spiffe://cluster.local/ns/local/sa/handfast-test".into()),
            dns: Vec::new(),
            serial: None,
            not_before: now - Duration::minutes(1),
            not_after: now + Duration::hours(1),
            digest: Digest::Modern,
            purpose,
            unknown_critical: false,
            public_key,
            authority: None,
        }
    }

    /// An authority, as short-lived as a leaf.
    pub fn authority(name: &str, path_length: Option<u8>, public_key: Vec<u8>) -> Self {
        Self { uri: None, authority: Some(path_length), ..Self::leaf(name, public_key, Purpose::Client) }
    }

    /// The certificate, signed by `issuer`.
    pub fn sign(&self, issuer: &Issuer) -> Result<CertificateDer<'static>, ForgeError> {
        let algorithm = match self.digest {
            Digest::Modern => modern(issuer.key())?,
            Digest::Sha1 => sha1::algorithm(),
        };
        let mut serial = [0u8; 16];
        aws_lc_rs::rand::fill(&mut serial).map_err(|e| ForgeError::Crypto(e.to_string()))?;
        serial[0] = (serial[0] & 0x7f) | 0x40;
        let version = element(0xa0, &integer(&[self.version.saturating_sub(1)]));
        let extensions = element(0xa3, &self.extensions());
        let v3 = self.version >= 3;
        let body = sequence(&[
            if v3 { &version } else { &[] },
            &integer(self.serial.as_deref().unwrap_or(&serial)),
            &algorithm,
            issuer.subject(),
            &sequence(&[&der_time(self.not_before), &der_time(self.not_after)]),
            &common_name(&self.name),
            &self.public_key,
            if v3 { &extensions } else { &[] },
        ]);
        let signature = match self.digest {
            Digest::Modern => issuer.key().sign(&body)?,
            Digest::Sha1 => sha1::sign(issuer.key(), &body)?,
        };
        Ok(CertificateDer::from(sequence(&[&body, &algorithm, &bit_string(&signature)])))
    }

    fn extensions(&self) -> Vec<u8> {
        let mut list = Vec::new();
        let is_authority = self.authority.is_some();
        let constraints = match self.authority {
            Some(Some(length)) => sequence(&[&[0x01, 0x01, 0xff], &integer(&[length])]),
            Some(None) => sequence(&[&[0x01, 0x01, 0xff]]),
            None => sequence(&[]),
        };
        list.extend(extension(&[2, 5, 29, 19], true, &constraints));
        // keyCertSign + cRLSign for an authority, digitalSignature for a leaf.
        let usage: &[u8] = if is_authority { &[0x03, 0x02, 0x01, 0x06] } else { &[0x03, 0x02, 0x07, 0x80] };
        list.extend(extension(&[2, 5, 29, 15], true, usage));
        if !is_authority {
            let last = match self.purpose {
                Purpose::Server => 1,
                Purpose::Client => 2,
            };
            let usages = sequence(&[&oid(&[1, 3, 6, 1, 5, 5, 7, 3, last])]);
            list.extend(extension(&[2, 5, 29, 37], false, &usages));
        }
        let mut names: Vec<Vec<u8>> = self.dns.iter().map(|name| element(0x82, name.as_bytes())).collect();
        names.extend(self.uri.iter().map(|uri| element(0x86, uri.as_bytes())));
        if !names.is_empty() {
            let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            list.extend(extension(&[2, 5, 29, 17], false, &sequence(&names)));
        }
        if self.unknown_critical {
            // An arc of the private enterprise numbers that is kept for examples (RFC 5612).
            list.extend(extension(&[1, 3, 6, 1, 4, 1, 32473, 1], true, &[0x05, 0x00]));
        }
        element(0x30, &list)
    }
}

fn extension(id: &[u64], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    sequence(&[&oid(id), flag, &octet_string(value)])
}

/// The AlgorithmIdentifier of the signatures that this key makes.
fn modern(key: &KeyPair) -> Result<Vec<u8>, ForgeError> {
    let algorithm = key.algorithm();
    let known: [(&rcgen::SignatureAlgorithm, &[u64], bool); 6] = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, &[1, 2, 840, 10045, 4, 3, 2], false),
        (&rcgen::PKCS_ECDSA_P384_SHA384, &[1, 2, 840, 10045, 4, 3, 3], false),
        (&rcgen::PKCS_ED25519, &[1, 3, 101, 112], false),
        (&rcgen::PKCS_RSA_SHA256, &[1, 2, 840, 113549, 1, 1, 11], true),
        (&rcgen::PKCS_RSA_SHA384, &[1, 2, 840, 113549, 1, 1, 12], true),
        (&rcgen::PKCS_RSA_SHA512, &[1, 2, 840, 113549, 1, 1, 13], true),
    ];
    let (_, id, null) = known
        .iter()
        .find(|entry| entry.0 == algorithm)
        .ok_or(ForgeError::Impossible("the authority's kind of key is not supported here"))?;
    let parameters: &[u8] = if *null { &[0x05, 0x00] } else { &[] };
    Ok(sequence(&[&oid(id), parameters]))
}
