//! Certificates that no authority may issue: expired, too weak, malformed. `certs` must never make them,
//! so they are written here by hand, live in memory only and are valid for an hour at most.
//!
//! [`certificate`] writes the DER, [`rsa1024`] and [`sha1`] sign what the crypto library rightly refuses to.

pub mod certificate;
pub mod rsa1024;
pub mod sha1;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rcgen::{KeyPair, PublicKeyData};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::{ClientIdentity, certificates};
use certificate::{Draft, Purpose};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// The authority's certificate or key cannot be used.
    #[error("the authority cannot be used: {0}")]
    Issuer(String),
    /// Making a key or a signature failed.
    #[error("a key or a signature could not be made: {0}")]
    Crypto(String),
    /// This authority cannot make such a certificate.
    #[error("{0}")]
    Impossible(&'static str),
}

impl From<rcgen::Error> for ForgeError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}

/// An authority whose key we hold: the user's, or one that is made on the spot.
pub struct Issuer {
    /// The authority's certificate, then its own issuers as far as they are to be sent.
    pub chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    subject: Vec<u8>,
    path_length: Option<u32>,
    self_signed: bool,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("path_length", &self.path_length).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Reads an authority from PEM: its certificate first, and its unencrypted private key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ForgeError> {
        let chain = certificates(chain).map_err(|e| ForgeError::Issuer(e.to_string()))?;
        let key = std::str::from_utf8(key).map_err(|e| ForgeError::Issuer(e.to_string()))?;
        let key = KeyPair::from_pem(key).map_err(|e| ForgeError::Issuer(format!("its key: {e}")))?;
        Self::new(chain, key)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: KeyPair) -> Result<Self, ForgeError> {
        let leaf = chain.first().ok_or_else(|| ForgeError::Issuer("no certificate".into()))?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| ForgeError::Issuer(e.to_string()))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(ForgeError::Issuer("the key does not belong to the certificate".into()));
        }
        let constraints = parsed.basic_constraints().ok().flatten().map(|e| e.value);
        if !constraints.is_some_and(|c| c.ca) {
            return Err(ForgeError::Issuer("the certificate is not an authority's (CA:FALSE)".into()));
        }
        let path_length = constraints.and_then(|c| c.path_len_constraint);
        let subject = parsed.subject().as_raw().to_vec();
        let self_signed = parsed.subject().as_raw() == parsed.issuer().as_raw();
        Ok(Self { chain, key, subject, path_length, self_signed })
    }

    /// A new authority that nobody trusts.
    pub fn unknown(name: &str) -> Result<Self, ForgeError> {
        let key = KeyPair::generate()?;
        let draft = Draft::authority(name, None, key.subject_public_key_info());
        let own = Self {
            chain: Vec::new(),
            key,
            subject: crate::der::common_name(name),
            path_length: None,
            self_signed: true,
        };
        let root = draft.sign(&own)?;
        Ok(Self { chain: vec![root], ..own })
    }

    /// An authority below this one; `path_length` is what its certificate says.
    pub fn subordinate(&self, name: &str, path_length: Option<u8>) -> Result<Self, ForgeError> {
        let key = KeyPair::generate()?;
        let own = Draft::authority(name, path_length, key.subject_public_key_info()).sign(self)?;
        let mut chain = vec![own];
        chain.extend(self.sendable().iter().cloned());
        Ok(Self {
            chain,
            key,
            subject: crate::der::common_name(name),
            path_length: path_length.map(u32::from),
            self_signed: false,
        })
    }

    /// Whether it may have no authority below it (`pathlen:0`).
    pub fn is_last(&self) -> bool {
        self.path_length == Some(0)
    }

    /// Whether it is a root.
    pub fn is_root(&self) -> bool {
        self.self_signed
    }

    /// Its distinguished name, as DER.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// What a client sends after its leaf: the intermediates. A root is not sent.
    pub fn sendable(&self) -> &[CertificateDer<'static>] {
        if self.self_signed { &[] } else { &self.chain }
    }

    pub(crate) fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The authority's own certificate used as a client's, with its own key.
    pub fn as_leaf(&self) -> Result<ClientIdentity, ForgeError> {
        identity(self.chain.clone(), &self.key)
    }

    /// Issues what the draft says for a new P-256 key, and adds the intermediates.
    pub fn issue(&self, change: impl FnOnce(&mut Draft)) -> Result<ClientIdentity, ForgeError> {
        self.pair(change)?.identity()
    }

    /// As [`Issuer::issue`], with the key in a form that can be handed over.
    pub fn pair(&self, change: impl FnOnce(&mut Draft)) -> Result<Pair, ForgeError> {
        let key = KeyPair::generate()?;
        let mut draft = Draft::leaf("handfast-test", key.subject_public_key_info(), Purpose::Client);
        change(&mut draft);
        let mut chain = vec![draft.sign(self)?];
        chain.extend(self.sendable().iter().cloned());
        Ok(Pair { chain, key: PrivatePkcs8KeyDer::from(key.serialized_der().to_vec()) })
    }
}

/// A chain and its key, to be handed to another process.
pub struct Pair {
    /// Leaf first, then intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key; overwritten when it is dropped, and never part of `Debug`.
    pub key: PrivatePkcs8KeyDer<'static>,
}

impl Pair {
    /// For a handshake.
    pub fn identity(self) -> Result<ClientIdentity, ForgeError> {
        let der = PrivateKeyDer::Pkcs8(self.key);
        let signer = any_supported_type(&der).map_err(|e| ForgeError::Crypto(e.to_string()))?;
        Ok(ClientIdentity { certified: Arc::new(CertifiedKey::new(self.chain, signer)) })
    }
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// A certificate that is signed by its own key.
pub fn self_signed() -> Result<ClientIdentity, ForgeError> {
    let key = KeyPair::generate()?;
    let draft = Draft::leaf("handfast-test self-signed", key.subject_public_key_info(), Purpose::Client);
    let subject = crate::der::common_name("handfast-test self-signed");
    let own = Issuer { chain: Vec::new(), key, subject, path_length: None, self_signed: true };
    identity(vec![draft.sign(&own)?], &own.key)
}

fn identity(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Result<ClientIdentity, ForgeError> {
    Pair { chain, key: PrivatePkcs8KeyDer::from(key.serialized_der().to_vec()) }.identity()
}
