//! What a Certificate asks for, read from its spec: parsed once, so that everything after it works on values that
//! make sense.

use std::str::FromStr as _;

use certs::{AltName, KeyKind, SHORTEST_LIFETIME, Usage};
use model::units::Span;
use time::Duration;
use zeroize::Zeroizing;

use crate::certificate::{CertificateSpec, CertificateUsage};
use crate::error::{Error, Result};

/// A lifetime beyond this is a mistake: dates end in the year 9999.
const LONGEST_LIFETIME: Duration = Duration::days(100 * 365);

/// What the Secret should hold.
#[derive(Debug)]
pub struct Wanted {
    /// Names, as they were granted.
    pub names: Vec<AltName>,
    /// Extended key usage.
    pub usage: Usage,
    /// Kind of the key.
    pub key: KeyKind,
    /// Lifetime of the certificate.
    pub lifetime: Duration,
    /// Whether `tls-combined.pem` is in it.
    pub combined: bool,
    /// Keystores.
    pub stores: Option<Stores>,
}

/// Keystores that should be in the Secret.
pub struct Stores {
    /// PKCS#12.
    pub pkcs12: bool,
    /// JKS.
    pub jks: bool,
    /// Their password.
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").field("pkcs12", &self.pkcs12).field("jks", &self.jks).finish_non_exhaustive()
    }
}

impl Wanted {
    /// Reads what needs nobody else: not names and passwords.
    ///
    /// # Errors
    ///
    /// When a word of the spec is not known.
    pub fn of(spec: &CertificateSpec) -> Result<Self> {
        let key = spec.key.as_deref().map_or(Ok(KeyKind::default()), |text| {
            KeyKind::from_str(text).map_err(|why| Error::Spec(format!("spec.key: {why}")))
        })?;
        Ok(Self {
            names: Vec::new(),
            usage: match spec.usage {
                CertificateUsage::Server => Usage::Server,
                CertificateUsage::Client => Usage::Client,
                CertificateUsage::Both => Usage::Both,
            },
            key,
            lifetime: spec.lifetime.as_deref().map_or(Ok(certs::DEFAULT_LIFETIME), lifetime)?,
            combined: spec.combined_pem,
            stores: None,
        })
    }

    /// The names as text, `DNS:web`.
    pub fn names_text(&self) -> Vec<String> {
        self.names.iter().map(ToString::to_string).collect()
    }
}

fn lifetime(text: &str) -> Result<Duration> {
    let span: Span = text.parse().map_err(|why| Error::Spec(format!("spec.lifetime: {why}")))?;
    let lifetime = Duration::seconds(i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX));
    if lifetime < SHORTEST_LIFETIME || lifetime > LONGEST_LIFETIME {
        return Err(Error::Spec(format!(
            "spec.lifetime: {text} is not between one minute and a hundred years"
        )));
    }
    Ok(lifetime)
}
