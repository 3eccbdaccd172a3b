//! `http`, its `server` blocks and their `listen`: listeners and hosts. Servers that share an address become
//! hosts of one listener.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};

use model::codes::configuration as codes;
use model::policy::Refusal;
use model::snapshot::{
    Bind, Host, Limits, Listener, NamePattern, ProxyProtocolIn, ServerTls, Step, Timeouts,
};
use model::units::Size;

use super::Translation;
use super::scope::Level;
use crate::nginx::parser::{Directive, Word};

/// One `listen` of one server.
pub(super) struct Listen<'a> {
    pub(super) bind: Bind,
    pub(super) directive: &'a Directive,
    pub(super) ssl: bool,
    pub(super) http2: bool,
    pub(super) proxy_protocol: bool,
    default: bool,
}

/// A server that has been translated, before it is put on its listeners.
struct Site {
    host: Host,
    tls: Option<ServerTls>,
    limits: Limits,
    timeouts: Timeouts,
    trusted: Vec<String>,
    http2: bool,
}

/// An address with the servers on it.
struct Address<'a> {
    binds: Vec<Bind>,
    ssl: bool,
    http2: bool,
    proxy_protocol: bool,
    sites: Vec<usize>,
    default: Option<usize>,
    directive: &'a Directive,
}

impl<'a> Translation<'a> {
    /// The `http` block.
    pub(super) fn http(&mut self, level: &Level<'a>) {
        for block in level.own("upstream") {
            let name = block.first().text.as_str();
            if self.upstreams.insert(name, block).is_some() {
                let message = format!("another upstream is named {name:?} too");
                self.wrong(block.first(), &codes::DUPLICATE, message, "");
            }
        }
        self.collect_names(level.directives());
        for directive in level.directives() {
            match directive.name.text.as_str() {
                "map" => self.map(directive),
                "log_format" => self.log_format(directive),
                "limit_req_zone" => self.rate_zone(directive),
                "limit_conn_zone" => self.connection_zone(directive),
                "error_log" => self.error_log(directive),
                _ => {}
            }
        }
        let mut sites = Vec::new();
        let mut addresses: Vec<Address<'a>> = Vec::new();
        for server in level.own("server") {
            let inner = level.inner(server.inner());
            let listens = self.listens(server, &inner, true);
            let site = self.site(server, &inner, listens.iter().any(|listen| listen.ssl));
            for listen in listens {
                self.join(&mut addresses, listen, sites.len());
            }
            sites.push(site);
        }
        for address in merged(addresses) {
            self.listener(address, &sites);
        }
    }

