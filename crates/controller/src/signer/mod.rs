//! The signer `handfast.dev/workload`: decides over CertificateSigningRequests and PodCertificateRequests, and signs.
//!
//! ```text
//! watch -> look_up (what the API server knows now) -> decide_csr, decide_pod (pure) -> sign (pure) -> one write
//! ```
//!
//! [`vouched`] turns the requester's pod into names, [`csr`] and [`pod`] hold the rules for one kind each, [`status`]
//! says it in the words of the API. [`answer_csr`] and [`answer_pod`] do it for one object, [`watch`] for all.

mod answer;
mod answer_csr;
mod answer_pod;
mod csr;
mod look_up;
mod pod;
mod sign;
mod status;
mod vouched;
mod watch;

#[cfg(test)]
mod tests;

use certs::{AltName, Csr};
use model::codes::{Code, kube as codes};
use time::{Duration, OffsetDateTime};

use crate::error::shortened;

pub use csr::{Requester, decide as decide_csr, requester};
pub use pod::decide as decide_pod;
pub use sign::sign;
pub use status::{approved, denied, failed, issued_csr, issued_pod, refused_pod};
pub use vouched::{Vouched, names};
pub(crate) use watch::keep;

/// The shortest lifetime that is granted; also the API's own limit for a CertificateSigningRequest.
pub const SHORTEST: Duration = Duration::minutes(10);
/// The longest: these certificates are renewed by whoever asked for them, and nobody can take them back from a pod.
pub const LONGEST: Duration = Duration::days(7);
/// The lifetime where none is asked for; also the API's own default for a PodCertificateRequest.
pub const USUAL: Duration = Duration::days(1);
/// How far the start of validity lies back. The API server refuses a PodCertificateRequest's certificate whose start
/// is five minutes from its own time, and the clocks may differ by two.
pub const BACKDATED: Duration = Duration::minutes(2);

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
    /// How long, from now.
    pub lifetime: Duration,
    /// Nothing shorter is signed because the issuer ends.
    pub shortest: Duration,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Its stable code.
    pub code: &'static Code,
    /// A word in CamelCase for the condition.
    pub reason: &'static str,
    /// One sentence for a person.
    pub message: String,
}

impl Denial {
    /// Who asks is nobody that the API server vouches for as a pod that lives.
    fn requester(reason: &'static str, message: String) -> Self {
        Self { code: &codes::REQUESTER_NOT_A_POD, reason, message }
    }

    /// It asks for what its pod does not justify.
    fn beyond(reason: &'static str, message: String) -> Self {
        Self { code: &codes::REQUEST_NOT_JUSTIFIED, reason, message }
    }

    /// The request itself is not what it should be.
    fn unreadable(reason: &'static str, message: String) -> Self {
        Self { code: &codes::REQUEST_UNREADABLE, reason, message }
    }

    /// It is justified, and the authority cannot sign it all the same.
    fn unsigned(message: String) -> Self {
        Self { code: &codes::REQUEST_NOT_SIGNED, reason: "NotSigned", message }
    }

    /// For a condition, an Event, the log: with its code. What was asked for is part of it, and may be long.
    pub fn text(&self) -> String {
        shortened(format!("{}: {}", self.code.id, self.message))
    }
}

/// What comes back from signing.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Leaf first, then intermediates, in PEM.
    pub chain: String,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// The authority, as in `intermediate-1`.
    pub issuer: String,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
}

/// The lifetime that was asked for, within the limits.
fn lifetime(seconds: Option<i64>, longest: Duration) -> Duration {
    seconds.map_or(USUAL, Duration::seconds).clamp(SHORTEST, longest.max(SHORTEST))
}

/// The request, when it asks for nothing beyond the names.
pub(crate) fn contained(request: &[u8], names: &[AltName]) -> Result<Csr, Denial> {
    let request = Csr::parse(request)
        .map_err(|error| Denial::unreadable("BadRequest", format!("the request cannot be used: {error}")))?;
    let beyond: Vec<String> =
        request.names.iter().filter(|name| !names.contains(name)).map(AltName::value).collect();
    if !beyond.is_empty() {
        let granted: Vec<String> = names.iter().map(AltName::value).collect();
        return Err(Denial::beyond(
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
        return Err(Denial::beyond(
            "NotGranted",
            format!("the request asks for {other}, which no workload gets"),
        ));
    }
    Ok(request)
}
