//! What a control plane of the mesh does beside watching: it follows the authority, issues to workloads, proves itself
//! to proxies and to the API server. Every replica does all of it; none writes what another one could contradict.

mod authority;
mod issuing;
mod own;
mod reviews;
mod trust;
mod webhook;

pub use authority::follow;
pub use issuing::{Issuing, Refused};
pub use own::{Own, own};
pub use reviews::Reviews;
pub use trust::trust;
pub use webhook::keep_trusted;
