//! TLS on the wire, for what rustls neither sends nor shows: hand-made ClientHellos, and parsers that
//! are bounded, never panic and take plain byte slices (so that a fuzzer reaches them directly).

pub mod cursor;
pub mod handshake;
pub mod hello;
pub mod names;
pub mod record;

#[cfg(test)]
mod tests;
