//! PKCS#12 (RFC 7292), by the library p12-keystore; what it reads and writes is decided here.
//!
//! Read: AES with PBKDF2 or scrypt (OpenSSL 3, Java since 8u301) and the old 3DES and 40-bit RC2 of files
//! made by OpenSSL 1, Windows and older Java. Written: AES-256-CBC, PBKDF2 and a MAC with SHA-256 only.

use p12_keystore::error::Error as P12Error;
use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, Pkcs12Archive, PrivateKey,
    PrivateKeyChain,
};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::tlv::{INTEGER, OID, SEQUENCE, take};
use super::{Contents, Format, FormatError, KeyDer, MAX_BYTES, MAX_OBJECTS};

/// Rounds of key derivation in what is written; readers limit them (Java 5,000,000, Windows 600,000).
const ITERATIONS: u32 = 100_000;

/// Whether it begins as a PFX does: version 3, then a content type.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let version = take(bytes, SEQUENCE).and_then(|(body, _)| take(body, INTEGER));
    version.is_some_and(|(version, rest)| {
        version == [3] && take(rest, SEQUENCE).is_some_and(|(safe, _)| take(safe, OID).is_some())
    })
}

/// Reads a store: the certificates that belong to the key first, leaf first; then all others.
///
/// # Errors
///
/// [`FormatError`]: the password is missing or wrong, the store is damaged, or of a kind that is not read.
pub fn parse(bytes: &[u8], password: Option<&str>) -> Result<Contents, FormatError> {
    if bytes.len() > MAX_BYTES {
        return Err(FormatError::TooLarge(format!("{} bytes, {MAX_BYTES} are read at most", bytes.len())));
    }
    let archive = Pkcs12Archive::from_pkcs12(bytes, password.unwrap_or_default())
        .map_err(|error| in_our_words(error, password.is_some()))?;
    if archive.certs.len() + archive.keys.len() > MAX_OBJECTS {
        return Err(FormatError::TooLarge(format!("more than {MAX_OBJECTS} entries")));
    }
    let mut contents = Contents::new(Format::Pkcs12);
    let own_id = archive.keys.first().and_then(|key| key.local_key_id.as_ref());
    let is_own =
        |id: &Option<Vec<u8>>| matches!((id, own_id), (Some(id), Some(own)) if id.as_slice() == own.as_ref());
    let (mut own, others): (Vec<_>, Vec<_>) =
        archive.certs.into_iter().partition(|cert| is_own(&cert.local_key_id));
    own.extend(others);
    for entry in own {
        contents.aliases.extend(entry.friendly_name);
        contents.certificates.push(CertificateDer::from(entry.cert.as_der().to_vec()));
    }
    for entry in &archive.keys {
        contents.keys.push(KeyDer(Zeroizing::new(entry.key.as_der().to_vec())));
    }
    contents.aliases.dedup();
    Ok(contents)
}

/// Writes a store with one key (PKCS#8 DER) and its chain, leaf first.
///
/// # Errors
///
/// [`FormatError::Unwritable`] when the key, a certificate or the name cannot be encoded, or the password
/// is not ASCII.
pub fn write(
    name: &str,
    chain: &[CertificateDer<'_>],
    pkcs8: &[u8],
    password: &str,
) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let leaf = chain.first().ok_or_else(|| unwritable("there is no certificate"))?;
    let key = PrivateKey::from_der(pkcs8).map_err(unwritable)?;
    let certificates: Vec<_> =
        chain.iter().map(|der| Certificate::from_der(der).map_err(unwritable)).collect::<Result<_, _>>()?;
    // The key's identifier is the SHA-1 of the leaf, as OpenSSL and Windows write it.
    let id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, leaf);
    let mut store = KeyStore::new();
    let chain = PrivateKeyChain::new(id.as_ref(), key, certificates);
    store.add_entry(name, KeyStoreEntry::PrivateKeyChain(chain));
    finish(&store, password)
}

/// Writes a store of trusted authorities (a trust store), each under its name.
///
/// # Errors
///
/// [`FormatError::Unwritable`] when a certificate or a name cannot be encoded.
pub fn write_truststore(
    authorities: &[(String, CertificateDer<'_>)],
    password: &str,
) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let mut store = KeyStore::new();
    for (name, der) in authorities {
        let certificate = Certificate::from_der(der).map_err(unwritable)?;
        store.add_entry(name, KeyStoreEntry::Certificate(certificate));
    }
    finish(&store, password)
}

fn finish(store: &KeyStore, password: &str) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    // Java derives AES keys from ASCII passwords only, and says no more than that the password is wrong.
    if !password.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(unwritable("its password must be plain ASCII, since Java opens no other"));
    }
    store
        .writer(password)
        .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
        .encryption_iterations(ITERATIONS)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(ITERATIONS)
        .write()
        .map(Zeroizing::new)
        .map_err(unwritable)
}

fn unwritable(reason: impl std::fmt::Display) -> FormatError {
    FormatError::Unwritable(format!("the PKCS#12 store cannot be written: {reason}"))
}

fn in_our_words(error: P12Error, with_password: bool) -> FormatError {
    match error {
        P12Error::MacError(_) | P12Error::UnpadError | P12Error::Pkcs5Error(_) if with_password => {
            FormatError::PasswordWrong(Format::Pkcs12)
        }
        P12Error::MacError(_) | P12Error::UnpadError | P12Error::Pkcs5Error(_) => {
            FormatError::PasswordMissing(Format::Pkcs12)
        }
        P12Error::UnsupportedEncryptionScheme | P12Error::UnsupportedMacAlgorithm => FormatError::Unsupported(
            "the PKCS#12 store is encrypted in a way that is not read (such as 128-bit RC2, RC4 or PBMAC1); \
             write it anew with: openssl pkcs12 -in OLD.p12 -legacy -nodes | openssl pkcs12 -export -out NEW.p12"
                .to_owned(),
        ),
        P12Error::InvalidParameters => FormatError::Unsupported(
            "the PKCS#12 store asks for more than a million rounds of key derivation, which is refused".to_owned(),
        ),
        other => FormatError::Damaged { format: Format::Pkcs12, what: other.to_string() },
    }
}
