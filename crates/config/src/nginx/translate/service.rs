//! Services: in nginx an upstream is one thing and how it is spoken to (TLS, version, keep-alive) belongs to
//! the location. Here a service is both, so each pair of the two becomes one.

use model::codes::configuration as codes;
use model::snapshot::{
    CertificateFiles, Pool, Protocol, ProxyProtocol, Service, ServiceTimeouts, UpstreamTls,
};
use model::units::Span;

use super::Translation;
use super::scope::Level;
use super::upstream::{Upstream, settle};
use crate::nginx::ciphers;
use crate::nginx::parser::{Directive, Word};

/// How a service is spoken to.
#[derive(Clone, PartialEq)]
pub(super) struct Manner {
    pub(super) protocol: Protocol,
    pub(super) tls: Option<UpstreamTls>,
    /// Whether connections are kept (where the upstream has `keepalive`).
    pub(super) keep: bool,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    /// Stream and HTTP have name spaces of their own.
    pub(super) stream: bool,
}

impl<'a> Translation<'a> {
    /// The suffix of the names of services that are spoken to in this manner: none for the first one.
    pub(super) fn suffix(&mut self, manner: &Manner) -> String {
        let position = self.manners.iter().position(|known| known == manner).unwrap_or_else(|| {
            self.manners.push(manner.clone());
            self.manners.len() - 1
        });
        if position == 0 { String::new() } else { format!("~{}", position + 1) }
    }

    /// The name of the service behind a name of an upstream or an address. It is made where it is new.
    pub(super) fn service(&mut self, word: &Word, target: &str, manner: &Manner) -> Option<String> {
        let port = if manner.tls.is_some() { 443 } else { 80 };
        let blocks = if manner.stream { &self.stream_upstreams } else { &self.upstreams };
        let block = blocks.get(target).copied();
        let suffix = self.suffix(manner);
        let name = format!("{target}{suffix}");
        if self.snapshot.services.contains_key(&name) {
            return Some(name);
        }
        let upstream = match block {
            Some(block) => self.upstream(block, 80),
            None if manner.stream && !target.starts_with("unix:") && !target.contains(':') => {
                let help = "define it with `upstream`, or write host:port";
                self.wrong(
                    word,
                    &codes::UNKNOWN_NAME,
                    format!("no upstream of stream is named {target:?}"),
                    help,
                );
                return None;
            }
            None => {
                let address = self.address(word, target, port)?;
                self.host_name(word, target);
                let mut service = Service { pool: Pool { idle: 0, ..Pool::default() }, ..Service::default() };
                service.endpoints.push(model::snapshot::Endpoint { address, ..Default::default() });
                settle(&mut service);
                Upstream { service, keepalive: None }
            }
        };
        let Upstream { mut service, keepalive } = upstream;
        service.protocol = manner.protocol;
        service.proxy_protocol = manner.proxy_protocol;
        service.tls = manner.tls.clone().map(|mut tls| {
            // nginx's default name is the one in proxy_pass, an upstream's name included.
            tls.name.get_or_insert_with(|| host_of(target).to_owned());
            tls
        });
        if manner.protocol == Protocol::Http2 {
            service.pool.idle = keepalive.unwrap_or(Pool::default().idle);
        } else if manner.keep {
            service.pool.idle = keepalive.unwrap_or(0);
        }
        let minute = Span::seconds(60);
        service.timeouts = ServiceTimeouts { connect: minute, read: minute, send: minute };
        self.snapshot.services.insert(name.clone(), service);
        Some(name)
    }

