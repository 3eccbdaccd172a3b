//! Where TLS ends on a listener: its hosts by server name, each with its certificates and client policy.

use model::policy::ClientPolicy;
use model::snapshot::{Listener, Route};

use super::config::{self, HostTls, Scope};
use crate::connection::PolicyKey;
use crate::error::Error;
use crate::http::HostIndex;
use crate::state::Assembly;

/// TLS of one listener.
pub(crate) struct Terminator {
    hosts: Vec<HostTls>,
    names: HostIndex,
    reject_unknown: bool,
}

/// What a server name leads to.
pub(crate) struct Chosen<'a> {
    /// The host's place; 0 for TCP listeners.
    pub(crate) index: usize,
    pub(crate) host: &'a HostTls,
}

impl Terminator {
    /// Loads everything for a listener that ends TLS; none for one that does not.
    ///
    /// # Errors
    ///
    /// When a file is missing or wrong, or the settings make no sense.
    pub(crate) fn assemble(listener: &Listener, assembly: &mut Assembly<'_>) -> Result<Option<Self>, Error> {
        let Some(outer) = &listener.tls else { return Ok(None) };
        let mut hosts = Vec::new();
        if listener.hosts.is_empty() {
            let scope =
                Scope { listener: &listener.name, host: 0, names: &[], routes: Vec::new(), alpn: &[] };
            hosts.push(config::host(outer, scope, assembly)?);
        }
        for (index, host) in listener.hosts.iter().enumerate() {
            let names: Vec<String> = host.names.iter().map(ToString::to_string).collect();
            let mut routes = Vec::new();
            collect_policies(&host.routes, &mut routes);
            let scope = Scope {
                listener: &listener.name,
                host: index,
                names: &names,
                routes,
                alpn: &["h2", "http/1.1"],
            };
            hosts.push(config::host(&config::merged(outer, host.tls.as_ref()), scope, assembly)?);
        }
        let names = HostIndex::new(&listener.hosts);
        Ok(Some(Self { hosts, names, reject_unknown: outer.reject_unknown_names.unwrap_or(false) }))
    }

    /// The host for a server name; none where names are enforced and nobody has this one.
    pub(crate) fn choose(&self, name: Option<&str>) -> Option<Chosen<'_>> {
        // The empty name leads to the default.
        let found = self.names.find(name.unwrap_or_default());
        if self.reject_unknown && found.is_none_or(|found| !found.by_name) {
            return None;
        }
        let index = found.map_or(0, |found| found.host);
        self.hosts.get(index).map(|host| Chosen { index, host })
    }

    /// TLS of one host.
    pub(crate) fn host(&self, index: usize) -> Option<&HostTls> {
        self.hosts.get(index)
    }

    /// What the handshake for a host demands of clients, by content.
    pub(crate) fn key(&self, index: usize) -> PolicyKey {
        self.hosts.get(index).map(|host| host.key).unwrap_or_default()
    }

    /// The keys of all hosts, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = PolicyKey> + '_ {
        self.hosts.iter().map(|host| host.key)
    }
}

fn collect_policies<'a>(routes: &'a [Route], found: &mut Vec<&'a ClientPolicy>) {
    for route in routes {
        found.extend(&route.clients);
        collect_policies(&route.routes, found);
    }
}
