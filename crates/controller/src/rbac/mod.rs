//! Who can read a managed key, and Roles that let nobody else: pure, over bindings and rules that were read before.
//!
//! [`ways`] lists what to ask the API server about each [`subject`], [`grants`] finds the binding and the rule
//! behind an answer, [`mod@built_in`] knows the subjects that every cluster trusts, [`roles`] writes Roles.

mod built_in;
mod grants;
mod roles;
mod subject;
mod ways;

#[cfg(test)]
mod tests;

pub use built_in::built_in;
pub use grants::{Binding, Grant, grant};
pub use roles::{FIELD_MANAGER, reader_objects};
pub use subject::{READERS_ANNOTATION, Subject};
pub use ways::{Ask, Way, detours, named_detours, reads};
