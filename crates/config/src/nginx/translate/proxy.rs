//! `proxy_pass` and `grpc_pass` with all that goes with them: actions of routes.

use model::codes::configuration as codes;
use model::pattern::PathPattern;
use model::snapshot::{
    HeaderRule, Identity, PathRewrite, Protocol, Proxy, Retries, RetryOn, ServiceTimeouts,
};
use model::template::{Part, Template};
use model::units::Span;

use super::Translation;
use super::scope::Level;
use super::service::Manner;
use super::values::{fixed, replace_variable};
use crate::nginx::parser::{Directive, Word};

/// The argument of `proxy_pass`, taken apart.
struct Target {
    tls: bool,
    /// Up to the URI: a name or address, maybe with variables.
    authority: String,
    /// From the first slash on.
    uri: Option<String>,
}

impl<'a> Translation<'a> {
    /// The action of a location with `proxy_pass` or `grpc_pass`.
    pub(super) fn proxy(
        &mut self,
        level: &Level<'a>,
        pass: &'a Directive,
        path: &PathPattern,
    ) -> Option<Proxy> {
        let kind = if pass.is("grpc_pass") { "grpc" } else { "proxy" };
        let word = pass.first();
        let whole = self.template(word);
        let target = self.target(word, kind)?;
        let mut proxy =
            Proxy { forwarded: false, identity: Identity::Off, grpc: kind == "grpc", ..Proxy::default() };
        proxy.upgrades = false;
        let keep = self.request_headers(level, kind, &target, &mut proxy);
        let protocol = self.protocol(level, kind);
        let tls = target.tls.then(|| self.upstream_tls(level, kind, pass));
        let manner = Manner { protocol, tls, keep, proxy_protocol: None, stream: false };
        proxy.service = self.service_template(word, &target, &manner)?;
        proxy.rewrite = self.path_rewrite(word, &target, path, whole.literal().is_some());
        proxy.redirects = self.redirects(level, kind, word, &target, path);
        proxy.retries = self.retries(level, kind, &proxy.service);
        proxy.timeouts = self.proxy_timeouts(level, kind);
        proxy.intercept_errors = self.flag_in(level, &format!("{kind}_intercept_errors")).unwrap_or(false);
        proxy.hide_headers = hidden(level, kind);
        proxy.underscores = self.flag_in(level, "underscores_in_headers").unwrap_or(false);
        // A body is streamed unless the file asks for buffering by name.
        if kind == "proxy" {
            proxy.buffer_request = self.flag_in(level, "proxy_request_buffering").unwrap_or(false);
        }
        Some(proxy)
    }

    fn target(&mut self, word: &Word, kind: &str) -> Option<Target> {
        let (tls, rest) = match (kind, word.text.split_once("://")) {
            ("proxy", Some(("http", rest))) | ("grpc", Some(("grpc", rest))) => (false, rest),
            ("proxy", Some(("https", rest))) | ("grpc", Some(("grpcs", rest))) => (true, rest),
            // The whole URL in a variable, or gRPC without a scheme.
            ("proxy", None) if word.text.starts_with('$') => return self.variable_target(word),
            ("grpc", None) => (false, word.text.as_str()),
            _ => {
                let schemes = if kind == "grpc" { "grpc:// or grpcs://" } else { "http:// or https://" };
                let message = format!("{:?} is not a target: it begins with {schemes}", word.text);
                self.wrong(
                    word,
                    &codes::NGINX_VALUE,
                    message,
                    "write http://NAME, where NAME is an upstream or host:port",
                );
                return None;
            }
        };
        if let Some(socket) = rest.strip_prefix("unix:") {
            let (file, uri) =
                socket.split_once(':').map_or((socket, None), |(file, uri)| (file, Some(uri.to_owned())));
            return Some(Target {
                tls,
                authority: format!("unix:{file}"),
                uri: uri.filter(|uri| !uri.is_empty()),
            });
        }
        let (authority, uri) = split_uri(rest);
        if authority.is_empty() {
            self.wrong(word, &codes::NGINX_VALUE, "the target has no host", "");
            return None;
        }
        if kind == "grpc" && uri.is_some() {
            self.wrong(word, &codes::NGINX_VALUE, "`grpc_pass` takes no path", "take the path out");
        }
        Some(Target { tls, authority: authority.to_owned(), uri: uri.map(str::to_owned) })
    }

