//! How certificates, serial numbers and times are written as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::Error as PkiPemError;
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

/// Why a text is no PEM. The parsers' own errors quote the line at fault, which may be of a private key; this one holds
/// nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PemProblem(&'static str);

impl From<::pem::PemError> for PemProblem {
    fn from(error: ::pem::PemError) -> Self {
        use ::pem::PemError as E;
        Self(match error {
            E::MismatchedTags(..) => "its BEGIN and END lines name different things",
            E::MalformedFraming => "its BEGIN or END line is damaged",
            E::MissingBeginTag => "it has no BEGIN line",
            E::MissingEndTag => "it has no END line; is it cut off?",
            E::MissingData => "nothing is between its BEGIN and END lines",
            E::InvalidData(_) => "its base64 is damaged",
            E::InvalidHeader(_) => "a line of a section is neither base64 nor a header",
            E::NotUtf8(_) => "it is not UTF-8",
        })
    }
}

impl From<PkiPemError> for PemProblem {
    fn from(error: PkiPemError) -> Self {
        Self(match error {
            PkiPemError::MissingSectionEnd { .. } => "a section has no END line; is it cut off?",
            PkiPemError::IllegalSectionStart { .. } => "a BEGIN line does not end with five dashes",
            PkiPemError::Base64Decode(_) => "its base64 is damaged",
            PkiPemError::Io(_) => "it cannot be read",
            PkiPemError::NoItemsFound => "it holds no section of this kind",
            PkiPemError::SectionTooLarge => "a section is larger than 256 MB",
            _ => "it is damaged",
        })
    }
}

/// The sections of a PEM text.
///
/// # Errors
///
/// Where it is damaged.
pub(crate) fn sections_of_pem(text: &str) -> Result<Vec<::pem::Pem>, PemProblem> {
    Ok(::pem::parse_many(text)?)
}

/// The certificates of a PEM text, DER, in their order; other blocks are passed over.
///
/// # Errors
///
/// Where the text is damaged.
pub fn certificates_of_pem(text: &str) -> Result<Vec<Vec<u8>>, PemProblem> {
    Ok(sections_of_pem(text)?
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

#[cfg(test)]
mod tests {
    use rustls_pki_types::PrivateKeyDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_pem_text_holds_nothing_of_the_text() {
        const KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
        // What is left of a key whose lines were joined, cut or indented by a script or a settings page.
        let damaged = [
            format!(
                "-----BEGIN PRIVATE KEY-----\n{KEY}-----END PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"
            ),
            format!("-----BEGIN PRIVATE KEY-----{KEY}\n-----END PRIVATE KEY-----\n"),
            format!(
                "-----BEGIN PRIVATE KEY-----\nProc: {KEY}\n{KEY}:\n\n{KEY}*\n-----END PRIVATE KEY-----\n"
            ),
            format!("-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END {KEY}-----\n"),
            format!("-----BEGIN PRIVATE KEY-----\n{KEY}\n"),
        ];
        let mut refused = 0;
        for text in damaged {
            let answers = [
                sections_of_pem(&text).err(),
                PrivateKeyDer::from_pem_slice(text.as_bytes()).err().map(PemProblem::from),
            ];
            for problem in answers.into_iter().flatten() {
                refused += 1;
                assert!(!format!("{problem} {problem:?}").contains("MIGH"), "{problem}");
            }
            let format = crate::formats::pem::parse(text.as_bytes()).err();
            assert!(!format!("{format:?}").contains("MIGH"), "{format:?}");
            let key = crate::PrivateKey::from_pem(&text, None).err().unwrap();
            assert!(!format!("{key} {key:?}").contains("MIGH"), "{key}");
        }
        assert!(refused >= 7, "{refused}");
    }
}
