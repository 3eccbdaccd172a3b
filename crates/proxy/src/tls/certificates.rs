//! Certificates with their keys: read from files, checked, and chosen by server name and by what the client
//! can verify (ECDSA and RSA side by side).

use std::path::Path;
use std::sync::Arc;

use certs::PemProblem;
use model::codes::{certificates as codes, serving};
use model::snapshot::CertificateFiles;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::peer;
use crate::error::Error;
use crate::source::Source;

/// A chain with its key, ready for handshakes.
#[derive(Debug)]
pub struct Certificate {
    /// The chain's file.
    pub file: String,
    /// Whom the leaf names.
    pub name: String,
    /// DNS names of the leaf, lower case.
    dns: Vec<String>,
    /// Start of its life, seconds since 1970.
    pub not_before: i64,
    /// End of its life (or of the first certificate of its chain), seconds since 1970.
    pub not_after: i64,
    /// SHA-256 over chain and public key.
    pub(crate) content: [u8; 32],
    pub(crate) key: Arc<CertifiedKey>,
}

/// Reads and checks a chain and its key.
///
/// # Errors
///
/// When a file is missing or unreadable, the pair does not fit, or the leaf is outside of its dates at `now`.
pub(crate) fn load(
    base: &Path,
    files: &CertificateFiles,
    source: &dyn Source,
    provider: &CryptoProvider,
    now: i64,
) -> Result<Certificate, Error> {
    let chain_path = base.join(&files.chain);
    let key_path = base.join(&files.key);
    let pem = source.read(&chain_path).map_err(|error| Error::reading(&chain_path, &error))?;
    let chain = certificates(&pem, &chain_path)?;
    let key = private_key(base, files, source)?;
    if source.permissions(&key_path).is_some_and(|mode| mode & 0o007 != 0) {
        tracing::warn!(
            code = serving::KEY_TOO_OPEN.id,
            file = %key_path.display(),
            "{}",
            serving::KEY_TOO_OPEN.title
        );
    }
    let content = crate::policy::sha256(chain.iter());
    let unusable =
        |what: String| Error::new(&codes::CERTIFICATE_UNREADABLE, what).with("chain", chain_path.display());
    let described = peer::describe(&chain, model::peer::Verification::Unverified);
    let key = match CertifiedKey::from_der(chain.clone(), key, provider) {
        Ok(key) => key,
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(Error::new(
                &serving::KEY_MISMATCH,
                format!(
                    "the key {} does not belong to the certificate {}",
                    key_path.display(),
                    chain_path.display()
                ),
            )
            .with("subject", &described.subject)
            .with("serial", &described.serial));
        }
        Err(error) => {
            return Err(unusable(format!(
                "the pair {} and {} cannot be used: {error}",
                chain_path.display(),
                key_path.display()
            )));
        }
    };
    let ends = chain.iter().filter_map(|der| peer::not_after(der)).min().unwrap_or(described.not_after);
    let dated = |code, what: String| {
        Err(Error::new(code, what).with("subject", &described.subject).with("serial", &described.serial))
    };
    if now > ends {
        let what = format!("the certificate {} has expired at {}", chain_path.display(), date(ends));
        return dated(&serving::CERTIFICATE_SERVED_EXPIRED, what);
    }
    if now < described.not_before {
        let from = date(described.not_before);
        let what = format!("the certificate {} is not valid before {from}", chain_path.display());
        return dated(&serving::CERTIFICATE_NOT_VALID_YET, what);
    }
    Ok(Certificate {
        file: chain_path.display().to_string(),
        name: described.name().to_owned(),
        dns: described.dns,
        not_before: described.not_before,
        not_after: ends,
        content,
        key: Arc::new(key),
    })
}

/// The certificates of a PEM file.
pub(crate) fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = |detail: String| {
        Error::new(
            &codes::CERTIFICATE_UNREADABLE,
            format!("{} cannot be understood: {detail}", path.display()),
        )
    };
    let list = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(PemProblem::from(error).to_string()))?;
    if list.is_empty() {
        return Err(unreadable("it holds no PEM certificate".to_owned()));
    }
    Ok(list)
}