    /// `proxy_pass $target;`: all values that the variable can have must be URLs of one scheme without a path.
    fn variable_target(&mut self, word: &Word) -> Option<Target> {
        let name = word.text.trim_start_matches('$').trim_matches(['{', '}']).to_owned();
        let values = self.constants.get(&name).cloned().unwrap_or_default();
        let plain = values.iter().all(|value| value.starts_with("http://") && !value[7..].contains('/'));
        if values.is_empty() || !plain {
            let help = "write `proxy_pass http://$name;` and let a map choose among the names of upstreams";
            self.unsupported(word, "a whole URL in a variable", help);
            return None;
        }
        // The names of the services are the values themselves.
        Some(Target { tls: false, authority: word.text.clone(), uri: None })
    }

    /// The name of the service; with variables, all services that can be meant are made.
    fn service_template(&mut self, word: &Word, target: &Target, manner: &Manner) -> Option<Template> {
        let template: Template = target.authority.parse().unwrap_or_default();
        if let Some(name) = template.literal() {
            return self.service(word, name, manner).map(|name| fixed(&name));
        }
        let mut candidates: Vec<String> = self.upstreams.keys().map(|name| (*name).to_owned()).collect();
        for variable in template.variables() {
            candidates.extend(self.constants.get(variable).into_iter().flatten().cloned());
        }
        // Text around a variable, such as a port, belongs to each value.
        if let [before @ .., Part::Variable(variable), Part::Text(after)] = template.parts()
            && before.is_empty()
        {
            let values = self.constants.get(variable).cloned().unwrap_or_default();
            candidates.extend(values.into_iter().map(|value| format!("{value}{after}")));
        }
        candidates.retain(|candidate| !candidate.is_empty());
        if candidates.is_empty() {
            let message = "the target depends on the request, and no upstream is defined that could be meant";
            let help =
                "Handfast connects to hosts of its configuration only: define an upstream for each, or a map";
            self.unsupported(word, message, help);
            return None;
        }
        let suffix = self.suffix(manner);
        let mut made = false;
        for candidate in candidates {
            // Values of a map that are no addresses (a path, say) are not meant for this.
            let address = candidate.strip_prefix("http://").unwrap_or(&candidate).to_owned();
            let meant = self.upstreams.contains_key(address.as_str()) || looks_like_address(&address);
            let Some(name) = meant.then(|| self.service(word, &address, manner)).flatten() else { continue };
            made = true;
            let alias = format!("{candidate}{suffix}");
            if alias != name
                && let Some(service) = self.snapshot.services.get(&name).cloned()
            {
                self.snapshot.services.insert(alias, service);
            }
        }
        if !made {
            let message = "none of the values that the target can have is an upstream or an address";
            self.unsupported(word, message, "define an upstream for each value");
            return None;
        }
        Some(fixed(&format!("{}{suffix}", target.authority)))
    }

    /// nginx's rule: a URI in `proxy_pass` replaces the location's prefix; with variables it replaces all.
    fn path_rewrite(
        &mut self,
        word: &Word,
        target: &Target,
        path: &PathPattern,
        plain: bool,
    ) -> Option<PathRewrite> {
        let uri = target.uri.as_deref()?;
        if !plain {
            return Some(PathRewrite::Whole(self.template_of(word, uri)));
        }
        if matches!(path, PathPattern::Regex { .. } | PathPattern::Named(_)) {
            let message = "`proxy_pass` cannot have a path in a location with a regular expression or @name";
            self.wrong(word, &codes::NGINX_VALUE, message, "take the path out, or write it with variables");
            return None;
        }
        if uri.contains('?') {
            self.unsupported(word, "a query in the path of `proxy_pass`", "use `rewrite … break;` before it");
            return None;
        }
        Some(PathRewrite::Prefix(uri.to_owned()))
    }

