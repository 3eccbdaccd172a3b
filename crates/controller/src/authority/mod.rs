//! The authority of a cluster (docs/adr/0070-the-api-server-is-the-ledger.md): what it is and what it does next
//! ([`state`] and [`make`], pure), what its steps are called ([`steps`]), how it lies in its Secret ([`secret`]), how it
//! gets there ([`store`], compare and swap), and what else shows that there was one ([`traces`]).

mod make;
mod secret;
mod state;
pub mod steps;
mod store;
mod traces;

pub use state::{Member, Revocation, Rotation, Standing, State, Step, Subject};
pub use store::AuthorityStore;
