//! The data plane: every byte of an application goes through here and nowhere else.

pub mod tls;