    /// `proxy_set_header`, with nginx's defaults. Says whether connections may be kept.
    fn request_headers(&mut self, level: &Level<'a>, kind: &str, target: &Target, proxy: &mut Proxy) -> bool {
        let proxy_host = match (target.authority.strip_prefix("unix:"), kind) {
            (Some(_), _) => "localhost".to_owned(),
            _ => target.authority.clone(),
        };
        proxy.host = Some(fixed(&proxy_host));
        let mut keep = false;
        for directive in level.list(&[&format!("{kind}_set_header")]) {
            let [name, value] = directive.args.as_slice() else { continue };
            let mut template = self.template(value);
            if template.variables().any(|variable| variable == "proxy_host") {
                template = replace_variable(&template, "proxy_host", &proxy_host);
            }
            match name.text.to_ascii_lowercase().as_str() {
                "host" => proxy.host = Some(template),
                // Handfast keeps connections and passes upgrades by itself; these two say that it shall.
                "connection" => keep = value.text != "close",
                "upgrade" => {
                    proxy.upgrades = !value.text.is_empty();
                    keep = true;
                }
                _ => proxy.headers.push(HeaderRule {
                    name: self.literal(name),
                    value: template,
                    always: false,
                }),
            }
        }
        keep
    }

    fn protocol(&mut self, level: &Level<'a>, kind: &str) -> Protocol {
        if kind == "grpc" {
            return Protocol::Http2;
        }
        let Some(directive) = level.find("proxy_http_version") else { return Protocol::Http10 };
        match directive.first().text.as_str() {
            "1.0" => Protocol::Http10,
            "1.1" => Protocol::Http1,
            "2" | "2.0" => Protocol::Http2,
            other => {
                let message = format!("{other:?} is not a version of HTTP");
                self.wrong(directive.first(), &codes::NGINX_VALUE, message, "write 1.0 or 1.1");
                Protocol::Http1
            }
        }
    }

    fn redirects(
        &mut self,
        level: &Level<'a>,
        kind: &str,
        pass: &Word,
        target: &Target,
        path: &PathPattern,
    ) -> Vec<(Template, Template)> {
        if kind == "grpc" {
            return Vec::new();
        }
        let list = level.list(&["proxy_redirect"]);
        let default = |this: &mut Self| -> Vec<(Template, Template)> {
            if pass.text.contains('$') {
                return Vec::new();
            }
            let url = pass.text.as_str();
            match (&target.uri, path) {
                (None, _) => vec![(fixed(&format!("{}/", url.trim_end_matches('/'))), fixed("/"))],
                (
                    Some(_),
                    PathPattern::Exact(path) | PathPattern::Prefix(path) | PathPattern::PrefixStop(path),
                ) => {
                    vec![(fixed(url), fixed(path))]
                }
                _ => {
                    let _ = this;
                    Vec::new()
                }
            }
        };
        if list.is_empty() {
            return default(self);
        }
        let mut redirects = Vec::new();
        for directive in list {
            match directive.args.as_slice() {
                [word] if word.text == "off" => return Vec::new(),
                [word] if word.text == "default" => redirects.extend(default(self)),
                [from, to] if !from.text.starts_with('~') => {
                    let pair = (self.template(from), self.template(to));
                    redirects.push(pair);
                }
                [word, ..] => {
                    let help = "write `proxy_redirect FROM TO;`, `default` or `off`";
                    self.unsupported(word, "regular expressions in `proxy_redirect`", help);
                }
                [] => {}
            }
        }
        redirects
    }