fn private_key(
    base: &Path,
    files: &CertificateFiles,
    source: &dyn Source,
) -> Result<PrivateKeyDer<'static>, Error> {
    let path = base.join(&files.key);
    let pem = Zeroizing::new(source.read(&path).map_err(|error| Error::reading(&path, &error))?);
    let unusable = |detail: &str| {
        Error::new(&serving::KEY_UNREADABLE, format!("the key {} cannot be used: {detail}", path.display()))
    };
    if pem.windows(9).any(|window| window == b"ENCRYPTED") {
        return decrypt(base, files, source, &pem);
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => unusable("it holds no PEM private key"),
        error => unusable(&PemProblem::from(error).to_string()),
    })
}

/// An encrypted key, with the first password of the file that opens it.
fn decrypt(
    base: &Path,
    files: &CertificateFiles,
    source: &dyn Source,
    pem: &[u8],
) -> Result<PrivateKeyDer<'static>, Error> {
    let path = base.join(&files.key);
    let unusable = |detail: &str| {
        Error::new(&serving::KEY_UNREADABLE, format!("the key {} cannot be used: {detail}", path.display()))
    };
    let Some(file) = &files.password_file else {
        return Err(unusable("it is encrypted, and no password_file is given"));
    };
    let file = base.join(file);
    let passwords = Zeroizing::new(source.read(&file).map_err(|error| Error::reading(&file, &error))?);
    let text = std::str::from_utf8(pem).map_err(|_| unusable("it is not PEM"))?;
    let mut last = "the password file is empty".to_owned();
    for line in passwords.split(|byte| *byte == b'\n') {
        let password = line.strip_suffix(b"\r").unwrap_or(line);
        if password.is_empty() {
            continue;
        }
        match certs::PrivateKey::from_pem(text, Some(password)) {
            Ok(key) => {
                return Ok(PrivateKeyDer::Pkcs8(key.pkcs8_der().to_vec().into()));
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(unusable(&last))
}

/// A time as people write it, in UTC.
pub(crate) fn date(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}

/// The certificates of one host. The first that fits: exact name, wildcard, any; of those that fit equally the
/// first whose key the client can verify, ECDSA before RSA.
#[derive(Debug)]
pub(crate) struct Certificates {
    list: Vec<Arc<Certificate>>,
}

impl Certificates {
    pub(crate) fn new(mut list: Vec<Arc<Certificate>>) -> Self {
        let rank = |certificate: &Arc<Certificate>| match certificate.key.key.algorithm() {
            SignatureAlgorithm::ECDSA => 0,
            SignatureAlgorithm::RSA => 2,
            _ => 1,
        };
        // Stable, and only where both serve the same names: the first certificate stays the default.
        if list.iter().all(|certificate| certificate.dns == list[0].dns) {
            list.sort_by_key(rank);
        }
        Self { list }
    }

    /// The certificate for a name and a client's signature schemes.
    pub(crate) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<Certificate>> {
        let usable = |certificate: &&Arc<Certificate>| certificate.key.key.choose_scheme(schemes).is_some();
        let fits = |fit: fn(&str, &str) -> bool| {
            let name = name?;
            self.list
                .iter()
                .filter(|certificate| certificate.dns.iter().any(|pattern| fit(pattern, name)))
                .find(usable)
        };
        fits(|pattern, name| pattern == name)
            .or_else(|| fits(wildcard_fits))
            .or_else(|| self.list.iter().find(usable))
    }
}

/// A wildcard stands for exactly one label (RFC 6125, section 6.4.3).
fn wildcard_fits(pattern: &str, name: &str) -> bool {
    let Some(domain) = pattern.strip_prefix("*.") else { return false };
    name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == domain)
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.choose(name.as_deref(), hello.signature_schemes())
            .map(|certificate| Arc::clone(&certificate.key))
    }
}
