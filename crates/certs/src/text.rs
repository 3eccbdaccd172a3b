//! How certificates, serial numbers and times are written as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::Error;

/// A PEM block (RFC 7468, section 2) with lines of 64 characters.
pub fn pem(label: &str, der: &[u8]) -> String {
    // Room for everything at once: a key must not leave copies behind in buffers that grew.
    let mut base64 = zeroize::Zeroizing::new(String::with_capacity(der.len().div_ceil(3) * 4));
    STANDARD.encode_string(der, &mut base64);
    let mut text = String::with_capacity(base64.len() + base64.len() / 64 + 2 * label.len() + 40);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The certificates of a PEM text, DER, in their order; other blocks are passed over.
pub fn certificates_of_pem(text: &str) -> Result<Vec<Vec<u8>>, pem::PemError> {
    let sections = ::pem::parse_many(text)?;
    Ok(sections
        .into_iter()
        .filter(|section| matches!(section.tag(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE"))
        .map(::pem::Pem::into_contents)
        .collect())
}

/// A time as people and machines read it: `2026-08-05T10:00:00Z`.
pub fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.unix_timestamp().to_string())
}

/// A serial number as `openssl` and the ledger write it: upper-case hexadecimal without leading zeros.
pub fn serial_hex(bytes: &[u8]) -> String {
    let text = hex::encode_upper(bytes);
    let trimmed = text.trim_start_matches("00");
    if trimmed.is_empty() { "00".to_owned() } else { trimmed.to_owned() }
}

/// The subject of a certificate in the form of x509-parser: `O=Example, CN=web`.
pub(crate) fn subject_of(der: &[u8]) -> crate::error::Result<String> {
    let (_, x509) = X509Certificate::from_der(der)
        .map_err(|e| Error::Signing(format!("what was signed cannot be read back: {e}")))?;
    Ok(x509.subject().to_string())
}
