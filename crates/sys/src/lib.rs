//! What is asked of the kernel itself, so that an unchanged application's connections go through its proxy: where a
//! redirected connection wanted to go, sockets with a mark or with somebody else's address, sockets of another network
//! namespace, descriptors handed to another process, and the packet rules of a pod. For one machine alone also what makes
//! a pod: networks and their interfaces, mounts, and the rights of what runs in it.
//!
//! It knows nothing of the mesh. `proxy` decides what becomes of a connection; the binary decides when rules come and
//! go. Linux only. Why it is so: `docs/adr/0092-how-a-pod-is-intercepted.md`.

mod capabilities;
mod descriptors;
pub mod link;
pub mod memory;
pub mod mounts;
mod namespace;
mod netlink;
pub mod redirection;
mod socket;

pub use capabilities::as_in_a_container;
pub use descriptors::{MOST_DESCRIPTORS, receive_descriptors, send_descriptors};
pub use namespace::Namespace;
pub use redirection::{Redirection, Subnet};
pub use socket::{From, Outgoing, listen, original_destination, outgoing};