    /// A name without a dot or a port is more often an upstream that is misspelt than a host.
    fn host_name(&mut self, word: &Word, target: &str) {
        let plain =
            target != "localhost" && target.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !plain {
            return;
        }
        let names: Vec<&str> = self.upstreams.keys().copied().collect();
        let near = crate::suggest::nearest(target, names)
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let message = format!(
            "no upstream is named {target:?}: it is taken for a host, which is looked up when it is needed (nginx \
             looks it up at its start, and does not start without){near}"
        );
        let note = crate::error::Note { warning: true, message, place: Some(word.place.clone()) };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// `proxy_ssl_*` (or `grpc_ssl_*`) in force at a level.
    pub(super) fn upstream_tls(&mut self, level: &Level<'a>, kind: &str, pass: &Directive) -> UpstreamTls {
        let name = |suffix: &str| format!("{kind}_ssl_{suffix}");
        let mut tls = UpstreamTls {
            verify: self.flag_in(level, &name("verify")).unwrap_or(false),
            depth: 1,
            sni: self.flag_in(level, &name("server_name")).unwrap_or(false),
            resume: self.flag_in(level, &name("session_reuse")).unwrap_or(true),
            ..UpstreamTls::default()
        };
        if let Some(directive) = level.find(&name("trusted_certificate")) {
            tls.ca.push(self.literal(directive.first()).into());
        }
        if let Some(directive) = level.find(&name("crl"))
            && tls.verify
        {
            tls.crl.push(self.literal(directive.first()).into());
        }
        if let Some(directive) = level.find(&name("verify_depth")) {
            let word = directive.first();
            tls.depth = self.number(word, &word.text).unwrap_or(1);
        }
        if let Some(directive) = level.find(&name("name")) {
            tls.name = self.tls_name(directive);
        }
        self.upstream_certificate(level, &name, &mut tls);
        if let Some(directive) = level.find(&name("protocols")) {
            self.upstream_versions(directive, &mut tls);
        }
        if let Some(directive) = level.find(&name("ciphers")) {
            tls.ciphers = self.cipher_list(directive, tls.min_version);
        }
        if !tls.verify {
            self.warn(
                pass,
                format!(
                    "the upstream's certificate is NOT verified, as is nginx's default: anybody in between can read \
                     and change everything; set `{kind}_ssl_verify on` and `{kind}_ssl_trusted_certificate FILE`"
                ),
            );
        } else if tls.ca.is_empty() {
            let message = format!("`{kind}_ssl_verify on` needs `{kind}_ssl_trusted_certificate`");
            self.wrong(&pass.name, &codes::MISSING_KEY, message, "name the file of the authorities to trust");
        }
        tls
    }

    fn tls_name(&mut self, directive: &Directive) -> Option<String> {
        let word = directive.first();
        match word.text.as_str() {
            "$proxy_host" => None,
            text if text.contains('$') => {
                let message = "the name of the upstream's certificate cannot depend on the request";
                self.unsupported(word, message, "write the name itself");
                None
            }
            text => Some(text.to_owned()),
        }
    }

    fn upstream_certificate(
        &mut self,
        level: &Level<'a>,
        name: &dyn Fn(&str) -> String,
        tls: &mut UpstreamTls,
    ) {
        let Some(chain) = level.find(&name("certificate")).filter(|found| !found.first().text.is_empty())
        else {
            return;
        };
        let Some(key) = level.find(&name("certificate_key")) else {
            let message = format!("`{}` without `{}`", chain.name.text, name("certificate_key"));
            self.wrong(&chain.name, &codes::MISSING_KEY, message, "name the file of its private key");
            return;
        };
        tls.certificate = Some(CertificateFiles {
            chain: self.literal(chain.first()).into(),
            key: self.literal(key.first()).into(),
            password_file: level.find(&name("password_file")).map(|file| self.literal(file.first()).into()),
        });
    }

    fn upstream_versions(&mut self, directive: &Directive, tls: &mut UpstreamTls) {
        if let Some((least, most)) = self.protocol_range(directive) {
            tls.min_version = Some(least);
            tls.max_version = Some(most);
        }
    }

    /// `ssl_protocols` and its like.
    pub(super) fn protocol_range(
        &mut self,
        directive: &Directive,
    ) -> Option<(model::snapshot::TlsVersion, model::snapshot::TlsVersion)> {
        match ciphers::protocols(directive.args.iter().map(|word| word.text.as_str())) {
            Ok((range, dropped)) => {
                if !dropped.is_empty() && range.is_some() {
                    let names = dropped.join(", ");
                    self.note(directive, format!("{names}: broken versions of TLS are never spoken"));
                }
                if range.is_none() {
                    let word = directive.first().clone();
                    self.wrong(&word, &codes::NO_CIPHER_LEFT, "no version is left", "write TLSv1.2 TLSv1.3");
                }
                range
            }
            Err(text) => {
                let word = directive.args.iter().find(|word| word.text == text).unwrap_or(&directive.name);
                let message = format!("{text:?} is not a version of TLS");
                self.wrong(word, &codes::NGINX_VALUE, message, "write TLSv1.2 TLSv1.3");
                None
            }
        }
    }

    /// `ssl_ciphers` and its like, with the TLS 1.3 suites, which no list touches. Empty: everything.
    pub(super) fn cipher_list(
        &mut self,
        directive: &Directive,
        least: Option<model::snapshot::TlsVersion>,
    ) -> Vec<String> {
        let word = directive.first();
        let list = ciphers::parse(&word.text);
        if list.suites.is_empty() && least != Some(model::snapshot::TlsVersion::V1_3) {
            let message = "none of these cipher suites is available";
            self.wrong(word, &codes::NO_CIPHER_LEFT, message, "");
            return Vec::new();
        }
        if !list.dropped.is_empty() {
            let names = list.dropped.join(", ");
            self.note(
                directive,
                format!("`{}`: not available or without effect here: {names}", directive.name.text),
            );
        }
        if ciphers::is_everything(&list.suites) {
            return Vec::new();
        }
        ciphers::TLS13.iter().map(|suite| (*suite).to_owned()).chain(list.suites).collect()
    }
}

/// The host of `host:port`.
pub(super) fn host_of(target: &str) -> &str {
    if let Some(end) = target.strip_prefix('[').and_then(|rest| rest.find(']')) {
        return target.get(1..=end).unwrap_or(target);
    }
    match target.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => target,
    }
}
