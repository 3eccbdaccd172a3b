//! The authority of a cluster (docs/adr/0070-the-api-server-is-the-ledger.md): what it is and what it does next
//! ([`state`] and [`make`], pure), what its steps are called ([`steps`]), how it lies in its Secret ([`secret`]), how it
//! gets there ([`store`], compare and swap), what else shows that there was one ([`traces`]), and what a leader makes of each change ([`watched`]).

mod make;
mod secret;
mod state;
pub mod steps;
mod store;
mod traces;
mod watched;

pub use state::{Member, Revocation, Rotation, Standing, State, Step, Subject, Taken, Version};
pub use store::AuthorityStore;
pub use watched::Watched;
