//! The control plane for Kubernetes: certificates for workloads, kept in Secrets, renewed and rotated.
//!
//! What the API server vouches for decides an identity, never a request's own words (invariant 8); what was
//! handed out is in the API server, in the same write as its record (invariant 11).

pub mod certificate;
pub mod names;
pub mod netpol;
pub mod rbac;
pub mod signer;

pub use certificate::{Certificate, CertificateSpec, CertificateStatus};
