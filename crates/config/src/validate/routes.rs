//! Checks of routes, their actions and steps.

use std::collections::BTreeMap;

use model::codes::configuration as codes;
use model::pattern::PathPattern;
use model::snapshot::{AddressRule, Condition, ErrorPage, Files, HeaderRule, Proxy, Respond, Route, Step};

use super::{Check, Path};
use crate::suggest;

impl Check<'_> {
    pub(super) fn routes(&mut self, path: &Path, routes: &[Route]) {
        let mut seen: BTreeMap<String, Vec<&[String]>> = BTreeMap::new();
        for (index, route) in routes.iter().enumerate() {
            let path = path.index(index);
            // The same path for other methods is another route.
            let before = seen.entry(location(&route.path)).or_default();
            let meant = |methods: &&[String]| {
                methods.is_empty() || route.methods.iter().any(|method| methods.contains(method))
            };
            if before.iter().any(meant) {
                let message = format!("another route of this host has the path {} too", route.path);
                let help = "the first one would always win; give each `methods` of its own";
                self.wrong(&path.key("path"), &codes::DUPLICATE, message, help);
            }
            before.push(&route.methods);
            self.route(&path, route);
            self.routes(&path.key("routes"), &route.routes);
        }
    }

    fn route(&mut self, path: &Path, route: &Route) {
        let actions: Vec<&str> = [
            ("proxy", route.proxy.is_some()),
            ("files", route.files.is_some()),
            ("respond", route.respond.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        if let [_, second, ..] = actions.as_slice() {
            let message = format!("a route has one action, this one has {}", actions.join(" and "));
            self.wrong(&path.key(second), &codes::CONTRADICTION, message, "keep one of them");
        }
        if actions.is_empty() && route.steps.is_empty() && route.routes.is_empty() {
            let help = "add `proxy`, `files` or `respond`";
            self.wrong(path, &codes::MISSING_KEY, format!("the route {} has no action", route.path), help);
        }
        for (index, method) in route.methods.iter().enumerate() {
            if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
                let message = format!("{method:?} is not an HTTP method");
                self.wrong(
                    &path.key("methods").index(index),
                    &codes::INVALID_VALUE,
                    message,
                    "methods are upper case: GET, POST",
                );
            }
        }
        if let Some(clients) = &route.clients {
            self.clients(&path.key("clients"), clients);
        }
        for (index, rule) in route.addresses.iter().enumerate() {
            let (AddressRule::Allow(network) | AddressRule::Deny(network)) = rule;
            if !matches!(network.as_str(), "all" | "unix:") {
                self.network(&path.key("addresses").index(index), network);
            }
        }
        if let Some(auth) = &route.basic_auth {
            self.template(&path.key("basic_auth").key("realm"), &auth.realm);
            self.file(&path.key("basic_auth").key("users"), &auth.users);
        }
        for (index, limit) in route.rate_limits.iter().enumerate() {
            let path = path.key("rate_limits").index(index);
            self.template(&path.key("key"), &limit.key);
            self.status(&path.key("status"), limit.status, 400..=599);
            if limit.milli_per_second == 0 {
                let message = "a rate of 0 lets nothing through";
                self.wrong(
                    &path.key("milli_per_second"),
                    &codes::INVALID_VALUE,
                    message,
                    "1 request a second is 1000",
                );
            }
        }
        for (index, limit) in route.connection_limits.iter().enumerate() {
            let path = path.key("connection_limits").index(index);
            self.template(&path.key("key"), &limit.key);
            self.status(&path.key("status"), limit.status, 400..=599);
        }
        self.steps(&path.key("steps"), &route.steps);
        if let Some(proxy) = &route.proxy {
            self.proxy(&path.key("proxy"), proxy, route);
        }
        if let Some(files) = &route.files {
            self.files_action(&path.key("files"), files);
        }
        if let Some(respond) = &route.respond {
            self.respond(&path.key("respond"), respond);
        }
        self.headers(&path.key("response_headers"), &route.response_headers);
        self.error_pages(&path.key("error_pages"), &route.error_pages);
        if let Some(log) = &route.access_log {
            self.access_log(&path.key("access_log"), log);
        }
    }

    fn proxy(&mut self, path: &Path, proxy: &Proxy, route: &Route) {
        match proxy.service.literal() {
            Some(name) => self.service_name(&path.key("service"), name),
            None => self.template(&path.key("service"), &proxy.service),
        }
        if let Some(host) = &proxy.host {
            self.template(&path.key("host"), host);
        }
        self.headers(&path.key("headers"), &proxy.headers);
        match &proxy.rewrite {
            Some(model::snapshot::PathRewrite::Prefix(to)) => {
                if !to.starts_with('/') {
                    let message = format!("the replacement {to:?} is not a path");
                    self.wrong(&path.key("rewrite"), &codes::INVALID_VALUE, message, "begin it with /");
                }
                if matches!(route.path, PathPattern::Regex { .. } | PathPattern::Named(_)) {
                    let message = "a regular expression or @name has no prefix to replace";
                    self.wrong(
                        &path.key("rewrite"),
                        &codes::CONTRADICTION,
                        message,
                        "use `rewrite: {whole: …}`",
                    );
                }
            }
            Some(model::snapshot::PathRewrite::Whole(to)) => {
                self.template(&path.key("rewrite").key("whole"), to)
            }
            None => {}
        }
        for (index, (from, to)) in proxy.redirects.iter().enumerate() {
            self.template(&path.key("redirects").index(index), from);
            self.template(&path.key("redirects").index(index), to);
        }
    }

    /// A service of this name must be defined.
    pub(super) fn service_name(&mut self, path: &Path, name: &str) {
        let services = &self.snapshot.services;
        if services.contains_key(name) {
            return;
        }
        if name.is_empty() {
            self.wrong(path, &codes::MISSING_KEY, "the name of the service is missing", "");
            return;
        }
        let help = if services.is_empty() {
            format!("define it: `services: {{{name}: {{endpoints: [{{address: \"127.0.0.1:8080\"}}]}}}}`")
        } else {
            suggest::help(name, services.keys().map(String::as_str).collect::<Vec<_>>())
        };
        self.wrong(path, &codes::UNKNOWN_NAME, format!("no service is named {name:?}"), help);
    }

    fn files_action(&mut self, path: &Path, files: &Files) {
        match (&files.root, &files.alias) {
            (Some(_), Some(_)) => {
                let message = "`root` and `alias` exclude each other";
                self.wrong(&path.key("alias"), &codes::CONTRADICTION, message, "keep the one that is meant");
            }
            (None, None) => {
                let message =
                    "`files` needs `root` (the path is added to it) or `alias` (it replaces the prefix)";
                self.wrong(path, &codes::MISSING_KEY, message, "add `root: FOLDER`");
            }
            _ => {}
        }
        for template in files.root.iter().chain(&files.alias).chain(&files.index).chain(&files.try_files) {
            self.template(path, template);
        }
    }

    pub(super) fn respond(&mut self, path: &Path, respond: &Respond) {
        self.template(&path.key("body"), &respond.body);
        self.status(&path.key("status"), respond.status, 200..=999);
    }

    fn status(&mut self, path: &Path, status: u16, range: std::ops::RangeInclusive<u16>) {
        if !range.contains(&status) {
            let message = format!("the status {status} is out of range {} to {}", range.start(), range.end());
            self.wrong(path, &codes::INVALID_VALUE, message, "");
        }
    }

    pub(super) fn headers(&mut self, path: &Path, rules: &[HeaderRule]) {
        for (index, rule) in rules.iter().enumerate() {
            let path = path.index(index);
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if rule.name.is_empty() || !rule.name.bytes().all(token) {
                let message = format!("{:?} is not a header name", rule.name);
                self.wrong(&path.key("name"), &codes::INVALID_VALUE, message, "RFC 9110, section 5.1");
            }
            self.template(&path.key("value"), &rule.value);
        }
    }

    pub(super) fn error_pages(&mut self, path: &Path, pages: &[ErrorPage]) {
        for (index, page) in pages.iter().enumerate() {
            let path = path.index(index);
            self.template(&path.key("to"), &page.to);
            for (position, status) in page.statuses.iter().enumerate() {
                self.status(&path.key("statuses").index(position), *status, 300..=599);
            }
        }
    }

    pub(super) fn steps(&mut self, path: &Path, steps: &[Step]) {
        for (index, step) in steps.iter().enumerate() {
            let path = path.index(index);
            match step {
                Step::Rewrite { regex, to, .. } => {
                    self.regex(&path.key("rewrite").key("regex"), regex);
                    self.template(&path.key("rewrite").key("to"), to);
                }
                Step::Respond(respond) => self.respond(&path.key("respond"), respond),
                Step::If { condition, then } => {
                    self.condition(&path.key("if").key("condition"), condition);
                    self.steps(&path.key("if").key("then"), then);
                }
                Step::Set { variable, value } => {
                    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
                    if variable.is_empty() || !variable.bytes().all(word) {
                        let message = format!("{variable:?} is not a variable's name");
                        let help = "letters, digits and _; without the $";
                        self.wrong(&path.key("set").key("variable"), &codes::INVALID_VALUE, message, help);
                    }
                    self.template(&path.key("set").key("value"), value);
                }
                Step::Break => {}
            }
        }
    }

    fn condition(&mut self, path: &Path, condition: &Condition) {
        match condition {
            Condition::IsSet(value) => self.template(path, value),
            Condition::Equals(one, other) | Condition::Differs(one, other) => {
                self.template(path, one);
                self.template(path, other);
            }
            Condition::Matches { value, regex, .. } => {
                self.template(&path.key("matches").key("value"), value);
                self.regex(&path.key("matches").key("regex"), regex);
            }
        }
    }
}

/// Two prefixes are the same path, whether or not one stops the search.
fn location(pattern: &PathPattern) -> String {
    match pattern {
        PathPattern::PrefixStop(path) => path.clone(),
        pattern => pattern.to_string(),
    }
}