    /// The `listen` directives of a server, `*:80` where there is none.
    pub(super) fn listens(
        &mut self,
        server: &'a Directive,
        level: &Level<'a>,
        http: bool,
    ) -> Vec<Listen<'a>> {
        let all_ssl = http && level.find("ssl").is_some_and(|directive| self.flag(directive));
        let all_http2 = http && level.find("http2").is_some_and(|directive| self.flag(directive));
        let mut listens: Vec<Listen<'a>> = Vec::new();
        for directive in level.own("listen") {
            if let Some(mut listen) = self.listen(directive, http) {
                listen.ssl |= all_ssl;
                listen.http2 |= all_http2;
                if listens.iter().any(|other| other.bind == listen.bind) {
                    let message = format!("this server listens on {} twice", listen.bind);
                    self.wrong(directive.first(), &codes::DUPLICATE, message, "");
                    continue;
                }
                listens.push(listen);
            }
        }
        if listens.is_empty() && level.own("listen").next().is_none() {
            if !http {
                self.wrong(&server.name, &codes::MISSING_KEY, "a server of stream needs `listen`", "");
                return listens;
            }
            let bind = Bind::Socket(SocketAddr::from(([0, 0, 0, 0], 80)));
            let (ssl, http2) = (all_ssl, all_http2);
            listens.push(Listen {
                bind,
                directive: server,
                ssl,
                http2,
                proxy_protocol: false,
                default: false,
            });
        }
        listens
    }

    fn listen(&mut self, directive: &'a Directive, http: bool) -> Option<Listen<'a>> {
        let (address, options) = directive.args.split_first()?;
        let bind = self.bind(address)?;
        let mut listen =
            Listen { bind, directive, ssl: false, http2: false, proxy_protocol: false, default: false };
        for option in options {
            let name = option.text.split('=').next().unwrap_or_default();
            match name {
                "ssl" => listen.ssl = true,
                "http2" if http => listen.http2 = true,
                "proxy_protocol" => listen.proxy_protocol = true,
                "default_server" | "default" if http => listen.default = true,
                "reuseport" | "deferred" | "bind" | "backlog" | "rcvbuf" | "sndbuf" | "fastopen"
                | "so_keepalive" | "setfib" | "accept_filter" => {
                    self.note(
                        directive,
                        format!("`{name}` of listen has no effect: Handfast chooses it itself"),
                    );
                }
                "ipv6only" => {
                    if option.text == "ipv6only=off" {
                        self.unsupported(
                            option,
                            "an IPv6 address does not take IPv4",
                            "add a `listen` for IPv4",
                        );
                    }
                }
                "spdy" | "quic" | "http3" => {
                    self.unsupported(option, "this protocol is not spoken", "take the option out");
                }
                "udp" => self.unsupported(option, "UDP is not proxied", "take the server out"),
                _ => {
                    let known = [
                        "ssl",
                        "http2",
                        "proxy_protocol",
                        "default_server",
                        "reuseport",
                        "backlog",
                        "ipv6only",
                    ];
                    let help = crate::suggest::help(name, known);
                    self.wrong(
                        option,
                        &codes::NGINX_VALUE,
                        format!("{name:?} is not an option of listen"),
                        help,
                    );
                }
            }
        }
        Some(listen)
    }

    /// `80`, `*:80`, `127.0.0.1`, `[::]:80`, `localhost:80` or `unix:/path`.
    fn bind(&mut self, word: &Word) -> Option<Bind> {
        let text = word.text.as_str();
        let v6 = |rest: &str| rest.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        let bind = if text.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("0.0.0.0:{text}").parse().ok()
        } else if let Some(address) = text.strip_prefix('[').and_then(v6) {
            Some(Bind::Socket(SocketAddr::from((address, 80))))
        } else if text == "*" {
            Some(Bind::Socket(SocketAddr::from(([0, 0, 0, 0], 80))))
        } else if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
            Some(Bind::Socket(SocketAddr::from((address, 80))))
        } else if text == "localhost" {
            Some(Bind::Socket(SocketAddr::from(([127, 0, 0, 1], 80))))
        } else {
            text.parse().ok()
        };
        if bind.is_none() {
            let message = format!("{text:?} is not an address to listen on");
            self.wrong(
                word,
                &codes::NGINX_VALUE,
                message,
                "write 443, 127.0.0.1:443, [::]:443 or unix:/path",
            );
        }
        bind
    }

    fn join(&mut self, addresses: &mut Vec<Address<'a>>, listen: Listen<'a>, site: usize) {
        let Some(address) = addresses.iter_mut().find(|address| address.binds.contains(&listen.bind)) else {
            addresses.push(Address {
                binds: vec![listen.bind],
                ssl: listen.ssl,
                http2: listen.http2,
                proxy_protocol: listen.proxy_protocol,
                sites: vec![site],
                default: listen.default.then_some(site),
                directive: listen.directive,
            });
            return;
        };
        // nginx joins the protocols of all servers of an address.
        address.ssl |= listen.ssl;
        address.http2 |= listen.http2;
        address.proxy_protocol |= listen.proxy_protocol;
        address.sites.push(site);
        if listen.default && address.default.replace(site).is_some() {
            let message = format!("another server is the default of {} too", listen.bind);
            self.wrong(&listen.directive.name, &codes::DUPLICATE, message, "only one can be");
        }
    }

    fn site(&mut self, server: &'a Directive, level: &Level<'a>, ssl: bool) -> Site {
        let mut host = Host { names: self.names(level), ..Host::default() };
        for directive in level.own("error_log") {
            self.error_log(directive);
        }
        let types = self.types(level);
        host.steps = self.steps(level.directives(), &types);
        host.error_pages = self.error_pages(level);
        host.access_log = self.access_log(level);
        host.response_headers = self.response_headers(level);
        let answered = matches!(host.steps.last(), Some(Step::Respond(_)));
        if !answered || level.own("location").next().is_some() {
            host.routes = self.routes(level);
        }
        // nginx completes the handshake and answers 400, which error_page 495 and 496 can replace.
        let tls = ssl.then(|| self.server_tls(level, &Refusal::Status(400)));
        if let Some(tls) = &tls
            && tls.certificates.is_empty()
            && tls.reject != Some(true)
        {
            let help = "add `ssl_certificate` and `ssl_certificate_key`";
            self.wrong(&server.name, &codes::MISSING_KEY, "this server has TLS but no certificate", help);
        }
        let real_ip = level.find("real_ip_header");
        let trusted = match real_ip {
            Some(directive) if directive.first().text != "proxy_protocol" => {
                let help = "only the PROXY protocol tells addresses: `real_ip_header proxy_protocol;`";
                self.unsupported(directive.first(), "client addresses are not taken from headers", help);
                Vec::new()
            }
            _ => level.list(&["set_real_ip_from"]).iter().map(|found| found.first().text.clone()).collect(),
        };
        let http2 = level.find("http2").is_some_and(|directive| self.flag(directive));
        Site { host, tls, limits: self.limits(level), timeouts: self.timeouts(level), trusted, http2 }
    }

    fn names(&mut self, level: &Level<'a>) -> Vec<NamePattern> {
        let mut names = Vec::new();
        for word in level.own("server_name").flat_map(|directive| &directive.args) {
            if let Some(expression) = word.text.strip_prefix('~')
                && self.regex(word, expression).is_none()
            {
                continue;
            }
            if word.text.contains('$') && !word.text.starts_with('~') {
                self.unsupported(word, "a server's name is not a variable", "write the name itself");
                continue;
            }
            match word.text.parse() {
                Ok(name) => names.push(name),
                Err(error) => self.wrong(word, &codes::NGINX_VALUE, format!("{error}"), ""),
            }
        }
        names
    }

    fn limits(&mut self, level: &Level<'a>) -> Limits {
        let mut limits = Limits::default();
        if let Some(directive) = level.find("large_client_header_buffers")
            && let [count, size] = directive.args.as_slice()
            && let (Some(count), Some(size)) = (self.number::<u64>(count, &count.text), self.size(size))
        {
            limits.header_bytes = Size(count.saturating_mul(size.0).min(1 << 20));
        }
        if let Some(directive) = level.find("client_max_body_size")
            && let Some(size) = self.size(directive.first())
        {
            limits.body_bytes = size;
        }
        if let Some(directive) = level.find("http2_max_concurrent_streams") {
            let word = directive.first();
            limits.streams = self.number(word, &word.text).unwrap_or(limits.streams);
        }
        if let Some(directive) = level.find("keepalive_requests") {
            let word = directive.first();
            limits.requests = self.number(word, &word.text).unwrap_or(limits.requests);
        }
        limits
    }

    fn timeouts(&mut self, level: &Level<'a>) -> Timeouts {
        let mut timeouts = Timeouts::default();
        for (name, target) in [
            ("client_header_timeout", &mut timeouts.header),
            ("client_body_timeout", &mut timeouts.body),
            ("send_timeout", &mut timeouts.send),
            ("keepalive_timeout", &mut timeouts.idle),
        ] {
            if let Some(span) = self.span_in(level, name) {
                *target = span;
            }
        }
        timeouts
    }

    fn listener(&mut self, address: Address<'a>, sites: &[Site]) {
        let default = address.default.or(address.sites.first().copied());
        let Some(first) = default.and_then(|index| sites.get(index)) else { return };
        let mut listener = Listener {
            name: name_of(&address.binds),
            bind: address.binds,
            limits: first.limits.clone(),
            timeouts: first.timeouts.clone(),
            ..Listener::default()
        };
        if address.proxy_protocol {
            let trusted: BTreeSet<String> = address
                .sites
                .iter()
                .filter_map(|index| sites.get(*index))
                .flat_map(|site| site.trusted.clone())
                .collect();
            if trusted.is_empty() {
                self.warn(
                    address.directive,
                    "the addresses in the PROXY protocol header are believed from nobody; name the balancers with \
                     `set_real_ip_from NETWORK;`",
                );
            }
            listener.proxy_protocol = Some(ProxyProtocolIn { trusted: trusted.into_iter().collect() });
        }
        if address.http2 && !address.ssl {
            self.note(address.directive, "HTTP/2 without TLS is spoken with clients that begin with it");
        }
        let http2 = address.http2 || first.http2;
        let mut seen = BTreeSet::new();
        for index in &address.sites {
            let Some(site) = sites.get(*index) else { continue };
            let mut host = site.host.clone();
            // nginx ignores a name that another server of the address has already.
            host.names.retain(|name| {
                let fresh = seen.insert(name.to_string());
                if !fresh {
                    self.warn(
                        address.directive,
                        format!(
                            "the name {name} stands in two servers of this address; the first one has it"
                        ),
                    );
                }
                fresh
            });
            host.default = address.default == Some(*index);
            host.tls = if address.ssl { site.tls.clone() } else { None };
            if address.ssl && site.tls.is_none() {
                self.wrong(
                    &address.directive.name,
                    &codes::CONTRADICTION,
                    "one server of this address has `ssl` and another has not: all of them speak TLS",
                    "add `ssl` to each `listen` of this address, with a certificate",
                );
            }
            listener.hosts.push(host);
        }
        if address.ssl {
            let alpn = if http2 {
                vec!["h2".to_owned(), "http/1.1".to_owned()]
            } else {
                vec!["http/1.1".to_owned()]
            };
            listener.tls = Some(ServerTls { alpn: Some(alpn), ..ServerTls::default() });
            hoist(&mut listener);
        }
        // Port 0 is a different port each time.
        while self.snapshot.listeners.iter().any(|other| other.name == listener.name) {
            listener.name.push('+');
        }
        self.snapshot.listeners.push(listener);
    }
}

