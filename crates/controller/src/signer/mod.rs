//! The signer `handfast.dev/workload`: decides over CertificateSigningRequests and PodCertificateRequests.
//!
//! Pure: the objects and what the API server knows of the requester come in, a decision goes out. [`vouched`] turns
//! the requester's pod into names, [`csr`] and [`pod`] hold the rules for one kind each, [`status`] writes what the
//! API server is told. Whoever signs implements [`Issuer`].

mod csr;
mod pod;
mod status;
mod vouched;

#[cfg(test)]
mod tests;

use certs::{AltName, Csr};
use time::{Duration, OffsetDateTime};

pub use csr::{Requester, decide as decide_csr, requester};
pub use pod::decide as decide_pod;
pub use status::{approved, denied, failed, issued_csr, issued_pod, refused_pod};
pub use vouched::{Domains, Vouched, names};

/// The shortest lifetime that is granted; also the API's own limit for a CertificateSigningRequest.
pub const SHORTEST: Duration = Duration::minutes(10);

/// What the signer decided.
#[derive(Debug)]
pub enum Decision {
    /// The request is for another signer, or was decided before.
    Ignore,
    /// The API server's facts justify it.
    Sign(Box<Grant>),
    /// They do not.
    Deny(Denial),
}

/// What is signed: nothing of it but the key comes from the request.
#[derive(Debug)]
pub struct Grant {
    /// The SPIFFE ID of the service account, then the DNS names of the Services that select the pod.
    pub names: Vec<AltName>,
    /// The request, for its public key.
    pub request: Csr,
    /// How long.
    pub lifetime: Duration,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// A word in CamelCase for the condition.
    pub reason: &'static str,
    /// One sentence for a person.
    pub message: String,
}

impl Denial {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What comes back from signing.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Leaf first, then intermediates, in PEM.
    pub chain: String,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
}

/// An authority that certifies somebody else's key.
pub trait Issuer {
    /// Why it cannot.
    type Error: std::error::Error;

    /// Certifies the request's key for these names. The lifetime is capped at the issuer's own.
    ///
    /// # Errors
    ///
    /// When the authority cannot sign now.
    fn sign(&self, names: &[AltName], key: &Csr, lifetime: Duration) -> Result<Signed, Self::Error>;
}

/// The lifetime that was asked for, within the limits.
fn lifetime(seconds: Option<i64>, longest: Duration) -> Duration {
    seconds.map_or(longest, Duration::seconds).clamp(SHORTEST, longest.max(SHORTEST))
}

/// The request, when it asks for nothing beyond the names.
fn contained(request: &[u8], names: &[AltName]) -> Result<Csr, Denial> {
    let request = Csr::parse(request)
        .map_err(|error| Denial::new("BadRequest", format!("the request cannot be read: {error}")))?;
    let beyond: Vec<String> =
        request.names.iter().filter(|name| !names.contains(name)).map(AltName::value).collect();
    if !beyond.is_empty() {
        let granted: Vec<String> = names.iter().map(AltName::value).collect();
        return Err(Denial::new(
            "NameNotJustified",
            format!(
                "the request asks for {}; its pod justifies only {}",
                beyond.join(", "),
                granted.join(", ")
            ),
        ));
    }
    // Asking for the usages that a leaf gets anyway does no harm; anything else does.
    let odd = |other: &&String| {
        !other.starts_with("key usage") && !other.ends_with("serverAuth") && !other.ends_with("clientAuth")
    };
    if let Some(other) = request.other.iter().find(odd) {
        return Err(Denial::new(
            "NotGranted",
            format!("the request asks for {other}, which no workload gets"),
        ));
    }
    Ok(request)
}
