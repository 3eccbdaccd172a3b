//! Plain types and pure decisions: identity, policy, snapshot. No sockets, no clock, no files.

pub mod codes;
