//! What is said of a connection: one record at its end, or at its refusal (invariant 2).

use std::net::SocketAddr;
use std::time::Duration;

use model::codes::Code;

/// Whose side of a connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The workload was called.
    Inbound,
    /// The workload called.
    Outbound,
}

impl Direction {
    /// A label for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// How a connection was secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Secured {
    /// Mutual TLS between two proxies, by HBONE or by the plainer framing.
    Hbone,
    /// Not at all, and why.
    Plain(&'static str),
    /// There was no connection.
    Refused,
}

impl Secured {
    /// A label for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hbone => "hbone",
            Self::Plain(_) => "plain",
            Self::Refused => "none",
        }
    }
}

/// One connection, or one refusal.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose side it is.
    pub direction: Direction,
    /// The workload that was called or called: its uid.
    pub workload: String,
    /// The caller's identity, where one was proven; else empty.
    pub source: String,
    /// The caller's address.
    pub source_address: SocketAddr,
    /// The identity that was called, where one is known; else empty.
    pub destination: String,
    /// What was called.
    pub destination_address: Option<SocketAddr>,
    /// The service that was called, `namespace/hostname`; or the name that could not be found.
    pub service: String,
    /// How it was secured.
    pub secured: Secured,
    /// What the application speaks, as far as the caller's side knows: as ALPN has it, `h2c`, `grpc`, `tls`, or `tcp`.
    pub protocol: &'static str,
    /// How its tunnel was framed: `h2` or `direct`; empty where there was none.
    pub framing: &'static str,
    /// Bytes from the caller.
    pub sent: u64,
    /// Bytes to the caller.
    pub received: u64,
    /// How long it was open.
    pub duration: Duration,
    /// Why it was allowed, or what was wrong.
    pub detail: String,
    /// How it ended, where that was not in order.
    pub ending: String,
    /// The code of a refusal or a failure.
    pub code: Option<&'static Code>,
    /// What policies that are only tried would have refused.
    pub would_refuse: Vec<String>,
}

impl Record {
    pub(crate) fn new(direction: Direction, workload: &str, source_address: SocketAddr) -> Self {
        Self {
            direction,
            workload: workload.to_owned(),
            source: String::new(),
            source_address,
            destination: String::new(),
            destination_address: None,
            service: String::new(),
            secured: Secured::Refused,
            protocol: "",
            framing: "",
            sent: 0,
            received: 0,
            duration: Duration::ZERO,
            detail: String::new(),
            ending: String::new(),
            code: None,
            would_refuse: Vec::new(),
        }
    }

    pub(crate) fn refused(mut self, code: &'static Code, detail: impl Into<String>) -> Self {
        self.code = Some(code);
        self.detail = detail.into();
        self
    }
}
