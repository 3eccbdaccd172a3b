//! `stream`: raw TCP, TLS that ends here, and TLS passed through by server name.

use model::codes::configuration as codes;
use model::policy::Refusal;
use model::snapshot::{
    AccessLog, Listener, LogFormat, LogTarget, Protocol, ProxyProtocol, ProxyProtocolIn, ServerTls,
    StreamRoute, TcpListener, Timeouts,
};

use super::Translation;
use super::scope::Level;
use super::service::Manner;
use crate::nginx::parser::{Directive, Word};

impl<'a> Translation<'a> {
    /// The `stream` block.
    pub(super) fn stream(&mut self, level: &Level<'a>) {
        for block in level.own("upstream") {
            self.stream_upstreams.insert(&block.first().text, block);
        }
        self.collect_names(level.directives());
        self.formats.clear();
        for directive in level.directives() {
            match directive.name.text.as_str() {
                "map" => {
                    if let [_, variable] = directive.args.as_slice()
                        && let Some(name) = variable.text.strip_prefix('$')
                    {
                        self.stream_maps.insert(name, directive);
                    }
                }
                "log_format" => self.log_format(directive),
                "error_log" => self.error_log(directive),
                _ => {}
            }
        }
        for server in level.own("server") {
            let inner = level.inner(server.inner());
            self.stream_server(server, &inner);
        }
    }

    fn stream_server(&mut self, server: &'a Directive, level: &Level<'a>) {
        let listens = self.listens(server, level, false);
        let Some(pass) = level.own("proxy_pass").last() else {
            self.wrong(&server.name, &codes::MISSING_KEY, "a server of stream needs `proxy_pass`", "");
            return;
        };
        let peek = self.flag_in(level, "ssl_preread").unwrap_or(false);
        let outgoing = self.flag_in(level, "proxy_protocol").unwrap_or(false).then_some(ProxyProtocol::V1);
        let tls_out = self.flag_in(level, "proxy_ssl").unwrap_or(false);
        let tls = tls_out.then(|| self.upstream_tls(level, "proxy", pass));
        let manner =
            Manner { protocol: Protocol::Http1, tls, keep: false, proxy_protocol: None, stream: true };
        let routes = self.stream_routes(pass, &manner);
        self.stream_timeouts(level, &routes);
        let mut timeouts = Timeouts::default();
        if let Some(span) = self.span_in(level, "proxy_timeout") {
            timeouts.tcp_idle = span;
        }
        if let Some(span) = self.span_in(level, "ssl_handshake_timeout") {
            timeouts.handshake = span;
        }
        let access_log = self.stream_log(level);
        for listen in listens {
            let ends_tls = listen.ssl;
            let server_tls = ends_tls.then(|| self.stream_tls(server, level));
            if peek && ends_tls {
                let message = "`ssl_preread` passes TLS through, but this server ends TLS";
                self.wrong(
                    &listen.directive.name,
                    &codes::CONTRADICTION,
                    message,
                    "remove `ssl` or `ssl_preread`",
                );
            }
            let mut listener = Listener {
                name: format!("stream-{}", listen.bind).replace("stream-0.0.0.0:", "stream-port-"),
                bind: vec![listen.bind],
                tls: server_tls,
                tcp: Some(TcpListener {
                    peek: peek && !ends_tls,
                    routes: routes.clone(),
                    proxy_protocol: outgoing,
                    access_log: access_log.clone(),
                }),
                timeouts: timeouts.clone(),
                ..Listener::default()
            };
            if listen.proxy_protocol {
                let trusted: Vec<String> = level
                    .list(&["set_real_ip_from"])
                    .iter()
                    .map(|found| found.first().text.clone())
                    .collect();
                if trusted.is_empty() {
                    let message = "the addresses in the PROXY protocol header are believed from nobody; name the \
                                   balancers with `set_real_ip_from NETWORK;`";
                    self.warn(listen.directive, message);
                }
                listener.proxy_protocol = Some(ProxyProtocolIn { trusted });
            }
            while self.snapshot.listeners.iter().any(|other| other.name == listener.name) {
                listener.name.push('+');
            }
            if self
                .snapshot
                .listeners
                .iter()
                .any(|other| other.bind.iter().any(|bind| listener.bind.contains(bind)))
            {
                let message = format!("two servers listen on {}", listener.name);
                self.wrong(&listen.directive.name, &codes::DUPLICATE, message, "");
            }
            self.snapshot.listeners.push(listener);
        }
    }

    /// Connections are logged as JSON or in columns; an own format would be of nginx's stream variables.
    fn stream_log(&mut self, level: &Level<'a>) -> Option<AccessLog> {
        let mut log = self.access_log(level)?;
        log.format = match log.format {
            LogFormat::Json | LogFormat::JsonTemplate(_) => LogFormat::Json,
            LogFormat::Text | LogFormat::Template(_) => LogFormat::Text,
        };
        if log.to != LogTarget::Off
            && let Some(directive) = level.list(&["access_log"]).first()
        {
            self.note(
                directive,
                "lines about connections have a form of their own: columns, or JSON with escape=json",
            );
        }
        Some(log)
    }

