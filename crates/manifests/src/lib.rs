//! Kubernetes manifests as people write them: read with places, wired for certificates, edited without loss.
//!
//! The way of a manifest: [`object`] reads it -> [`plan`] finds out who serves and who calls -> [`patch`] says what
//! the pod templates lack -> [`yaml::edit`] inserts just that -> [`added`] writes the Certificates and rights that
//! go with it. [`lint`] looks for what is wrong. No cluster, no file, no clock: text goes in, text comes out.
//!
//! [`folder`] is another way: what a whole folder of manifests means where there is one machine and no cluster. Only
//! [`folder::files`] reads files.

pub mod added;
mod error;
pub mod folder;
pub mod lint;
pub mod object;
pub mod patch;
pub mod plan;
pub mod reload;
pub mod sidecar;
mod wire;
pub mod workload;
pub mod yaml;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use folder::Folder;
pub use object::{Manifest, Object};
pub use plan::{Group, Input, Options};
pub use reload::Reload;
pub use wire::{Wired, wire};