    fn retries(&mut self, level: &Level<'a>, kind: &str, service: &Template) -> Option<Retries> {
        let next = level.find(&format!("{kind}_next_upstream"));
        let tries = level.find(&format!("{kind}_next_upstream_tries"));
        if next.is_none() && tries.is_none() {
            return None;
        }
        let mut retries = service.literal().and_then(|name| self.snapshot.services.get(name)).map_or_else(
            || Retries { attempts: 1, budget_percent: 100, ..Retries::default() },
            |service| service.retries.clone(),
        );
        if let Some(directive) = tries {
            let word = directive.first();
            let tries: u32 = self.number(word, &word.text).unwrap_or(0);
            if tries > 0 {
                retries.attempts = retries.attempts.min(tries - 1);
            }
        }
        let Some(directive) = next else { return Some(retries) };
        retries.on.clear();
        for word in &directive.args {
            match word.text.as_str() {
                "error" => retries.on.extend([RetryOn::Connect, RetryOn::Reset]),
                "timeout" => retries.on.push(RetryOn::Timeout),
                "invalid_header" => retries.on.push(RetryOn::Reset),
                "non_idempotent" => retries.non_idempotent = true,
                "off" => retries.attempts = 0,
                text => match text.strip_prefix("http_").map(str::parse) {
                    Some(Ok(status)) if (400..=599).contains(&status) => {
                        retries.on.push(RetryOn::Status(status))
                    }
                    _ => {
                        let help = "write error, timeout, invalid_header, http_502, non_idempotent or off";
                        self.wrong(
                            word,
                            &codes::NGINX_VALUE,
                            format!("{text:?} is not a reason to retry"),
                            help,
                        );
                    }
                },
            }
        }
        retries.on.dedup();
        Some(retries)
    }

    fn proxy_timeouts(&mut self, level: &Level<'a>, kind: &str) -> Option<ServiceTimeouts> {
        let connect = self.span_in(level, &format!("{kind}_connect_timeout"));
        let read = self.span_in(level, &format!("{kind}_read_timeout"));
        let send = self.span_in(level, &format!("{kind}_send_timeout"));
        if connect.is_none() && read.is_none() && send.is_none() {
            return None;
        }
        let minute = Span::seconds(60);
        Some(ServiceTimeouts {
            connect: connect.unwrap_or(minute),
            read: read.unwrap_or(minute),
            send: send.unwrap_or(minute),
        })
    }
}

/// Headers of answers that nginx keeps to itself, and those that it is told to, without those that it is to pass.
fn hidden(level: &Level<'_>, kind: &str) -> Vec<String> {
    let own = [
        "X-Accel-Redirect",
        "X-Accel-Expires",
        "X-Accel-Limit-Rate",
        "X-Accel-Buffering",
        "X-Accel-Charset",
        "X-Pad",
    ];
    let named = |suffix: &str| {
        let list = level.list(&[&format!("{kind}_{suffix}_header")]);
        list.into_iter().map(|directive| directive.first().text.clone()).collect::<Vec<_>>()
    };
    let passed = named("pass");
    let mut hidden = named("hide");
    hidden.extend(
        own.into_iter()
            .filter(|name| !passed.iter().any(|p| p.eq_ignore_ascii_case(name)))
            .map(str::to_owned),
    );
    hidden
}

/// Splits an authority from the URI after it: at the first slash, or at a variable that holds a URI.
fn split_uri(rest: &str) -> (&str, Option<&str>) {
    let slash = rest.find('/');
    let variable = ["$request_uri", "$uri", "$document_uri", "${request_uri}", "${uri}"]
        .into_iter()
        .filter_map(|name| rest.find(name))
        .min();
    match [slash, variable].into_iter().flatten().min() {
        Some(0) | None => (rest, None),
        Some(at) => {
            let (authority, uri) = rest.split_at(at);
            (authority, Some(uri))
        }
    }
}

/// Whether a value of a map can be meant as an address.
fn looks_like_address(text: &str) -> bool {
    let host = super::service::host_of(text);
    crate::validate::is_address(text)
        || (host == text && text.contains('.') && crate::validate::is_address(&format!("{text}:80")))
}
