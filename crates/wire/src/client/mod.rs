//! The proxy's side: what it hears of the control plane, and how it gets its certificate.

mod certificate;
mod connect;
mod discovery;
mod mirror;
mod trust;

#[cfg(test)]
mod tests;

pub use certificate::{Ask, create_certificate};
pub use connect::{Socket, Target};
pub use discovery::{Backoff, Discovery, Node, Options, State, Token, discover};
pub use trust::{Adopter, Adopting, Missing};
