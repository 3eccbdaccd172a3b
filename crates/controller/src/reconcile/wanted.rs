//! What a Certificate asks for, read from its spec: parsed once, so that everything after it works on values that
//! make sense.

use std::str::FromStr as _;

use certs::{AltName, KeyKind, Usage};
use time::Duration;
use zeroize::Zeroizing;

use crate::certificate::{CertificateSpec, CertificateUsage};
use crate::error::{Error, Result};
use crate::lifetimes::Lifetimes;
use crate::names::is_object_name;

#[cfg(test)]
mod tests;

/// More workloads of one Certificate are refused.
const MOST_RESTARTS: usize = 20;

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
    /// When a word of the spec is not known or is no name, or a number is beyond its limit.
    pub fn of(spec: &CertificateSpec, lifetimes: &Lifetimes) -> Result<Self> {
        check_names(spec)?;
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
            lifetime: lifetimes.choose(spec.lifetime.as_deref())?,
            combined: spec.combined_pem,
            stores: None,
        })
    }

    /// The names as text, `DNS:web`.
    pub fn names_text(&self) -> Vec<String> {
        self.names.iter().map(ToString::to_string).collect()
    }
}

/// Names of objects become parts of URLs, so nothing but a name may stand there. The kind's schema says the same; it may be
/// an older one.
fn check_names(spec: &CertificateSpec) -> Result<()> {
    if spec.restart.len() > MOST_RESTARTS {
        return Err(Error::Spec(format!(
            "spec.restart names {} workloads, and a Certificate names {MOST_RESTARTS} at most",
            spec.restart.len()
        )));
    }
    let password = spec.keystores.iter().map(|stores| ("keystores.passwordSecret", &stores.password_secret));
    let restarted = spec.restart.iter().map(|workload| ("restart", &workload.name));
    let mut all = std::iter::once(("secretName", &spec.secret_name)).chain(password).chain(restarted);
    match all.find(|(_, name)| !is_object_name(name)) {
        Some((field, name)) => {
            let shown: String = name.chars().take(80).collect();
            Err(Error::Spec(format!("spec.{field}: {shown:?} is no name of an object in Kubernetes")))
        }
        None => Ok(()),
    }
}
