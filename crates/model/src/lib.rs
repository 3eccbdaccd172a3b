//! Plain types and pure decisions: identity, policy, snapshot. No sockets, no clock, no files; time is
//! passed in. Every other crate imports this one; it imports none of ours.

pub mod codes;
pub mod identity;
pub mod mesh;
pub mod pattern;
pub mod peer;
pub mod policy;
pub mod snapshot;
pub mod template;
mod text;
pub mod units;
