//! `location` blocks: routes. Locations within a location become routes within a route. The redirect from
//! `/app` to a proxied `/app/` is the data plane's.

use std::collections::HashSet;

use model::codes::configuration as codes;
use model::pattern::PathPattern;
use model::snapshot::{HeaderRule, Respond, Route, Step};
use model::template::Template;

use super::Translation;
use super::content::Alias;
use super::scope::Level;
use crate::nginx::parser::Directive;

impl<'a> Translation<'a> {
    /// The routes of a server: its locations, and `/` for what they leave.
    pub(super) fn routes(&mut self, server: &Level<'a>) -> Vec<Route> {
        let mut routes = self.locations(server, None);
        if !routes.iter().any(|route| is_prefix(&route.path, "/")) {
            let path = PathPattern::default();
            let mut route = self.route(server, path, None, &[]);
            route.steps.clear();
            routes.push(route);
        }
        routes
    }

    /// The locations of a level.
    fn locations(&mut self, level: &Level<'a>, alias: Option<&Alias<'a>>) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        let mut seen = HashSet::new();
        for location in level.own("location") {
            let Some(path) = self.path(location) else { continue };
            if !seen.insert(key(&path)) {
                let message = format!("another location {path} stands in this block");
                self.wrong(location.first(), &codes::DUPLICATE, message, "");
                continue;
            }
            let inner = level.inner(location.inner());
            let own = inner
                .own("alias")
                .last()
                .map(|directive| Alias { directive, prefix: prefix(&path).unwrap_or_default().to_owned() });
            // A root of its own ends an alias from outside.
            let alias = match &own {
                Some(own) => Some(own),
                None if inner.own("root").next().is_some() => None,
                None => alias,
            };
            if let (Some(_), Some(root)) = (&own, inner.own("root").last()) {
                let message = "`alias` and `root` exclude each other";
                self.wrong(&root.name, &codes::CONTRADICTION, message, "keep the one that is meant");
            }
            let types = self.types(&inner);
            let steps = self.steps(location.inner(), &types);
            let mut route = self.route(&inner, path, alias, &steps);
            route.internal = inner.own("internal").next().is_some();
            let nested = self.locations(&inner, alias);
            self.nested_fit(&route.path, location, &nested);
            route.routes = nested;
            routes.push(route);
        }
        for directive in
            level.own("location").flat_map(|location| location.inner()).filter(|inner| inner.is("error_log"))
        {
            self.error_log(directive);
        }
        routes
    }

    /// `location [= | ^~ | ~ | ~*] PATH` or `location @NAME`. The sign may touch the path.
    fn path(&mut self, location: &'a Directive) -> Option<PathPattern> {
        let (sign, word) = match location.args.as_slice() {
            [sign, path] => (sign.text.as_str(), path),
            [path] => ("", path),
            _ => return None,
        };
        let text = word.text.as_str();
        let (sign, text) = match sign {
            "" => ["~*", "^~", "=", "~"]
                .into_iter()
                .find_map(|sign| text.strip_prefix(sign).map(|rest| (sign, rest)))
                .unwrap_or(("", text)),
            sign => (sign, text),
        };
        match sign {
            "~" | "~*" => {
                self.regex(word, text)?;
                PathPattern::regex(text, sign == "~").ok()
            }
            "=" | "^~" | "" => {
                if let Some(name) = text.strip_prefix('@').filter(|_| sign.is_empty()) {
                    return Some(PathPattern::Named(name.to_owned()));
                }
                if !text.starts_with('/') {
                    let message = format!("{text:?} is not a path: no request would ever fit");
                    self.wrong(word, &codes::NGINX_VALUE, message, "begin it with /");
                    return None;
                }
                Some(match sign {
                    "=" => PathPattern::Exact(text.to_owned()),
                    "^~" => PathPattern::PrefixStop(text.to_owned()),
                    _ => PathPattern::Prefix(text.to_owned()),
                })
            }
            _ => {
                let message = format!("{sign:?} is not a kind of location");
                self.wrong(location.first(), &codes::NGINX_VALUE, message, "kinds are = ^~ ~ ~* @");
                None
            }
        }
    }

    /// nginx refuses an inner location outside of the outer one, and any within `=` and `@`.
    fn nested_fit(&mut self, outer: &PathPattern, location: &'a Directive, nested: &[Route]) {
        for route in nested {
            let message = match (outer, &route.path) {
                (PathPattern::Exact(_) | PathPattern::Named(_), _) => {
                    format!("{} cannot stand within the location {outer}", route.path)
                }
                (_, PathPattern::Named(_)) => "@name stands in the server only".to_owned(),
                (PathPattern::Prefix(outer) | PathPattern::PrefixStop(outer), path)
                    if prefix(path).is_some_and(|path| !path.starts_with(outer.as_str())) =>
                {
                    format!("the location {path} is outside of the location {outer} around it")
                }
                _ => continue,
            };
            let word = location.first();
            self.wrong(word, &codes::MISPLACED_DIRECTIVE, message, "move it out");
        }
    }

    /// What is in force at a level, as a route.
    fn route(
        &mut self,
        level: &Level<'a>,
        path: PathPattern,
        alias: Option<&Alias<'a>>,
        steps: &[Step],
    ) -> Route {
        let mut route = Route { steps: steps.to_vec(), ..Route::default() };
        self.guards(level, &mut route);
        let types = self.types(level);
        let headers = self.response_headers(level);
        let passes: Vec<&Directive> = level.own("proxy_pass").chain(level.own("grpc_pass")).collect();
        match passes.as_slice() {
            [] => {
                // An answer that nothing guards needs no files behind it.
                let guarded = !route.addresses.is_empty()
                    || route.basic_auth.is_some()
                    || !route.rate_limits.is_empty()
                    || !route.connection_limits.is_empty();
                match route.steps.as_slice() {
                    // Where files would be is asked for: nginx knows it in every location.
                    [.., Step::Respond(_)] if names_files(&route.steps, &headers) => {
                        route.files = Some(self.files(level, &path, alias, types));
                    }
                    [Step::Respond(respond)] if !guarded => {
                        route.respond = Some(settled(respond.clone(), &path));
                        route.steps.clear();
                    }
                    // Nothing comes after an answer.
                    [.., Step::Respond(_)] => {}
                    _ => route.files = Some(self.files(level, &path, alias, types)),
                }
            }
            [pass] => {
                if let Some(tried) = level.own("try_files").last() {
                    let help = "try files in one location and proxy in another: `try_files $uri @app;`";
                    self.unsupported(&tried.name, "`try_files` and a proxy in one location", help);
                }
                route.proxy = self.proxy(level, pass, &path);
            }
            [_, second, ..] => {
                let message = "a location has one of proxy_pass and grpc_pass";
                self.wrong(&second.name, &codes::CONTRADICTION, message, "keep one of them");
            }
        }
        route.path = path;
        route.response_headers = headers;
        route.expires = self.expires(level);
        route.compression = self.compression(level);
        route.error_pages = self.error_pages(level);
        if let Some(directive) = level.find("client_max_body_size") {
            route.body_bytes = self.size(directive.first());
        }
        route.access_log = self.access_log(level);
        route
    }
}

