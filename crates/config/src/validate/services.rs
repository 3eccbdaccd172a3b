//! Checks of services and their endpoints.

use model::codes::configuration as codes;
use model::snapshot::{Balance, Service, UpstreamTls};

use super::listeners::CIPHERS;
use super::{Check, Path};

impl Check<'_> {
    pub(super) fn services(&mut self) {
        let snapshot = self.snapshot;
        for (name, service) in &snapshot.services {
            self.service(&Path::default().key("services").key(name), service);
        }
    }

    fn service(&mut self, path: &Path, service: &Service) {
        if service.endpoints.is_empty() {
            let help = "add `endpoints: [{address: \"127.0.0.1:8080\"}]`";
            self.wrong(&path.key("endpoints"), &codes::MISSING_KEY, "the service has no endpoint", help);
        }
        for (index, endpoint) in service.endpoints.iter().enumerate() {
            let path = path.key("endpoints").index(index);
            if !is_address(&endpoint.address) {
                let message = format!("{:?} is not the address of an endpoint", endpoint.address);
                let help = "write host:port, [::1]:port or unix:/path";
                self.wrong(&path.key("address"), &codes::INVALID_VALUE, message, help);
            }
            if endpoint.weight == 0 {
                let message = "an endpoint of weight 0 gets no traffic";
                self.wrong(
                    &path.key("weight"),
                    &codes::INVALID_VALUE,
                    message,
                    "write `down: true` for that",
                );
            }
        }
        if let Balance::Hash { key, .. } = &service.balance {
            self.template(&path.key("balance").key("hash").key("key"), key);
        }
        if let Some(health) = &service.active_health {
            let path = path.key("active_health");
            if health.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
                self.wrong(&path.key("path"), &codes::INVALID_VALUE, "a path begins with /", "");
            }
            if health.interval.0.is_zero() || health.timeout.0.is_zero() {
                self.wrong(&path, &codes::INVALID_VALUE, "`interval` and `timeout` are above 0", "");
            }
        }
        if let Some(tls) = &service.tls {
            self.upstream_tls(&path.key("tls"), tls);
        }
    }

    fn upstream_tls(&mut self, path: &Path, tls: &UpstreamTls) {
        for (key, files) in [("ca", &tls.ca), ("crl", &tls.crl)] {
            for (index, file) in files.iter().enumerate() {
                self.file(&path.key(key).index(index), file);
            }
        }
        if let Some(certificate) = &tls.certificate {
            self.certificate(&path.key("certificate"), certificate, false);
        }
        self.versions(path, tls.min_version, tls.max_version);
        self.known(&path.key("ciphers"), &tls.ciphers, CIPHERS, "cipher suite");
        if !tls.verify && (!tls.identities.is_empty() || !tls.crl.is_empty()) {
            let message = "`verify: false` makes `identities` and `crl` meaningless";
            self.wrong(&path.key("verify"), &codes::CONTRADICTION, message, "remove `verify: false`");
        }
    }
}

/// Whether a text is `host:port`, `[::1]:port` or `unix:/path`.
pub(crate) fn is_address(text: &str) -> bool {
    if let Some(path) = text.strip_prefix("unix:") {
        return path.starts_with('/');
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_fits = match host.strip_prefix('[') {
        Some(rest) => {
            rest.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        }
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    host_fits && port.parse::<u16>().is_ok_and(|port| port > 0)
}
