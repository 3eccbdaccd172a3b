//! What is known of the other end of a connection, after its certificate was verified (or was not).
//! The data plane gathers it once per handshake; policies, headers, logs and variables read it.

use std::sync::Arc;

use crate::codes::Code;

/// The other end, as its certificate describes it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Whether the chain was verified, and against what it failed.
    pub verification: Verification,
    /// Subject as RFC 2253 text, as in `$ssl_client_s_dn`.
    pub subject: String,
    /// Issuer as RFC 2253 text.
    pub issuer: String,
    /// Serial number, upper-case hexadecimal without separators.
    pub serial: String,
    /// DNS names of the subject alternative name, lower case.
    pub dns: Vec<String>,
    /// URIs of the subject alternative name; exactly one in an X.509-SVID.
    pub uris: Vec<String>,
    /// E-mail addresses of the subject alternative name.
    pub emails: Vec<String>,
    /// SHA-256 over the DER, lower-case hexadecimal.
    pub sha256: String,
    /// SHA-1 over the DER, lower-case hexadecimal (nginx's `$ssl_client_fingerprint`).
    pub sha1: String,
    /// Start of validity, seconds since 1970 UTC.
    pub not_before: i64,
    /// End of validity, seconds since 1970 UTC.
    pub not_after: i64,
    /// The chain as it was sent, leaf first, DER. Kept for headers and for checking again on resumption.
    pub chain: Arc<[Vec<u8>]>,
}

/// What became of the peer's chain at the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It chains to a trusted authority, and nothing is wrong with it.
    Verified,
    /// It is the very certificate that was pinned; no authority was asked.
    Pinned,
    /// It was accepted without an authority (`optional_no_ca`): possession of the key is proven, nothing else.
    Unverified,
    /// It failed, and the policy lets the request decide.
    Failed(&'static Code),
}

impl Verification {
    /// Whether the identity in the certificate may be believed.
    pub fn is_trusted(self) -> bool {
        matches!(self, Self::Verified | Self::Pinned)
    }
}

impl Peer {
    /// The SPIFFE ID, if the certificate has exactly one URI name and that is a `spiffe://` one
    /// (X.509-SVID, section 2: validators refuse more than one).
    pub fn spiffe_id(&self) -> Option<&str> {
        match self.uris.as_slice() {
            [uri] if uri.starts_with("spiffe://") => Some(uri),
            _ => None,
        }
    }

    /// The name that logs and metrics use: SPIFFE ID, else first DNS name, e-mail, URI, else the subject.
    pub fn name(&self) -> &str {
        self.spiffe_id()
            .or(self.dns.first().map(String::as_str))
            .or(self.emails.first().map(String::as_str))
            .or(self.uris.first().map(String::as_str))
            .unwrap_or(&self.subject)
    }
}
