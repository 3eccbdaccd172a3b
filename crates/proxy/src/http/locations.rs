//! Finds the route for a path as nginx finds a location: the exact path; else the longest prefix, when it
//! stops the search; else the first regular expression that matches, in the order of the file; else the
//! longest prefix. Routes within the chosen one are searched by the same rules.

use std::collections::HashMap;

use http::Method;
use model::pattern::PathPattern;
use model::snapshot::Route;

#[cfg(test)]
mod tests;

/// The routes of one level, compiled. Routes are known by their number in the host's flat list.
#[derive(Debug, Default)]
pub struct Locations {
    exact: HashMap<String, Choice>,
    /// Longest first.
    prefixes: Vec<Prefix>,
    regexes: Vec<Expression>,
    /// Prefixes that are proxied and end in `/`, without that slash.
    slash_redirects: Vec<String>,
}

#[derive(Debug)]
struct Prefix {
    text: String,
    stops: bool,
    routes: Choice,
}

#[derive(Debug)]
struct Expression {
    regex: regex::Regex,
    case: bool,
    routes: Choice,
}

/// The routes of one path: each for its methods, the first that takes the method is meant.
#[derive(Debug, Default)]
struct Choice(Vec<Alternative>);

#[derive(Debug)]
struct Alternative {
    /// Empty for all.
    methods: Vec<String>,
    route: usize,
    within: Locations,
}

impl Choice {
    /// The route for a method; where none takes it, the first one, which then answers 405.
    fn of(&self, method: &Method) -> Option<&Alternative> {
        let takes = |alternative: &&Alternative| {
            let methods = &alternative.methods;
            methods.is_empty() || methods.iter().any(|name| name.eq_ignore_ascii_case(method.as_str()))
        };
        self.0.iter().find(takes).or(self.0.first())
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// This route.
    Route(usize),
    /// A 301 to the path with a slash added: the route is `/dir/`, proxied, and `/dir` was asked for.
    AddSlash,
    /// Nothing.
    None,
}

impl Locations {
    /// Compiles the routes of one level; `flat` receives every route, this level's and the inner ones', and
    /// `named` the `@name` ones.
    pub fn new<'a>(
        routes: &'a [Route],
        flat: &mut Vec<&'a Route>,
        named: &mut HashMap<String, usize>,
    ) -> Self {
        let mut level = Self::default();
        for route in routes {
            let number = flat.len();
            flat.push(route);
            let within = Self::new(&route.routes, flat, named);
            let alternative = Alternative { methods: route.methods.clone(), route: number, within };
            match &route.path {
                PathPattern::Exact(path) => level.exact.entry(path.clone()).or_default().0.push(alternative),
                PathPattern::Prefix(path) | PathPattern::PrefixStop(path) => {
                    let stops = matches!(route.path, PathPattern::PrefixStop(_));
                    level.prefix(path, stops).0.push(alternative);
                    if let Some(shorter) = path.strip_suffix('/')
                        && route.proxy.is_some()
                        && !shorter.is_empty()
                    {
                        level.slash_redirects.push(shorter.to_owned());
                    }
                }
                PathPattern::Regex { regex, case, .. } => {
                    let same = |known: &&mut Expression| {
                        known.regex.as_str() == regex.as_str() && known.case == *case
                    };
                    match level.regexes.iter_mut().find(same) {
                        Some(known) => known.routes.0.push(alternative),
                        None => level.regexes.push(Expression {
                            regex: regex.clone(),
                            case: *case,
                            routes: Choice(vec![alternative]),
                        }),
                    }
                }
                PathPattern::Named(name) => {
                    named.entry(name.clone()).or_insert(number);
                }
            }
        }
        level.prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.text.len()));
        level
    }

    /// The choice for a prefix, made where it is new.
    fn prefix(&mut self, text: &str, stops: bool) -> &mut Choice {
        let number = self.prefixes.iter().position(|prefix| prefix.text == text).unwrap_or_else(|| {
            let routes = Choice::default();
            self.prefixes.push(Prefix { text: text.to_owned(), stops: false, routes });
            self.prefixes.len() - 1
        });
        let prefix = &mut self.prefixes[number];
        prefix.stops |= stops;
        &mut prefix.routes
    }

    /// The route for a path in its one form and a method.
    pub fn find(&self, path: &str, method: &Method) -> Location {
        match self.search(path, method) {
            Found::Final(location) => location,
            Found::Prefix(route) => Location::Route(route),
            Found::Nothing => Location::None,
        }
    }

    fn search(&self, path: &str, method: &Method) -> Found {
        if let Some(exact) = self.exact.get(path).and_then(|choice| choice.of(method)) {
            return Found::Final(Location::Route(exact.route));
        }
        let mut best = Found::Nothing;
        let mut regexes = true;
        if let Some(prefix) = self.prefixes.iter().find(|p| path.starts_with(p.text.as_str()))
            && let Some(chosen) = prefix.routes.of(method)
        {
            regexes = !prefix.stops;
            // As in nginx, what is found within is final only where it is exact or a regular expression; a
            // longer prefix within still yields to this level's regular expressions.
            best = match chosen.within.search(path, method) {
                Found::Nothing => Found::Prefix(chosen.route),
                found @ Found::Final(_) => return found,
                found @ Found::Prefix(_) => found,
            };
        }
        if self.slash_redirects.iter().any(|p| p == path) {
            return Found::Final(Location::AddSlash);
        }
        if regexes
            && let Some(known) = self.regexes.iter().find(|known| known.regex.is_match(path))
            && let Some(chosen) = known.routes.of(method)
        {
            return Found::Final(match chosen.within.find(path, method) {
                Location::None => Location::Route(chosen.route),
                inner => inner,
            });
        }
        best
    }
}

enum Found {
    Final(Location),
    Prefix(usize),
    Nothing,
}
