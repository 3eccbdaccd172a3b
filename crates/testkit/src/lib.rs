//! For tests only: a test CA, echo servers, real clients.
