//! TLS as a server: who gets which certificate, who the client is, and the stream afterwards.

pub mod stream;