/// Whether the steps or headers name the file that a path means.
fn names_files(steps: &[Step], headers: &[HeaderRule]) -> bool {
    let names = |text: &Template| {
        text.variables().any(|v| matches!(v, "document_root" | "realpath_root" | "request_filename"))
    };
    let in_steps = |step: &Step| match step {
        Step::Respond(respond) => names(&respond.body),
        Step::Rewrite { to, .. } => names(to),
        Step::Set { value, .. } => names(value),
        Step::If { then, .. } => names_files(then, &[]),
        Step::Break => false,
    };
    steps.iter().any(in_steps) || headers.iter().any(|rule| names(&rule.value))
}

/// One path has one suffix: its type is known beforehand.
fn settled(mut respond: Respond, path: &PathPattern) -> Respond {
    if let PathPattern::Exact(path) = path
        && !respond.builtin_types
    {
        let name = path.rsplit('/').next().unwrap_or_default();
        let suffix = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, suffix)| suffix);
        if let Some(kind) = suffix.and_then(|suffix| respond.types.get(&suffix.to_ascii_lowercase())) {
            respond.content_type = Some(kind.clone());
        }
        respond.types.clear();
    }
    respond
}

fn prefix(path: &PathPattern) -> Option<&str> {
    match path {
        PathPattern::Exact(path) | PathPattern::Prefix(path) | PathPattern::PrefixStop(path) => Some(path),
        PathPattern::Regex { .. } | PathPattern::Named(_) => None,
    }
}

fn is_prefix(path: &PathPattern, text: &str) -> bool {
    matches!(path, PathPattern::Prefix(own) | PathPattern::PrefixStop(own) if own == text)
}

/// Two prefixes are one location, whether or not one stops the search.
fn key(path: &PathPattern) -> String {
    match path {
        PathPattern::PrefixStop(path) => path.clone(),
        path => path.to_string(),
    }
}
