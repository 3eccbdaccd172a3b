//! Certificates and keys in files: PEM, DER, PKCS#12, JKS and combined PEM, read and written.
//!
//! [`read`] recognises the format by its first bytes. Sizes are bounded and nothing here panics: each
//! `parse` is a plain function over bytes, and a fuzz target. Private keys are wiped when dropped and
//! never shown by `Debug`.

pub mod combined;
pub mod der;
pub mod jks;
pub mod pem;
pub mod pkcs12;
pub(crate) mod tlv;

#[cfg(test)]
mod tests;

use std::fmt;

use model::codes::{Code, Coded, certificates};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

/// A larger file is refused: a store of ten thousand certificates has about that size.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// More objects in one file are refused.
pub const MAX_OBJECTS: usize = 10_000;

/// How a file holds what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text between `-----BEGIN ...-----` lines (RFC 7468).
    Pem,
    /// One object in binary (X.690).
    Der,
    /// A store with a password (RFC 7292): `.p12`, `.pfx`.
    Pkcs12,
    /// Java's older store: `.jks`.
    Jks,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pem => "PEM",
            Self::Der => "DER",
            Self::Pkcs12 => "PKCS#12",
            Self::Jks => "JKS",
        })
    }
}

/// A private key as it was found: PKCS#8, PKCS#1 or SEC1 DER. Wiped when dropped.
#[derive(Clone)]
pub struct KeyDer(pub Zeroizing<Vec<u8>>);

impl fmt::Debug for KeyDer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDer(..)")
    }
}

/// What a file holds, in its order.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The file's format.
    pub format: Format,
    /// Certificates; in a PKCS#12 or JKS store those of the key first, in the order of its chain.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Private keys that are not encrypted, or that the password opened.
    pub keys: Vec<KeyDer>,
    /// Encrypted private keys in PEM or DER (PKCS#8), still closed.
    pub encrypted_keys: Vec<Vec<u8>>,
    /// Revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
    /// Certificate signing requests (PKCS#10), DER.
    pub requests: Vec<Vec<u8>>,
    /// Names of the entries of a store.
    pub aliases: Vec<String>,
    /// Sections that were passed over, by their label.
    pub ignored: Vec<String>,
}

impl Contents {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            certificates: Vec::new(),
            keys: Vec::new(),
            encrypted_keys: Vec::new(),
            crls: Vec::new(),
            requests: Vec::new(),
            aliases: Vec::new(),
            ignored: Vec::new(),
        }
    }

    fn objects(&self) -> usize {
        self.certificates.len()
            + self.keys.len()
            + self.encrypted_keys.len()
            + self.crls.len()
            + self.requests.len()
    }

    /// Whether nothing of use was found.
    pub fn is_empty(&self) -> bool {
        self.objects() == 0
    }
}

/// A file that cannot be read as certificates or keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Neither of the formats.
    #[error("this is no PEM, DER, PKCS#12 or JKS file: {0}")]
    Unknown(String),
    /// More bytes or objects than are read.
    #[error("the file is too large: {0}")]
    TooLarge(String),
    /// A PEM section is broken.
    #[error("line {line}: {what}")]
    Pem {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A store is damaged.
    #[error("the {format} store is damaged: {what}")]
    Damaged {
        /// The store's format.
        format: Format,
        /// What is wrong with it.
        what: String,
    },
    /// A store needs a password and none was given.
    #[error("the {0} store is protected by a password, and none was given")]
    PasswordMissing(Format),
    /// The password does not open the store.
    #[error("the password does not open the {0} store, or the store was altered")]
    PasswordWrong(Format),
    /// A kind of store or encryption that is not read, with what is wrong.
    #[error("{0}")]
    Unsupported(String),
    /// Something cannot be written in this format.
    #[error("{0}")]
    Unwritable(String),
}

impl Coded for FormatError {
    fn code(&self) -> &'static Code {
        match self {
            Self::Unknown(_) => &certificates::FORMAT_UNKNOWN,
            Self::TooLarge(_) => &certificates::FORMAT_TOO_LARGE,
            Self::Pem { .. } => &certificates::PEM_MALFORMED,
            Self::Damaged { .. } => &certificates::STORE_DAMAGED,
            Self::PasswordMissing(_) | Self::PasswordWrong(_) => &certificates::STORE_PASSWORD,
            Self::Unsupported(_) => &certificates::STORE_UNSUPPORTED,
            Self::Unwritable(_) => &certificates::FORMAT_UNWRITABLE,
        }
    }
}

/// The format by its first bytes; `None` for what is none of them.
pub fn detect(bytes: &[u8]) -> Option<Format> {
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] => Some(Format::Jks),
        [0x30, ..] if pkcs12::looks_like(bytes) => Some(Format::Pkcs12),
        [0x30, ..] => Some(Format::Der),
        _ if bytes.windows(11).any(|window| window == b"-----BEGIN ") => Some(Format::Pem),
        _ => None,
    }
}

/// Reads a file of any of the formats. The password is used for PKCS#12 and JKS only.
///
/// # Errors
///
/// [`FormatError`]; nothing is returned from a file that is broken anywhere.
pub fn read(bytes: &[u8], password: Option<&str>) -> Result<Contents, FormatError> {
    if bytes.len() > MAX_BYTES {
        return Err(FormatError::TooLarge(format!("{} bytes, {MAX_BYTES} are read at most", bytes.len())));
    }
    match detect(bytes) {
        Some(Format::Pem) => pem::parse(bytes),
        Some(Format::Der) => der::parse(bytes),
        Some(Format::Pkcs12) => pkcs12::parse(bytes, password),
        Some(Format::Jks) => jks::parse(bytes, password),
        None if bytes.is_empty() => Err(FormatError::Unknown("it is empty".to_owned())),
        None => Err(FormatError::Unknown("there is no line -----BEGIN ...----- in it".to_owned())),
    }
}
