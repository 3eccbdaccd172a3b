//! Who may use a location: `allow` and `deny`, users, limits of requests and connections.

use model::codes::configuration as codes;
use model::snapshot::{AddressRule, BasicAuth, ConnectionLimit, RateLimit, Route};
use model::template::Template;

use super::Translation;
use super::scope::Level;
use crate::nginx::parser::{Directive, Word};
use crate::validate::is_network;

/// A `limit_req_zone`.
#[derive(Clone)]
pub(super) struct RateZone {
    key: Template,
    milli_per_second: u64,
}

impl<'a> Translation<'a> {
    /// Fills in what guards a route.
    pub(super) fn guards(&mut self, level: &Level<'a>, route: &mut Route) {
        route.addresses = self.addresses(level);
        route.basic_auth = self.basic_auth(level);
        route.rate_limits = self.rate_limits(level);
        route.connection_limits = self.connection_limits(level);
    }

    fn addresses(&mut self, level: &Level<'a>) -> Vec<AddressRule> {
        let mut rules = Vec::new();
        for directive in level.list(&["allow", "deny"]) {
            let word = directive.first();
            if !matches!(word.text.as_str(), "all" | "unix:") && !is_network(&word.text) {
                let message = format!("{:?} is neither an address nor a network", word.text);
                self.wrong(
                    word,
                    &codes::NGINX_VALUE,
                    message,
                    "write 192.0.2.1, 10.0.0.0/8, 2001:db8::/32 or all",
                );
                continue;
            }
            let text = word.text.clone();
            rules.push(if directive.is("allow") {
                AddressRule::Allow(text)
            } else {
                AddressRule::Deny(text)
            });
        }
        rules
    }

    fn basic_auth(&mut self, level: &Level<'a>) -> Option<BasicAuth> {
        let realm = level.find("auth_basic")?;
        if realm.first().text == "off" {
            return None;
        }
        let Some(users) = level.find("auth_basic_user_file") else {
            let help = "without it nginx lets everybody in; add `auth_basic_user_file FILE;`";
            self.wrong(&realm.name, &codes::MISSING_KEY, "`auth_basic` without `auth_basic_user_file`", help);
            return None;
        };
        Some(BasicAuth { realm: self.template(realm.first()), users: self.literal(users.first()).into() })
    }

    /// `limit_req_zone KEY zone=NAME:SIZE rate=RATE`.
    pub(super) fn rate_zone(&mut self, directive: &'a Directive) {
        let Some((key, options)) = directive.args.split_first() else { return };
        let key = self.template(key);
        let (mut name, mut rate) = (None, None);
        for option in options {
            match option.text.split_once('=') {
                Some(("zone", zone)) => name = zone_name(zone),
                Some(("rate", text)) => rate = self.rate(option, text),
                _ if option.text == "sync" => {}
                _ => self.wrong(
                    option,
                    &codes::NGINX_VALUE,
                    "options are zone=NAME:SIZE and rate=NUMBERr/s",
                    "",
                ),
            }
        }
        match (name, rate) {
            (Some(name), Some(milli_per_second)) => {
                self.rate_zones.insert(name, RateZone { key, milli_per_second });
            }
            (None, _) => {
                self.wrong(&directive.name, &codes::NGINX_VALUE, "the zone has no name", "zone=NAME:10m")
            }
            (_, None) => {}
        }
    }

    fn rate(&mut self, word: &Word, text: &str) -> Option<u64> {
        let parsed = text
            .strip_suffix("r/s")
            .map(|number| (number, 1))
            .or_else(|| text.strip_suffix("r/m").map(|number| (number, 60)))
            .and_then(|(number, per)| Some(number.parse::<u64>().ok()?.checked_mul(1000)? / per))
            .filter(|rate| *rate > 0);
        if parsed.is_none() {
            self.wrong(word, &codes::NGINX_VALUE, format!("{text:?} is not a rate"), "write 10r/s or 30r/m");
        }
        parsed
    }

    /// `limit_conn_zone KEY zone=NAME:SIZE`.
    pub(super) fn connection_zone(&mut self, directive: &'a Directive) {
        let [key, zone] = directive.args.as_slice() else { return };
        let key = self.template(key);
        match zone.text.split_once('=').and_then(|(word, rest)| (word == "zone").then_some(rest)) {
            Some(rest) => {
                if let Some(name) = zone_name(rest) {
                    self.connection_zones.insert(name, key);
                }
            }
            None => self.wrong(zone, &codes::NGINX_VALUE, "the zone has no name", "zone=NAME:10m"),
        }
    }

    fn rate_limits(&mut self, level: &Level<'a>) -> Vec<RateLimit> {
        let status = self.limit_status(level, "limit_req_status");
        let mut limits = Vec::new();
        for directive in level.list(&["limit_req"]) {
            let (mut zone, mut burst, mut nodelay) = (None, 0, false);
            for word in &directive.args {
                match word.text.split_once('=') {
                    Some(("zone", name)) => zone = Some((word, name)),
                    Some(("burst", number)) => burst = self.number(word, number).unwrap_or(0),
                    Some(("delay", _)) => {
                        let help = "write nodelay, or leave it out to delay all of the burst";
                        self.unsupported(word, "a burst is delayed as a whole or not at all", help);
                    }
                    _ if word.text == "nodelay" => nodelay = true,
                    _ => self.wrong(word, &codes::NGINX_VALUE, "options are zone=, burst= and nodelay", ""),
                }
            }
            let Some((word, name)) = zone else {
                self.wrong(&directive.name, &codes::NGINX_VALUE, "limit_req needs zone=NAME", "");
                continue;
            };
            let Some(found) = self.rate_zones.get(name).cloned() else {
                self.unknown_zone(word, name, "limit_req_zone");
                continue;
            };
            limits.push(RateLimit {
                zone: name.to_owned(),
                key: found.key,
                milli_per_second: found.milli_per_second,
                burst,
                nodelay,
                status,
            });
        }
        limits
    }

    fn connection_limits(&mut self, level: &Level<'a>) -> Vec<ConnectionLimit> {
        let status = self.limit_status(level, "limit_conn_status");
        let mut limits = Vec::new();
        for directive in level.list(&["limit_conn"]) {
            let [zone, most] = directive.args.as_slice() else { continue };
            let Some(key) = self.connection_zones.get(zone.text.as_str()).cloned() else {
                self.unknown_zone(zone, &zone.text, "limit_conn_zone");
                continue;
            };
            if let Some(most) = self.number(most, &most.text) {
                limits.push(ConnectionLimit { zone: zone.text.clone(), key, most, status });
            }
        }
        limits
    }

    fn unknown_zone(&mut self, word: &Word, name: &str, directive: &str) {
        let help = format!("define it in http: `{directive} $binary_remote_addr zone={name}:10m …;`");
        self.wrong(word, &codes::UNKNOWN_NAME, format!("no {directive} is named {name:?}"), help);
    }

    fn limit_status(&mut self, level: &Level<'a>, name: &str) -> u16 {
        level.find(name).and_then(|directive| self.status(directive.first(), 400..=599)).unwrap_or(503)
    }
}

/// The name in `NAME:SIZE`.
fn zone_name(text: &str) -> Option<&str> {
    let name = text.split(':').next().unwrap_or_default();
    (!name.is_empty()).then_some(name)
}
