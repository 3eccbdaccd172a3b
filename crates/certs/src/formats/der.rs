//! One object in DER. Its kind is found by trying: the grammars do not overlap.

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::Zeroizing;

use super::tlv::{INTEGER, OCTETS, OID, SEQUENCE, take};
use super::{Contents, Format, FormatError, KeyDer};

/// Reads a certificate, a revocation list, a request or a private key.
///
/// # Errors
///
/// [`FormatError::Unknown`] when it is none of them, or when data follows it.
pub fn parse(bytes: &[u8]) -> Result<Contents, FormatError> {
    let mut contents = Contents::new(Format::Der);
    let unknown = |what: &str| FormatError::Unknown(what.to_owned());
    let Some((body, rest)) = take(bytes, SEQUENCE) else {
        return Err(unknown("the DER sequence is damaged or cut off"));
    };
    if !rest.is_empty() {
        return Err(unknown("data follows the DER object"));
    }
    if is_private_key(body) {
        contents.keys.push(KeyDer(Zeroizing::new(bytes.to_vec())));
    } else if is_encrypted_key(body) {
        contents.encrypted_keys.push(bytes.to_vec());
    } else if X509Certificate::from_der(bytes).is_ok() {
        contents.certificates.push(CertificateDer::from(bytes.to_vec()));
    } else if CertificateRevocationList::from_der(bytes).is_ok() {
        contents.crls.push(bytes.to_vec());
    } else if X509CertificationRequest::from_der(bytes).is_ok() {
        contents.requests.push(bytes.to_vec());
    } else {
        return Err(unknown("it is DER, but no certificate, revocation list, request or private key"));
    }
    Ok(contents)
}

/// PKCS#8 (RFC 5958), PKCS#1 (RFC 8017, appendix A.1.2) or SEC1 (RFC 5915): a version, then the key.
fn is_private_key(body: &[u8]) -> bool {
    let Some((version, rest)) = take(body, INTEGER) else { return false };
    match version {
        [0] | [1] => {
            let pkcs8 = take(rest, SEQUENCE).is_some_and(|(algorithm, rest)| {
                take(algorithm, OID).is_some() && take(rest, OCTETS).is_some()
            });
            pkcs8 || take(rest, INTEGER).is_some() || take(rest, OCTETS).is_some()
        }
        _ => false,
    }
}

/// EncryptedPrivateKeyInfo (RFC 5958, section 3): an algorithm, then octets and nothing else.
fn is_encrypted_key(body: &[u8]) -> bool {
    take(body, SEQUENCE).is_some_and(|(algorithm, rest)| {
        take(algorithm, OID).is_some() && take(rest, OCTETS).is_some_and(|(_, rest)| rest.is_empty())
    })
}
