//! The way to a service: its endpoints ([`service`]), a connection to one of them ([`connect()`]), TLS to it.

mod address;
pub mod check;
mod connect;
pub mod health;
pub mod pool;
pub mod retry;
pub mod service;
mod stream;
mod tls;

pub use address::Target;
pub use connect::{Application, Connector, UpstreamError, connect};
pub use service::{EndpointState, ServiceState};
pub use stream::UpstreamStream;
