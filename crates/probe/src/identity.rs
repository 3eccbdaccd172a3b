//! A certificate chain with its key, read from PEM and handed to rustls as it is.

use std::sync::Arc;

use certs::PemProblem;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The certificate file holds no certificate that can be read.
    #[error("no certificate (PEM) in it: {0}")]
    Certificate(String),
    /// The key file holds no private key that can be read.
    #[error("no private key (PEM, unencrypted) in it: {0}")]
    Key(String),
    /// The key belongs to another certificate.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

/// Who a client says it is: leaf first, then intermediates, with the leaf's key.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// What goes into the TLS handshake.
    pub certified: Arc<CertifiedKey>,
}

impl ClientIdentity {
    /// Reads a chain and its key from PEM; refuses a key that belongs to another certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|e| PairError::Key(PemProblem::from(e).to_string()))?;
        let key = any_supported_type(&key).map_err(|e| PairError::Key(e.to_string()))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(PairError::Mismatch),
        }
        Ok(Self { certified: Arc::new(certified) })
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The same key with another chain; nothing checks that they belong together.
    pub fn with_chain(&self, chain: Vec<CertificateDer<'static>>) -> Self {
        Self { certified: Arc::new(CertifiedKey::new(chain, self.certified.key.clone())) }
    }
}

/// Every certificate of a PEM text; at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(PairError::Certificate("the text holds none".into())),
        Err(error) => Err(PairError::Certificate(PemProblem::from(error).to_string())),
    }
}
