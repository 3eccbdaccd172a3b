//! What can be wrong with manifests and declared edges.

use model::codes::{Code, Coded, kube};

/// Why no policies can be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An edge that cannot be parsed.
    #[error("the edge {edge:?} is not understood: {why}")]
    Edge {
        /// As it was written.
        edge: String,
        /// What is wrong with it.
        why: String,
    },
    /// An edge whose client or server does not exist.
    #[error("{origin} names {name:?}, which is no {wanted} in namespace {namespace}{known}")]
    Unknown {
        /// Where the edge was declared.
        origin: String,
        /// The name that leads nowhere.
        name: String,
        /// What was looked for.
        wanted: &'static str,
        /// Where it was looked for.
        namespace: String,
        /// What there is, for the eye.
        known: String,
    },
    /// An edge whose port cannot be found.
    #[error("{origin}: {why}")]
    Port {
        /// Where the edge was declared.
        origin: String,
        /// What is wrong.
        why: String,
    },
    /// An object that is not what its kind says.
    #[error("{object} cannot be read: {why}")]
    Object {
        /// Kind, namespace and name.
        object: String,
        /// What is wrong.
        why: String,
    },
    /// Pods that no selector can tell from others.
    #[error("{workload} has no labels on its pods, so no policy can select them")]
    NoLabels {
        /// Kind, namespace and name.
        workload: String,
    },
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::Edge { .. } | Self::Unknown { .. } | Self::Port { .. } => &kube::NETPOL_EDGE,
            Self::Object { .. } => &kube::NETPOL_OBJECT,
            Self::NoLabels { .. } => &kube::NETPOL_NO_LABELS,
        }
    }

    fn is_usage(&self) -> bool {
        true
    }
}
