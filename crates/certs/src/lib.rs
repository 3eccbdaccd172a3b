//! Keys, requests, issuing, verifying, revocation, formats and the store of the certificate authority.

pub mod verify;

#[cfg(test)]
mod fixtures;
