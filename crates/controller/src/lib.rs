//! The control plane for Kubernetes: certificates for workloads, kept in Secrets, renewed and rotated.
//!
//! What the API server vouches for decides an identity, never a request's own words (invariant 8); what was
//! handed out is in the API server, in the same write as its record (invariant 11).

pub mod audit;
pub mod authority;
pub mod certificate;
pub mod clock;
pub mod error;
pub mod grant;
pub mod inject;
pub mod install;
mod lead;
mod lease;
pub mod lifetimes;
pub mod mesh;
pub mod metrics;
pub mod names;
pub mod netpol;
pub mod rbac;
pub mod reconcile;
pub mod restart;
pub mod revocation;
pub mod run;
pub mod served;
pub mod signer;
pub mod trust;
pub mod world;

pub use certificate::{Certificate, CertificateSpec, CertificateStatus, Restarted, RestartedKind};
pub use error::{Error, Result};
