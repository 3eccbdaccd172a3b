//! Kubernetes manifests as people write them.
pub mod yaml;
