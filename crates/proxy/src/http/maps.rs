//! Variables looked up from others: nginx's `map`. Exact keys first (case does not count), then wildcard
//! host names, then regular expressions in their order, then the default.

use std::borrow::Cow;
use std::collections::HashMap;

use model::snapshot::Map;

use super::exchange::Exchange;
use super::site::Compile;
use super::text::{Names, Text};
use super::variables::Variable;
use crate::error::Error;

/// All maps of a snapshot.
#[derive(Debug, Default)]
pub struct Maps(Vec<MapSite>);

/// The named captures of an expression: their groups, and the variables they become.
type Captures = Vec<(usize, u16)>;

#[derive(Debug)]
struct MapSite {
    source: Text,
    exact: HashMap<String, Text>,
    suffix: HashMap<String, Text>,
    prefix: HashMap<String, Text>,
    regexes: Vec<(regex::Regex, Captures, Text)>,
    default: Text,
    /// It looks itself up, through others: always empty.
    circular: bool,
}

impl Maps {
    /// Declares the maps and the named captures of their expressions.
    pub fn define(maps: &[Map], names: &mut Names) {
        for (number, map) in maps.iter().enumerate() {
            names.define_map(&map.variable, number);
            for (source, _) in map.entries.iter().filter_map(|(key, _)| expression(key)) {
                if let Ok(regex) = regex::Regex::new(source) {
                    names.define_captures(&regex);
                }
            }
        }
    }

    /// Compiles the maps.
    pub fn new(maps: &[Map], compile: &mut Compile<'_, '_>) -> Result<Self, Error> {
        let mut sites = Vec::new();
        for map in maps {
            let mut site = MapSite {
                source: compile.text(&map.source),
                exact: HashMap::new(),
                suffix: HashMap::new(),
                prefix: HashMap::new(),
                regexes: Vec::new(),
                default: compile.text(&map.default),
                circular: false,
            };
            for (key, value) in &map.entries {
                let value = compile.text(value);
                if let Some((source, case)) = expression(key) {
                    let regex = compile.regex(source, case)?;
                    let named = compile.names.captures(&regex);
                    site.regexes.push((regex, named, value));
                } else {
                    let key = key.strip_prefix('\\').unwrap_or(key).to_ascii_lowercase();
                    if map.hostnames
                        && let Some(suffix) = key.strip_prefix("*.")
                    {
                        site.suffix.insert(suffix.to_owned(), value);
                    } else if map.hostnames
                        && let Some(suffix) = key.strip_prefix('.')
                    {
                        site.exact.insert(suffix.to_owned(), value.clone());
                        site.suffix.insert(suffix.to_owned(), value);
                    } else if map.hostnames
                        && let Some(prefix) = key.strip_suffix(".*")
                    {
                        site.prefix.insert(prefix.to_owned(), value);
                    } else {
                        site.exact.insert(key, value);
                    }
                }
            }
            sites.push(site);
        }
        let circular: Vec<bool> =
            (0..sites.len()).map(|map| reaches(&sites, map, map, &mut vec![])).collect();
        for (site, circular) in sites.iter_mut().zip(circular) {
            site.circular = circular;
        }
        Ok(Self(sites))
    }

    /// The value of a map for a request.
    pub fn value<'a>(&'a self, number: usize, x: &'a Exchange) -> Cow<'a, str> {
        match self.0.get(number) {
            Some(map) if !map.circular => map.value(x),
            _ => "".into(),
        }
    }
}

fn reaches(sites: &[MapSite], from: usize, goal: usize, seen: &mut Vec<usize>) -> bool {
    let Some(site) = sites.get(from) else { return false };
    let texts = [&site.source, &site.default].into_iter();
    let texts = texts.chain(site.exact.values()).chain(site.suffix.values()).chain(site.prefix.values());
    for text in texts.chain(site.regexes.iter().map(|(_, _, value)| value)) {
        for variable in text.variables() {
            let Variable::Map(next) = variable else { continue };
            if *next == goal {
                return true;
            }
            if !seen.contains(next) {
                seen.push(*next);
                if reaches(sites, *next, goal, seen) {
                    return true;
                }
            }
        }
    }
    false
}

impl MapSite {
    fn value<'a>(&'a self, x: &'a Exchange) -> Cow<'a, str> {
        let source = self.source.expand(x);
        let lower = source.to_ascii_lowercase();
        if let Some(value) = self.exact.get(&lower) {
            return value.expand(x);
        }
        if let Some(value) = longest(&self.suffix, &lower, |rest| rest.split_once('.').map(|(_, tail)| tail))
            .or_else(|| longest(&self.prefix, &lower, |rest| rest.rsplit_once('.').map(|(head, _)| head)))
        {
            return value.expand(x);
        }
        for (regex, named, value) in &self.regexes {
            if let Some(captures) = regex.captures(&source) {
                return expand_captured(value, &captures, named, x);
            }
        }
        self.default.expand(x)
    }
}

fn longest<'a>(
    table: &'a HashMap<String, Text>,
    name: &str,
    shorten: impl Fn(&str) -> Option<&str>,
) -> Option<&'a Text> {
    if table.is_empty() {
        return None;
    }
    let mut rest = name;
    while let Some(shorter) = shorten(rest) {
        if let Some(value) = table.get(shorter) {
            return Some(value);
        }
        rest = shorter;
    }
    None
}

/// The captures of a map's own expression, numbered and named, stand in its value, and nowhere else.
fn expand_captured<'a>(
    value: &'a Text,
    captures: &regex::Captures<'_>,
    named: &[(usize, u16)],
    x: &'a Exchange,
) -> Cow<'a, str> {
    value.fill(|variable| {
        let group = match variable {
            Variable::Capture(group) => Some(*group),
            Variable::Slot(slot) | Variable::Named(slot) => {
                named.iter().find(|(_, own)| own == slot).map(|(group, _)| *group)
            }
            _ => None,
        };
        match group {
            Some(group) => captures.get(group).map_or("", |m| m.as_str()).to_owned().into(),
            None => variable.value(x),
        }
    })
}

/// A key that is an expression, and whether case counts.
fn expression(key: &str) -> Option<(&str, bool)> {
    match key.strip_prefix("~*") {
        Some(source) => Some((source, false)),
        None => key.strip_prefix('~').map(|source| (source, true)),
    }
}