    fn stream_tls(&mut self, server: &'a Directive, level: &Level<'a>) -> ServerTls {
        let mut tls = self.server_tls(level, &Refusal::Alert);
        if let Some(directive) = level.find("ssl_alpn") {
            tls.alpn = Some(directive.args.iter().map(|word| word.text.clone()).collect());
        }
        if tls.certificates.is_empty() {
            let help = "add `ssl_certificate` and `ssl_certificate_key`";
            self.wrong(&server.name, &codes::MISSING_KEY, "this server has TLS but no certificate", help);
        }
        tls
    }

    /// `proxy_pass NAME`, `proxy_pass host:port` or `proxy_pass $variable` of a map over the server name.
    fn stream_routes(&mut self, pass: &'a Directive, manner: &Manner) -> Vec<StreamRoute> {
        let word = pass.first();
        let Some(variable) = word.text.strip_prefix('$') else {
            let service = self.service(word, &word.text, manner);
            return service.map(|service| StreamRoute { names: Vec::new(), service }).into_iter().collect();
        };
        let Some(map) = self.stream_maps.get(variable.trim_matches(['{', '}'])).copied() else {
            let help = "a map over $ssl_preread_server_name (or $ssl_server_name) may choose the upstream";
            self.unsupported(word, format!("${variable} is not the variable of a map"), help);
            return Vec::new();
        };
        let source = map.first();
        if !matches!(
            source.text.trim_start_matches('$').trim_matches(['{', '}']),
            "ssl_preread_server_name" | "ssl_server_name"
        ) {
            let message = "streams are routed by server name only";
            self.unsupported(source, message, "map over $ssl_preread_server_name");
            return Vec::new();
        }
        self.routes_of_map(map, manner)
    }

    fn routes_of_map(&mut self, map: &'a Directive, manner: &Manner) -> Vec<StreamRoute> {
        let mut routes: Vec<StreamRoute> = Vec::new();
        let mut default = None;
        for entry in map.inner() {
            let (key, value) = match entry.args.as_slice() {
                [value] => (&entry.name, value),
                [] if matches!(entry.name.text.as_str(), "hostnames" | "volatile") => continue,
                _ => {
                    self.wrong(
                        &entry.name,
                        &codes::WRONG_ARGUMENTS,
                        "a line of a map is a key and a value",
                        "",
                    );
                    continue;
                }
            };
            let names = match key.text.as_str() {
                "default" => Vec::new(),
                text if text.starts_with('~') => {
                    self.unsupported(
                        key,
                        "streams are routed by names and `*.` names",
                        "write the names out",
                    );
                    continue;
                }
                text => stream_names(text),
            };
            if value.text.is_empty() {
                if key.text != "default" {
                    self.unsupported(value, "a name that is refused", "leave the name and the default out");
                }
                continue;
            }
            let Some(service) = self.stream_target(value, manner) else { continue };
            if names.is_empty() {
                default = Some(service);
            } else if let Some(route) = routes.iter_mut().find(|route| route.service == service) {
                route.names.extend(names);
            } else {
                routes.push(StreamRoute { names, service });
            }
        }
        // Exact names come before wildcards, whatever their order in the map.
        let (exact, wild): (Vec<_>, Vec<_>) = split_by_kind(routes);
        let mut ordered = exact;
        ordered.extend(wild);
        ordered.extend(default.map(|service| StreamRoute { names: Vec::new(), service }));
        ordered
    }

    fn stream_target(&mut self, value: &Word, manner: &Manner) -> Option<String> {
        if value.text.contains('$') {
            let help = "write the name of an upstream, or host:port";
            self.unsupported(value, "the target depends on the request", help);
            return None;
        }
        self.service(value, &value.text, manner)
    }

    fn stream_timeouts(&mut self, level: &Level<'a>, routes: &[StreamRoute]) {
        let Some(connect) = self.span_in(level, "proxy_connect_timeout") else { return };
        for route in routes {
            if let Some(service) = self.snapshot.services.get_mut(&route.service) {
                service.timeouts.connect = connect;
            }
        }
    }
}

/// The names that a key of a map stands for.
fn stream_names(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\\').unwrap_or(text).to_ascii_lowercase();
    match text.strip_prefix('.') {
        Some(rest) => vec![rest.to_owned(), format!("*.{rest}")],
        None => vec![text],
    }
}

fn split_by_kind(routes: Vec<StreamRoute>) -> (Vec<StreamRoute>, Vec<StreamRoute>) {
    let (mut exact, mut wild) = (Vec::new(), Vec::new());
    for route in routes {
        let (stars, names): (Vec<String>, Vec<String>) =
            route.names.into_iter().partition(|name| name.starts_with("*."));
        if !names.is_empty() {
            exact.push(StreamRoute { names, service: route.service.clone() });
        }
        for name in stars {
            wild.push(StreamRoute { names: vec![name], service: route.service.clone() });
        }
    }
    // Among wildcards the longest wins.
    wild.sort_by_key(|route| std::cmp::Reverse(route.names.first().map_or(0, String::len)));
    (exact, wild)
}
