//! From what a person wrote to the TLS library's configuration, one per listener and virtual host.

use std::sync::Arc;
use std::time::Duration;

use model::codes::serving;
use model::policy::ClientPolicy;
use model::snapshot::ServerTls;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;

use super::certificates::Certificates;
use super::clients::ClientVerifier;
use super::provider::{self, Choice};
use crate::connection::PolicyKey;
use crate::error::Error;
use crate::policy::CompiledPolicy;
use crate::state::Assembly;

const TICKET_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// TLS of one virtual host (or of a whole TCP listener).
pub(crate) struct HostTls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) certificates: Arc<Certificates>,
    /// The client policy of paths that have none of their own.
    pub(crate) policy: Option<Arc<CompiledPolicy>>,
    /// What the handshake demands of clients, by content.
    pub(crate) key: PolicyKey,
    /// Judges clients at the handshake; none: no certificate is asked for.
    pub(crate) verifier: Option<Arc<ClientVerifier>>,
    /// Every handshake is refused.
    pub(crate) reject: bool,
}

/// What the host is to the listener.
pub(crate) struct Scope<'a> {
    pub(crate) listener: &'a str,
    /// The host's place among the listener's hosts.
    pub(crate) host: usize,
    pub(crate) names: &'a [String],
    /// The policies of the host's routes.
    pub(crate) routes: Vec<&'a ClientPolicy>,
    /// Protocols where the configuration names none.
    pub(crate) alpn: &'a [&'a str],
}

/// A host's settings over its listener's: what it does not set is inherited.
pub(crate) fn merged(listener: &ServerTls, host: Option<&ServerTls>) -> ServerTls {
    let Some(host) = host else { return listener.clone() };
    let pick =
        |own: &Vec<String>, outer: &Vec<String>| if own.is_empty() { outer.clone() } else { own.clone() };
    ServerTls {
        certificates: if host.certificates.is_empty() {
            listener.certificates.clone()
        } else {
            host.certificates.clone()
        },
        min_version: host.min_version.or(listener.min_version),
        max_version: host.max_version.or(listener.max_version),
        ciphers: pick(&host.ciphers, &listener.ciphers),
        groups: pick(&host.groups, &listener.groups),
        alpn: host.alpn.clone().or_else(|| listener.alpn.clone()),
        clients: host.clients.clone().or_else(|| listener.clients.clone()),
        tickets: host.tickets.or(listener.tickets),
        ticket_lifetime: host.ticket_lifetime.or(listener.ticket_lifetime),
        reject_unknown_names: host.reject_unknown_names.or(listener.reject_unknown_names),
        reject: host.reject.or(listener.reject),
    }
}

/// Builds the TLS of one host from its merged settings.
///
/// # Errors
///
/// When a file is missing or wrong, or the settings make no sense.
pub(crate) fn host(tls: &ServerTls, scope: Scope<'_>, assembly: &mut Assembly<'_>) -> Result<HostTls, Error> {
    let (provider, versions) = provider::chosen(Choice {
        ciphers: &tls.ciphers,
        groups: &tls.groups,
        min: tls.min_version,
        max: tls.max_version,
    })?;
    let reject = tls.reject.unwrap_or(false);
    let mut list = Vec::new();
    for files in &tls.certificates {
        list.push(assembly.certificate(files)?);
    }
    if list.is_empty() && !reject {
        return Err(Error::new(
            &serving::TLS_SETTINGS,
            format!("the TLS listener {} has no certificate{}", scope.listener, for_names(scope.names)),
        )
        .fix("name one under tls.certificates"));
    }
    let certificates = Arc::new(Certificates::new(list));
    let policy = match &tls.clients {
        Some(spec) => Some(assembly.policy(spec)?),
        None => None,
    };
    let mut routes = Vec::new();
    for spec in scope.routes {
        routes.push(assembly.policy(spec)?);
    }
    let verifier = ClientVerifier::new(policy.clone(), routes, Arc::clone(&provider)).map(Arc::new);
    let key = verifier.as_ref().map(|verifier| verifier.key()).unwrap_or_default();
    let settings = |error: rustls::Error| Error::new(&serving::TLS_SETTINGS, error);
    let builder =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions).map_err(settings)?;
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier) as _),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(&certificates) as _);
    config.alpn_protocols = match &tls.alpn {
        Some(names) => names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        None => scope.alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
    };
    // Early data can be replayed (RFC 8446, section 8): it is not offered, nor is anything sent before the
    // client's part of the handshake is verified.
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if tls.tickets.unwrap_or(true) {
        let lifetime = tls.ticket_lifetime.map_or(TICKET_LIFETIME, |span| span.0);
        let host = scope.host.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![scope.listener.as_bytes(), &host, &key.0];
        parts.extend(scope.names.iter().map(String::as_bytes));
        if let Some(tickets) = assembly.ticketers.of(&parts, lifetime) {
            config.ticketer = tickets;
            config.send_tls13_tickets = 1;
        }
    }
    Ok(HostTls { config: Arc::new(config), certificates, policy, key, verifier, reject })
}

fn for_names(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [first, ..] => format!(" for {first}"),
    }
}