/// Joins addresses that differ in nothing else, such as `80` and `[::]:80` of one server.
fn merged(addresses: Vec<Address<'_>>) -> Vec<Address<'_>> {
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

fn name_of(binds: &[Bind]) -> String {
    match binds.first() {
        Some(Bind::Socket(address)) if address.ip().is_unspecified() => format!("port-{}", address.port()),
        Some(bind) => bind.to_string(),
        None => String::new(),
    }
}

/// What all hosts agree on belongs to the listener.
fn hoist(listener: &mut Listener) {
    let Some(common) = &mut listener.tls else { return };
    let mut each: Vec<&mut ServerTls> =
        listener.hosts.iter_mut().filter_map(|host| host.tls.as_mut()).collect();
    macro_rules! field {
        ($name:ident) => {
            if let Some(value) = each.first().map(|tls| tls.$name.clone())
                && each.iter().all(|tls| tls.$name == value)
            {
                common.$name = value;
                for tls in &mut each {
                    tls.$name = Default::default();
                }
            }
        };
    }
    field!(certificates);
    field!(min_version);
    field!(max_version);
    field!(ciphers);
    field!(groups);
    field!(clients);
    field!(tickets);
    field!(ticket_lifetime);
    if listener.hosts.len() == 1 {
        let mut each: Vec<&mut ServerTls> =
            listener.hosts.iter_mut().filter_map(|host| host.tls.as_mut()).collect();
        if let Some(tls) = each.first_mut() {
            common.reject = tls.reject.take();
        }
    }
    for host in &mut listener.hosts {
        if host.tls == Some(ServerTls::default()) {
            host.tls = None;
        }
    }
}
