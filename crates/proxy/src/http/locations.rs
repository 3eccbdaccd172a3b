//! Finds the route for a path as nginx finds a location: the exact path; else the longest prefix, when it
//! stops the search; else the first regular expression that matches, in the order of the file; else the
//! longest prefix. Routes within the chosen one are searched by the same rules.

use std::collections::HashMap;

use model::pattern::PathPattern;
use model::snapshot::Route;

#[cfg(test)]
mod tests;

/// The routes of one level, compiled. Routes are known by their number in the host's flat list.
#[derive(Debug, Default)]
pub struct Locations {
    exact: HashMap<String, usize>,
    /// Longest first.
    prefixes: Vec<Prefix>,
    regexes: Vec<(regex::Regex, usize, Locations)>,
    /// Prefixes that are proxied and end in `/`, without that slash.
    slash_redirects: Vec<String>,
}

#[derive(Debug)]
struct Prefix {
    text: String,
    stops: bool,
    route: usize,
    within: Locations,
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
            let mut prefix = |text: &String, stops| {
                if level.prefixes.iter().all(|p| p.text != *text) {
                    level.prefixes.push(Prefix {
                        text: text.clone(),
                        stops,
                        route: number,
                        within: Self::default(),
                    });
                    true
                } else {
                    false
                }
            };
            match &route.path {
                PathPattern::Exact(path) => {
                    level.exact.entry(path.clone()).or_insert(number);
                }
                PathPattern::Prefix(path) | PathPattern::PrefixStop(path) => {
                    let stops = matches!(route.path, PathPattern::PrefixStop(_));
                    if prefix(path, stops) {
                        if let Some(added) = level.prefixes.last_mut() {
                            added.within = within;
                        }
                        if let Some(shorter) = path.strip_suffix('/')
                            && route.proxy.is_some()
                            && !shorter.is_empty()
                        {
                            level.slash_redirects.push(shorter.to_owned());
                        }
                    }
                }
                PathPattern::Regex { regex, .. } => level.regexes.push((regex.clone(), number, within)),
                PathPattern::Named(name) => {
                    named.entry(name.clone()).or_insert(number);
                }
            }
        }
        level.prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.text.len()));
        level
    }

    /// The route for a path in its one form.
    pub fn find(&self, path: &str) -> Location {
        match self.search(path) {
            Found::Final(location) => location,
            Found::Prefix(route) => Location::Route(route),
            Found::Nothing => Location::None,
        }
    }

    fn search(&self, path: &str) -> Found {
        if let Some(route) = self.exact.get(path) {
            return Found::Final(Location::Route(*route));
        }
        let mut best = Found::Nothing;
        let mut regexes = true;
        if let Some(prefix) = self.prefixes.iter().find(|p| path.starts_with(p.text.as_str())) {
            regexes = !prefix.stops;
            // As in nginx, what is found within is final only where it is exact or a regular expression; a
            // longer prefix within still yields to this level's regular expressions.
            best = match prefix.within.search(path) {
                Found::Nothing => Found::Prefix(prefix.route),
                found @ Found::Final(_) => return found,
                found @ Found::Prefix(_) => found,
            };
        }
        if self.slash_redirects.iter().any(|p| p == path) {
            return Found::Final(Location::AddSlash);
        }
        if regexes && let Some((_, route, within)) = self.regexes.iter().find(|(r, _, _)| r.is_match(path)) {
            return Found::Final(match within.find(path) {
                Location::None => Location::Route(*route),
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
