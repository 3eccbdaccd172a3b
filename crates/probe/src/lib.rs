//! A client that tries any TLS server, shows the handshake step by step and explains what went wrong.
