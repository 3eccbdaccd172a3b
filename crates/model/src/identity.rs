//! The one identity of the house: `spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>`, after the
//! SPIFFE-ID standard. Certificates carry it as their URI name; policies, logs and metrics speak it.
//!
//! Parsing is strict, as the standard asks of validators: no upper case in the trust domain, no percent
//! encoding, no query, no port, no user, no empty and no dot segments. What parses prints back the same.

use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// The trust domain where nothing else was chosen.
pub const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";
/// The namespace of workloads outside of a cluster.
pub const LOCAL_NAMESPACE: &str = "local";

/// The longest SPIFFE ID in bytes (SPIFFE-ID, section 2.3).
const LONGEST_ID: usize = 2048;
/// The longest trust domain in bytes (SPIFFE-ID, section 2.1).
const LONGEST_TRUST_DOMAIN: usize = 255;
const SCHEME: &str = "spiffe://";

/// Why a text is not a SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It does not begin with `spiffe://`.
    #[error("it does not begin with spiffe://")]
    Scheme,
    /// It is longer than 2048 bytes.
    #[error("it is longer than {LONGEST_ID} bytes")]
    TooLong,
    /// The trust domain is empty.
    #[error("the trust domain is empty")]
    NoTrustDomain,
    /// The trust domain is longer than 255 bytes.
    #[error("the trust domain is longer than {LONGEST_TRUST_DOMAIN} bytes")]
    TrustDomainTooLong,
    /// The trust domain holds a character other than `a-z 0-9 . - _`.
    #[error("the trust domain holds {0:?}; allowed are a-z, 0-9, dot, hyphen and underscore")]
    TrustDomainCharacter(char),
    /// The path ends with a slash or has two in a row.
    #[error("the path has an empty segment (two slashes in a row, or one at the end)")]
    EmptySegment,
    /// The path has a `.` or `..` segment.
    #[error("the path has a relative segment (. or ..)")]
    DotSegment,
    /// The path holds a character other than `a-z A-Z 0-9 . - _`.
    #[error("the path holds {0:?}; allowed are letters, digits, dot, hyphen and underscore")]
    PathCharacter(char),
    /// It has no path, and so names the trust domain rather than a workload.
    #[error("it has no path, so it names a trust domain and not a workload")]
    NoPath,
}

/// A trust domain: all who share one set of roots. Lower case, 1 to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The trust domain as text, without the scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self(DEFAULT_TRUST_DOMAIN.to_owned())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.is_empty() {
            return Err(IdentityError::NoTrustDomain);
        }
        if text.len() > LONGEST_TRUST_DOMAIN {
            return Err(IdentityError::TrustDomainTooLong);
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        match text.chars().find(|c| !allowed(*c)) {
            Some(c) => Err(IdentityError::TrustDomainCharacter(c)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// The SPIFFE ID of a workload: a trust domain and a path that is not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    /// With its leading slash.
    path: String,
}

impl SpiffeId {
    /// The ID of a service account: `spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>`.
    pub fn service_account(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, IdentityError> {
        // A slash inside a part would move what follows it into another segment.
        for part in [namespace, service_account] {
            if part.is_empty() {
                return Err(IdentityError::EmptySegment);
            }
            if part.contains('/') {
                return Err(IdentityError::PathCharacter('/'));
            }
        }
        format!("{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}").parse()
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path, with its leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The namespace, when the path is exactly `/ns/<namespace>/sa/<service-account>`.
    pub fn namespace(&self) -> Option<&str> {
        self.parts().map(|(namespace, _)| namespace)
    }

    /// The service account, when the path is exactly `/ns/<namespace>/sa/<service-account>`.
    pub fn service_account_name(&self) -> Option<&str> {
        self.parts().map(|(_, service_account)| service_account)
    }

    fn parts(&self) -> Option<(&str, &str)> {
        let mut segments = self.path[1..].split('/');
        match (segments.next(), segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("ns"), Some(namespace), Some("sa"), Some(account), None) => Some((namespace, account)),
            _ => None,
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.trust_domain, self.path)
    }
}

impl FromStr for SpiffeId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.len() > LONGEST_ID {
            return Err(IdentityError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(IdentityError::Scheme)?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (domain, path) = rest.split_at(slash);
        let trust_domain = domain.parse()?;
        if path.is_empty() {
            return Err(IdentityError::NoPath);
        }
        for segment in path[1..].split('/') {
            match segment {
                "" => return Err(IdentityError::EmptySegment),
                "." | ".." => return Err(IdentityError::DotSegment),
                _ => {}
            }
            if let Some(c) = segment.chars().find(|c| !(c.is_ascii_alphanumeric() || ".-_".contains(*c))) {
                return Err(IdentityError::PathCharacter(c));
            }
        }
        Ok(Self { trust_domain, path: path.to_owned() })
    }
}
