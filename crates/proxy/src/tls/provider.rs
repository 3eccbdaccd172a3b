//! The cryptography: aws-lc-rs, narrowed to the suites, groups and versions that a configuration names.

use std::sync::Arc;

use model::codes::serving;
use model::snapshot::TlsVersion;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use crate::error::Error;

/// All groups, in the order of preference.
const GROUPS: [(&str, &[&str], &dyn SupportedKxGroup); 4] = [
    ("X25519MLKEM768", &[], kx_group::X25519MLKEM768),
    ("X25519", &[], kx_group::X25519),
    ("P-256", &["prime256v1", "secp256r1"], kx_group::SECP256R1),
    ("P-384", &["secp384r1"], kx_group::SECP384R1),
];

/// The provider with everything that is safe.
pub(crate) fn default_provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: GROUPS.iter().map(|(_, _, group)| *group).collect(),
        ..aws_lc_rs::default_provider()
    })
}

/// What a configuration says about suites, groups and versions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choice<'a> {
    pub(crate) ciphers: &'a [String],
    pub(crate) groups: &'a [String],
    pub(crate) min: Option<TlsVersion>,
    pub(crate) max: Option<TlsVersion>,
}

/// A provider and versions narrowed to a choice.
///
/// # Errors
///
/// When a name is not known, or nothing is left.
pub(crate) fn chosen(
    choice: Choice<'_>,
) -> Result<(Arc<CryptoProvider>, Vec<&'static SupportedProtocolVersion>), Error> {
    let base = aws_lc_rs::default_provider();
    let kx_groups = groups(choice.groups)?;
    let cipher_suites = suites(choice.ciphers, base.cipher_suites.clone())?;
    let provider = Arc::new(CryptoProvider { kx_groups, cipher_suites, ..base });
    let allowed = |version: TlsVersion| {
        choice.min.is_none_or(|min| version >= min) && choice.max.is_none_or(|max| version <= max)
    };
    let mut versions = Vec::new();
    let has = |wanted| provider.cipher_suites.iter().any(|suite| suite.version().version == wanted);
    if allowed(TlsVersion::V1_3) && has(rustls::ProtocolVersion::TLSv1_3) {
        versions.push(&rustls::version::TLS13);
    }
    if allowed(TlsVersion::V1_2) && has(rustls::ProtocolVersion::TLSv1_2) {
        versions.push(&rustls::version::TLS12);
    }
    if versions.is_empty() {
        return Err(Error::new(
            &serving::TLS_SETTINGS,
            "no TLS version is left: see min_version, max_version and ciphers",
        ));
    }
    Ok((provider, versions))
}

fn groups(names: &[String]) -> Result<Vec<&'static dyn SupportedKxGroup>, Error> {
    if names.is_empty() {
        return Ok(GROUPS.iter().map(|(_, _, group)| *group).collect());
    }
    names
        .iter()
        .map(|name| {
            GROUPS
                .iter()
                .find(|(own, others, _)| {
                    own.eq_ignore_ascii_case(name)
                        || others.iter().any(|other| other.eq_ignore_ascii_case(name))
                })
                .map(|(_, _, group)| *group)
                .ok_or_else(|| {
                    let known = GROUPS.map(|(name, _, _)| name).join(", ");
                    Error::new(&serving::TLS_SETTINGS, format!("{name:?} is not a group: known are {known}"))
                })
        })
        .collect()
}

/// The named suites in their order. A version of which no suite is named keeps all of its own, as in nginx,
/// where `ssl_ciphers` is about TLS 1.2 only.
fn suites(names: &[String], all: Vec<SupportedCipherSuite>) -> Result<Vec<SupportedCipherSuite>, Error> {
    if names.is_empty() {
        return Ok(all);
    }
    let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
    for name in names {
        let suite =
            all.iter().find(|suite| iana_name(suite).eq_ignore_ascii_case(name)).ok_or_else(|| {
                let known: Vec<String> = all.iter().map(iana_name).collect();
                Error::new(
                    &serving::TLS_SETTINGS,
                    format!("{name:?} is not a cipher suite: known are {}", known.join(", ")),
                )
            })?;
        chosen.push(*suite);
    }
    if chosen.iter().all(|suite| suite.tls13().is_none()) {
        chosen.splice(0..0, all.iter().copied().filter(|suite| suite.tls13().is_some()));
    }
    Ok(chosen)
}

/// The name of the IANA registry; the TLS library has its own for TLS 1.3.
fn iana_name(suite: &SupportedCipherSuite) -> String {
    cipher_name(suite.suite())
}

/// The IANA name of a cipher suite.
pub fn cipher_name(suite: rustls::CipherSuite) -> String {
    suite.as_str().map_or_else(|| format!("{suite:?}"), |name| name.replace("TLS13_", "TLS_"))
}
