//! `upstream` blocks: endpoints and how one is chosen.

use model::codes::configuration as codes;
use model::snapshot::{Balance, Endpoint, PassiveHealth, Pool, Retries, RetryOn, Service};
use model::units::Span;

use super::Translation;
use crate::nginx::parser::{Directive, Word};
use crate::validate::is_address;

/// What an `upstream` block, or an address in its place, gives to a service.
#[derive(Clone, Default)]
pub(super) struct Upstream {
    pub(super) service: Service,
    /// `keepalive`: idle connections, where it is given.
    pub(super) keepalive: Option<usize>,
}

impl<'a> Translation<'a> {
    /// The upstream of a block. `port` is meant where an address names none.
    pub(super) fn upstream(&mut self, block: &'a Directive, port: u16) -> Upstream {
        let mut upstream = Upstream::default();
        let service = &mut upstream.service;
        service.pool = Pool { idle: 0, ..Pool::default() };
        for directive in block.inner() {
            match directive.name.text.as_str() {
                "server" => {
                    if let Some(endpoint) = self.endpoint(directive, port) {
                        service.endpoints.push(endpoint);
                    }
                }
                "least_conn" => service.balance = Balance::LeastRequests,
                "ip_hash" => service.balance = Balance::IpHash,
                "random" => service.balance = self.random(directive),
                "hash" => {
                    let consistent = match directive.args.get(1) {
                        Some(word) if word.text != "consistent" => {
                            self.wrong(
                                word,
                                &codes::NGINX_VALUE,
                                "the only option of hash is consistent",
                                "",
                            );
                            false
                        }
                        option => option.is_some(),
                    };
                    service.balance = Balance::Hash { key: self.template(directive.first()), consistent };
                }
                "keepalive" => {
                    let word = directive.first();
                    upstream.keepalive = self.number(word, &word.text);
                }
                "keepalive_timeout" => {
                    if let Some(span) = self.span(directive.first()) {
                        service.pool.idle_timeout = span;
                    }
                }
                "keepalive_requests" => {
                    self.note(
                        directive,
                        "`keepalive_requests` of an upstream has no effect: connections are kept",
                    );
                }
                _ => {}
            }
        }
        settle(service);
        upstream
    }

    fn random(&mut self, directive: &Directive) -> Balance {
        match directive.args.as_slice() {
            [] => Balance::Random,
            [two] if two.text == "two" => Balance::P2cEwma,
            [two, least] if two.text == "two" && least.text == "least_conn" => Balance::P2cEwma,
            [.., last] => {
                self.unsupported(last, "`random` knows `two` and `two least_conn`", "take the option out");
                Balance::Random
            }
        }
    }

    /// `server ADDRESS [weight= max_fails= fail_timeout= max_conns= backup down]`.
    fn endpoint(&mut self, directive: &'a Directive, port: u16) -> Option<Endpoint> {
        let (address, options) = directive.args.split_first()?;
        let mut endpoint =
            Endpoint { address: self.address(address, &address.text, port)?, ..Endpoint::default() };
        for word in options {
            match word.text.split_once('=') {
                Some(("weight", number)) => endpoint.weight = self.number(word, number)?,
                Some(("max_fails", number)) => endpoint.max_fails = Some(self.number(word, number)?),
                Some(("max_conns", number)) => endpoint.max_connections = self.number(word, number)?,
                Some(("fail_timeout", span)) => match span.parse::<Span>() {
                    Ok(span) => endpoint.fail_timeout = Some(span),
                    Err(error) => self.wrong(word, &codes::NGINX_VALUE, error.to_string(), ""),
                },
                Some(("slow_start" | "route" | "service", _)) => {
                    self.unsupported(word, "this option is one of the commercial nginx", "take it out");
                }
                _ => match word.text.as_str() {
                    "backup" => endpoint.backup = true,
                    "down" => endpoint.down = true,
                    // Names are resolved again anyway.
                    "resolve" => {}
                    _ => {
                        let help = "options are weight, max_fails, fail_timeout, max_conns, backup and down";
                        self.wrong(
                            word,
                            &codes::NGINX_VALUE,
                            format!("{:?} is not an option", word.text),
                            help,
                        );
                    }
                },
            }
        }
        Some(endpoint)
    }

    /// An address with its port filled in.
    pub(super) fn address(&mut self, word: &Word, text: &str, port: u16) -> Option<String> {
        let whole = if text.starts_with("unix:") {
            text.trim_end_matches(':').to_owned()
        } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
            format!("[{text}]:{port}")
        } else if is_address(text) {
            text.to_owned()
        } else {
            format!("{text}:{port}")
        };
        if is_address(&whole) {
            return Some(whole);
        }
        let help = "write host:port, [::1]:port or unix:/path";
        self.wrong(word, &codes::NGINX_VALUE, format!("{text:?} is not an address"), help);
        None
    }
}

/// Fills in what follows from the number of endpoints: nginx tries each once, and never leaves out the only one.
pub(super) fn settle(service: &mut Service) {
    let count = service.endpoints.iter().filter(|endpoint| !endpoint.down).count();
    service.retries = Retries {
        attempts: u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX),
        on: vec![RetryOn::Connect, RetryOn::Reset, RetryOn::Timeout],
        budget_percent: 100,
        non_idempotent: false,
    };
    if count <= 1 {
        service.passive_health = PassiveHealth { max_fails: 0, ..PassiveHealth::default() };
    }
}
