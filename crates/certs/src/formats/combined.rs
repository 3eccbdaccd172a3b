//! Combined PEM: the leaf, its intermediates and the private key in one file, as HAProxy, many databases
//! and Kubernetes' `tls-combined.pem` want it.

use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::{Contents, FormatError, pem};

/// Reads a combined file: PEM with exactly one private key and at least one certificate.
///
/// # Errors
///
/// [`FormatError::Unknown`] when a part is missing or there are several keys; those of [`pem::parse`].
pub fn parse(bytes: &[u8]) -> Result<Contents, FormatError> {
    let contents = pem::parse(bytes)?;
    match (contents.certificates.len(), contents.keys.len() + contents.encrypted_keys.len()) {
        (0, _) => Err(FormatError::Unknown("there is no certificate in it".to_owned())),
        (_, 0) => Err(FormatError::Unknown("there is no private key in it".to_owned())),
        (_, 1) => Ok(contents),
        (_, keys) => Err(FormatError::Unknown(format!("there are {keys} private keys in it"))),
    }
}

/// Writes the chain, leaf first, and then the key (PKCS#8 DER).
pub fn write(chain: &[CertificateDer<'_>], pkcs8: &[u8]) -> Zeroizing<String> {
    let key = pem::section("PRIVATE KEY", pkcs8);
    let certificates = pem::write(chain);
    let mut text = Zeroizing::new(String::with_capacity(certificates.len() + key.len()));
    text.push_str(&certificates);
    text.push_str(&key);
    text
}
