//! Keys, requests, issuing, verifying, revocation, formats and the store of the certificate authority.
//!
//! The way of a certificate: `request` (what is granted) -> `issue` (pure: time and serial are passed in)
//! -> `ledger` (recorded in the same transaction) -> `store` (files) -> `renew` -> `revoke`. [`Authority`]
//! is the door to all of it.

mod authority;
mod constraints;
mod create;
mod csr;
mod error;
mod exact;
pub mod formats;
mod import;
pub mod inspect;
pub mod issue;
mod issuer;
mod key;
mod ledger;
pub mod lint;
mod lock;
mod renew;
mod request;
mod revoke;
pub mod rotate;
mod serial;
mod settings;
mod store;
mod text;
pub mod verify;

#[cfg(test)]
mod fixtures;

pub use authority::{Authority, InitOptions, Issued, Member, active_issuer, check_key, members};
pub use constraints::{Constraints, Network};
pub use csr::Csr;
pub use error::{Error, Result};
pub use import::{Import, read_chain};
pub use issue::SKEW;
pub use issuer::{CaCertificate, Issuer};
pub use key::{KeyKind, PrivateKey};
pub use ledger::{Ledger, PROOF, Record, RecordKind, Status};
pub use renew::{renew_at, request_of};
pub use request::{AltName, DEFAULT_LIFETIME, Request, SHORTEST_LIFETIME, Usage, check_file_name};
pub use revoke::{LIST_LIFETIME, List, ROOT_LIST_LIFETIME, Reason, Revoked};
pub use serial::Serial;
pub use store::{Layout, create_folder, create_private_folder, read_private, write_private, write_public};
pub use text::{PemProblem, certificates_of_pem, pem, rfc3339, serial_hex};
