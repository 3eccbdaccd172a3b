//! Saying no: each refusal has exactly one log line, one metric and one stable code (invariant 2). The peer
//! learns the TLS alert or HTTP status only.

use model::codes::Code;
use model::peer::Peer;

use crate::connection::{Address, Connection};
use crate::state::ListenerState;

/// The target of the log lines of refusals.
pub const TARGET: &str = "handfast::refusal";

/// What a log line says beside code and reason. Never a PEM, never key material.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The client's address.
    pub peer_addr: Option<&'a Address>,
    /// The server name that was asked for.
    pub server_name: Option<&'a str>,
    /// Serial number of the client's certificate.
    pub serial: Option<&'a str>,
    /// Subject of the client's certificate.
    pub subject: Option<&'a str>,
    /// Issuer of the client's certificate.
    pub issuer: Option<&'a str>,
    /// The HTTP path, where a request was refused.
    pub path: Option<&'a str>,
    /// One sentence about this very case.
    pub detail: &'a str,
}

impl<'a> Facts<'a> {
    /// What is known of a connection whose handshake is finished.
    pub fn of(connection: &'a Connection, detail: &'a str) -> Self {
        let tls = connection.tls.as_ref();
        let facts = Self {
            peer_addr: Some(&connection.peer_addr),
            server_name: tls.and_then(|tls| tls.sni.as_deref()),
            detail,
            ..Self::default()
        };
        match tls.and_then(|tls| tls.peer.as_deref()) {
            Some(peer) => facts.peer(peer),
            None => facts,
        }
    }

    /// Adds whom the client's certificate names.
    pub fn peer(self, peer: &'a Peer) -> Self {
        Self { serial: Some(&peer.serial), subject: Some(&peer.subject), issuer: Some(&peer.issuer), ..self }
    }
}

/// Logs and counts a connection that was refused at its handshake, or because of what its handshake showed.
pub fn handshake(listener: &ListenerState, code: &'static Code, facts: &Facts<'_>) {
    listener.metrics.handshake_failure(code);
    line(listener, code, facts);
}

/// Logs and counts any other connection or request that was refused.
pub fn request(listener: &ListenerState, code: &'static Code, facts: &Facts<'_>) {
    listener.metrics.refusal(code);
    line(listener, code, facts);
}

fn line(listener: &ListenerState, code: &'static Code, facts: &Facts<'_>) {
    tracing::warn!(
        target: TARGET,
        code = code.id,
        reason = code.label,
        listener = &*listener.name,
        peer = facts.peer_addr.map(tracing::field::display),
        server_name = facts.server_name,
        serial = facts.serial,
        subject = facts.subject,
        issuer = facts.issuer,
        path = facts.path,
        detail = facts.detail,
        "refused: {}",
        code.title
    );
}
