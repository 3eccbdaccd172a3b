//! The addresses of servers: which servers share one, and which addresses make one listener.

use model::codes::configuration as codes;
use model::snapshot::Bind;

use super::Translation;
use crate::error::{Finding, Note};
use crate::nginx::parser::Directive;

/// An address with the servers on it.
pub(super) struct Address<'a> {
    pub(super) binds: Vec<Bind>,
    pub(super) ssl: bool,
    pub(super) http2: bool,
    pub(super) proxy_protocol: bool,
    pub(super) sites: Vec<usize>,
    pub(super) default: Option<usize>,
    pub(super) directive: &'a Directive,
}

impl<'a> Translation<'a> {
    /// An address beside `*` with the same port: nginx listens once and tells them apart by where a connection
    /// arrived. Where both lead to the same servers that is the same here; otherwise it cannot be carried out.
    pub(super) fn beside_wildcards(&mut self, addresses: &mut Vec<Address<'a>>) {
        let mut needless = Vec::new();
        for (number, address) in addresses.iter().enumerate() {
            let Some(Bind::Socket(own)) = address.binds.first() else { continue };
            let wildcard = addresses.iter().find(|other| {
                matches!(other.binds.first(), Some(Bind::Socket(all)) if all.ip().is_unspecified()
                    && all != own && all.port() == own.port() && all.is_ipv4() == own.is_ipv4())
            });
            let Some(wildcard) = wildcard.filter(|_| own.port() != 0) else { continue };
            let alike = |a: &Address<'_>| (a.ssl, a.http2, a.proxy_protocol, a.sites.clone());
            if alike(address) == alike(wildcard) && address.default.is_some() == wildcard.default.is_some() {
                needless.push(number);
                self.notes.push(Note {
                    warning: false,
                    message: format!("{own} is a part of *:{}, where this server listens too", own.port()),
                    place: Some(address.directive.place()),
                });
                continue;
            }
            let message = format!("{own} is a part of *:{}, on which other servers listen", own.port());
            self.findings.push(
                Finding::new(&codes::UNSUPPORTED_DIRECTIVE, message)
                    .at(address.directive.place())
                    .label("both at one time are not possible here")
                    .help("write out the addresses in place of the port alone, or give the servers ports of their own"),
            );
        }
        for number in needless.into_iter().rev() {
            addresses.remove(number);
        }
    }
}

/// Joins addresses that differ in nothing else, such as `80` and `[::]:80` of one server.
pub(super) fn merged(addresses: Vec<Address<'_>>) -> Vec<Address<'_>> {
    let mut merged: Vec<Address<'_>> = Vec::new();
    for address in addresses {
        let same = |other: &&mut Address<'_>| {
            (other.ssl, other.http2, other.proxy_protocol, &other.sites, other.default)
                == (address.ssl, address.http2, address.proxy_protocol, &address.sites, address.default)
        };
        match merged.iter_mut().find(same) {
            Some(other) => other.binds.extend(address.binds),
            None => merged.push(address),
        }
    }
    merged
}

pub(super) fn name_of(binds: &[Bind]) -> String {
    match binds.first() {
        Some(Bind::Socket(address)) if address.ip().is_unspecified() => format!("port-{}", address.port()),
        Some(bind) => bind.to_string(),
        None => String::new(),
    }
}
