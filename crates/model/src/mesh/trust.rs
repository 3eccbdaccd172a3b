//! Whom the workloads of a trust domain believe, and who issues to them now.

/// The roots that are trusted, and the authority that issues: what changes with each step of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The trust domain.
    pub domain: String,
    /// Every root that is trusted, PEM.
    pub roots: String,
    /// The name of the authority that issues now, for people.
    pub issuer: String,
    /// SHA-256 of its certificate (DER), lower-case hexadecimal: a leaf of it has this certificate next in its chain.
    pub issuer_fingerprint: String,
    /// Grows with each step of a rotation.
    pub step: u64,
}
