//! Checks of listeners, their TLS, client policies and hosts.

use std::collections::BTreeMap;

use model::codes::configuration as codes;
use model::policy::{ClientMode, ClientPolicy, Refusal};
use model::snapshot::{Bind, CertificateFiles, Host, Listener, NamePattern, ServerTls};

use super::{Check, Files, Path};
use crate::error::Finding;
use crate::suggest;

/// The cipher suites that exist, by their IANA names.
pub(crate) const CIPHERS: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// The key exchange groups that exist.
pub(crate) const GROUPS: &[&str] = &["X25519MLKEM768", "X25519", "P-256", "P-384"];

impl Check<'_> {
    pub(super) fn listeners(&mut self) {
        let snapshot = self.snapshot;
        let all = Path::default().key("listeners");
        let mut names = BTreeMap::new();
        // By port (0 for UNIX sockets), so that many listeners are not compared with each other.
        let mut binds: BTreeMap<u16, Vec<(&Bind, &str)>> = BTreeMap::new();
        for (index, listener) in snapshot.listeners.iter().enumerate() {
            let path = all.index(index);
            if listener.name.is_empty() {
                self.wrong(&path.key("name"), &codes::MISSING_KEY, "the listener has no name", "");
            } else if names.insert(&listener.name, index).is_some() {
                let message = format!("another listener is named {:?} too", listener.name);
                self.wrong(
                    &path.key("name"),
                    &codes::DUPLICATE,
                    message,
                    "names are unique in logs and metrics",
                );
            }
            if listener.bind.is_empty() {
                let help = "write `bind: [\"127.0.0.1:8443\"]`";
                self.wrong(&path.key("bind"), &codes::MISSING_KEY, "the listener has no address", help);
            }
            for (position, bind) in listener.bind.iter().enumerate() {
                let port = match bind {
                    Bind::Socket(address) => address.port(),
                    Bind::Unix(_) => 0,
                };
                let same_port = binds.entry(port).or_default();
                if let Some((other, owner)) = same_port.iter().find(|(other, _)| conflict(other, bind)) {
                    let message = format!("{bind} collides with {other} of the listener {owner:?}");
                    self.wrong(&path.key("bind").index(position), &codes::DUPLICATE, message, "");
                }
                same_port.push((bind, &listener.name));
            }
            self.listener(&path, listener);
        }
    }

    fn listener(&mut self, path: &Path, listener: &Listener) {
        match (&listener.tcp, listener.hosts.is_empty()) {
            (Some(_), false) => self.wrong(
                &path.key("tcp"),
                &codes::CONTRADICTION,
                "a listener has either `hosts` (HTTP) or `tcp`",
                "make two listeners of it",
            ),
            (None, true) => self.wrong(
                path,
                &codes::MISSING_KEY,
                format!("the listener {:?} has neither `hosts` (HTTP) nor `tcp`", listener.name),
                "add `hosts:` with routes, or `tcp:` with a service",
            ),
            _ => {}
        }
        if let Some(tls) = &listener.tls {
            self.tls(&path.key("tls"), tls);
            let own = |host: &Host| {
                host.tls.as_ref().is_some_and(|tls| !tls.certificates.is_empty() || tls.reject == Some(true))
            };
            let covered = !listener.hosts.is_empty() && listener.hosts.iter().all(own);
            if tls.certificates.is_empty() && tls.reject != Some(true) && !covered {
                self.wrong(
                    &path.key("tls"),
                    &codes::MISSING_KEY,
                    format!("the listener {:?} ends TLS but has no certificate", listener.name),
                    "add `certificates:` with `chain` and `key`",
                );
            }
        }
        if let Some(incoming) = &listener.proxy_protocol {
            for (index, network) in incoming.trusted.iter().enumerate() {
                self.network(&path.key("proxy_protocol").key("trusted").index(index), network);
            }
        }
        if let Some(tcp) = &listener.tcp {
            let path = path.key("tcp");
            if tcp.peek && listener.tls.is_some() {
                self.wrong(
                    &path.key("peek"),
                    &codes::CONTRADICTION,
                    "`peek` passes TLS through, but this listener ends TLS",
                    "remove `tls` or `peek`",
                );
            }
            if tcp.routes.is_empty() {
                self.wrong(
                    &path,
                    &codes::MISSING_KEY,
                    "`tcp` has no routes",
                    "add `routes: [{service: NAME}]`",
                );
            }
            for (index, route) in tcp.routes.iter().enumerate() {
                let path = path.key("routes").index(index);
                self.service_name(&path.key("service"), &route.service);
                if !route.names.is_empty() && !tcp.peek && listener.tls.is_none() {
                    self.wrong(
                        &path.key("names"),
                        &codes::CONTRADICTION,
                        "server names are not known without TLS",
                        "set `peek: true` to pass TLS through by name, or give the listener `tls`",
                    );
                }
            }
            if let Some(log) = &tcp.access_log {
                self.access_log(&path.key("access_log"), log);
            }
        }
        self.hosts(&path.key("hosts"), listener);
    }

    fn hosts(&mut self, path: &Path, listener: &Listener) {
        let mut names = BTreeMap::new();
        let mut default = None;
        for (index, host) in listener.hosts.iter().enumerate() {
            let path = path.index(index);
            for (position, name) in host.names.iter().enumerate() {
                if names.insert(name.to_string(), index).is_some() {
                    let message = format!("the name {name} stands twice on the listener {:?}", listener.name);
                    self.wrong(&path.key("names").index(position), &codes::DUPLICATE, message, "");
                }
            }
            if host.default && default.replace(index).is_some() {
                let message = "another host of this listener is the default too";
                self.wrong(&path.key("default"), &codes::DUPLICATE, message, "only one can be");
            }
            if let Some(tls) = &host.tls {
                let path = path.key("tls");
                if listener.tls.is_none() {
                    self.wrong(
                        &path,
                        &codes::CONTRADICTION,
                        "the host has `tls`, but its listener is plain text",
                        "give the listener `tls: {}` too, or move the host to another listener",
                    );
                }
                self.tls(&path, tls);
            }
            if host.redirect_to_https && listener.tls.is_some() {
                self.wrong(
                    &path.key("redirect_to_https"),
                    &codes::CONTRADICTION,
                    "requests of this listener are on TLS already",
                    "set it on the host of the plain-text listener",
                );
            }
            self.host(&path, host);
        }
    }

    fn host(&mut self, path: &Path, host: &Host) {
        if host.routes.is_empty() && host.steps.is_empty() && !host.redirect_to_https {
            let name = host.names.first().map_or_else(String::new, NamePattern::to_string);
            let rejects = host.tls.as_ref().is_some_and(|tls| tls.reject == Some(true));
            if !rejects {
                let help = "add `routes: [{path: /, proxy: {service: NAME}}]`";
                self.wrong(path, &codes::MISSING_KEY, format!("the host {name:?} answers nothing"), help);
            }
        }
        self.steps(&path.key("steps"), &host.steps);
        self.error_pages(&path.key("error_pages"), &host.error_pages);
        self.headers(&path.key("response_headers"), &host.response_headers);
        if let Some(log) = &host.access_log {
            self.access_log(&path.key("access_log"), log);
        }
        self.routes(&path.key("routes"), &host.routes);
    }

    fn tls(&mut self, path: &Path, tls: &ServerTls) {
        for (index, certificate) in tls.certificates.iter().enumerate() {
            self.certificate(&path.key("certificates").index(index), certificate, true);
        }
        self.versions(path, tls.min_version, tls.max_version);
        self.known(&path.key("ciphers"), &tls.ciphers, CIPHERS, "cipher suite");
        self.known(&path.key("groups"), &tls.groups, GROUPS, "key exchange group");
        for (index, protocol) in tls.alpn.iter().flatten().enumerate() {
            if protocol.is_empty() || protocol.len() > 255 {
                let message = "an ALPN protocol has 1 to 255 bytes (RFC 7301)";
                self.wrong(&path.key("alpn").index(index), &codes::INVALID_VALUE, message, "");
            }
        }
        if let Some(clients) = &tls.clients {
            self.clients(&path.key("clients"), clients);
        }
    }

    pub(super) fn certificate(&mut self, path: &Path, certificate: &CertificateFiles, server: bool) {
        let before = self.findings.len();
        self.file(&path.key("chain"), &certificate.chain);
        self.file(&path.key("key"), &certificate.key);
        if let Some(file) = &certificate.password_file {
            self.file(&path.key("password_file"), file);
        }
        let Files::Under(base, certificates) = self.files else { return };
        if self.findings.len() > before {
            return;
        }
        for seen in certificates.look(base, certificate, server) {
            let (key, file) =
                if seen.of_key { ("key", &certificate.key) } else { ("chain", &certificate.chain) };
            let message = format!("{}: {}", base.join(file).display(), seen.message);
            let finding = Finding::new(seen.code, message).help(seen.help);
            let list = if seen.warning { &mut self.warnings } else { &mut self.findings };
            list.push((path.key(key), finding));
        }
    }

    pub(super) fn versions(
        &mut self,
        path: &Path,
        min: Option<model::snapshot::TlsVersion>,
        max: Option<model::snapshot::TlsVersion>,
    ) {
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            let message = "min_version is above max_version, so that no version is left";
            self.wrong(&path.key("min_version"), &codes::CONTRADICTION, message, "");
        }
    }

    pub(super) fn known(&mut self, path: &Path, given: &[String], known: &[&str], what: &str) {
        for (index, name) in given.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let help = suggest::help(name, known.iter().copied());
                let message = format!("{name:?} is not a {what} that is available");
                self.wrong(&path.index(index), &codes::INVALID_VALUE, message, help);
            }
        }
    }

    pub(super) fn clients(&mut self, path: &Path, policy: &ClientPolicy) {
        let trusts = !policy.ca.is_empty() || !policy.trusted.is_empty() || !policy.pinned.is_empty();
        let needs = matches!(policy.mode, ClientMode::Required | ClientMode::Optional);
        if needs && !trusts {
            self.wrong(
                &path.key("ca"),
                &codes::MISSING_KEY,
                "client certificates are asked for, but no authority is trusted",
                "add `ca: [ca.crt]` (or `trusted`, or `pinned`)",
            );
        }
        for (key, files) in [("ca", &policy.ca), ("trusted", &policy.trusted), ("crl", &policy.crl)] {
            for (index, file) in files.iter().enumerate() {
                self.file(&path.key(key).index(index), file);
            }
        }
        if policy.mode == ClientMode::Optional && !policy.allow.is_empty() {
            self.warn(
                &path.key("allow"),
                &codes::UNSAFE,
                "`mode: optional` lets clients without a certificate in, whatever `allow` says; write `mode: required` \
                 to keep them out",
            );
        }
        if policy.revocation == Some(model::policy::Revocation::Require) && policy.crl.is_empty() {
            let message = "revocation is required, but there is no list: every client would be refused";
            self.wrong(&path.key("revocation"), &codes::CONTRADICTION, message, "add `crl: [ca.crl]`");
        }
        for (key, rules) in [("allow", &policy.allow), ("deny", &policy.deny)] {
            for (index, rule) in rules.iter().enumerate() {
                self.peer_rule(&path.key(key).index(index), rule, key);
            }
        }
        for (index, pin) in policy.pinned.iter().enumerate() {
            self.fingerprint(&path.key("pinned").index(index), pin);
        }
        let (status, path) = match &policy.refuse {
            Refusal::Alert => return,
            Refusal::Status(status) => (*status, path.key("refuse").key("status")),
            Refusal::Page { status, file } => {
                self.file(&path.key("refuse").key("page").key("file"), file);
                (*status, path.key("refuse").key("page").key("status"))
            }
        };
        if !(400..=499).contains(&status) {
            let message = format!("a refusal is answered with 400 to 499, not {status}");
            self.wrong(&path, &codes::INVALID_VALUE, message, "403 is the usual one, nginx answers 400");
        }
    }

    fn peer_rule(&mut self, path: &Path, rule: &model::policy::PeerRule, list: &str) {
        if *rule == model::policy::PeerRule::default() {
            let everybody = if list == "allow" { "lets everybody in" } else { "refuses everybody" };
            let message = format!("a rule without a field {everybody}");
            self.wrong(
                path,
                &codes::UNSAFE,
                message,
                "give it dns, uri, spiffe, email, subject or fingerprint",
            );
        }
        if let Some(prefix) = &rule.uri_prefix
            && !prefix.ends_with('/')
        {
            let message = format!("the prefix {prefix:?} would also match names that only begin like it");
            self.wrong(&path.key("uri_prefix"), &codes::UNSAFE, message, format!("write {prefix}/"));
        }
        if let Some(fingerprint) = &rule.fingerprint {
            self.fingerprint(&path.key("fingerprint"), fingerprint);
        }
    }

    fn fingerprint(&mut self, path: &Path, text: &str) {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            self.wrong(
                path,
                &codes::INVALID_VALUE,
                format!("{text:?} is not a SHA-256 fingerprint"),
                "64 hexadecimal digits; see them with: handfast cert inspect FILE",
            );
        }
    }
}

/// Whether two addresses cannot be listened on at one time.
fn conflict(one: &Bind, other: &Bind) -> bool {
    match (one, other) {
        (Bind::Socket(one), Bind::Socket(other)) => {
            one.port() != 0
                && one.port() == other.port()
                && one.is_ipv4() == other.is_ipv4()
                && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
        }
        (one, other) => one == other,
    }
}
