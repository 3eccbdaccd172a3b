//! A client that tries any TLS server, shows the handshake step by step and explains what went wrong.
//!
//! [`test`](mod@test) proves, row by row, whom a server accepts and refuses; [`explain`] shows one handshake as a
//! ladder, and knows the error texts of other programs. Both stand on [`attempt`] (one TLS connection,
//! read to its end), [`forge`] (certificates that no authority may issue) and [`wire`] (bytes that rustls
//! would neither send nor show). [`edge`] tries a client's way to its servers from where the client is. Nothing here knows configuration or serves anything.

pub mod alert;
pub mod attempt;
pub mod der;
pub mod dial;
pub mod edge;
pub mod explain;
pub mod forge;
pub mod identity;
pub mod test;
pub mod wire;
