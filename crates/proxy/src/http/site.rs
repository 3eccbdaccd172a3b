//! The hosts and routes of one listener, compiled: names resolved, expressions built, services and policies
//! looked up. Made once per snapshot; requests only read it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderName, Method};
use model::codes::usage;
use model::pattern::PathPattern;
use model::policy::{ClientPolicy, Refusal};
use model::snapshot::{AddressRule, Compression, Expires, HeaderRule, Host, Listener, Respond, Route, Step};
use model::units::Size;

use super::auth::BasicAuth;
use super::error_pages::ErrorPages;
use super::files::{FilesSite, Types};
use super::forward::ProxySite;
use super::guards::{Guard, Guards};
use super::hosts::HostIndex;
use super::limits::{ConnectionLimit, RateLimit};
use super::locations::Locations;
use super::log::RequestLog;
use super::maps::Maps;
use super::metrics::RouteMetrics;
use super::steps::StepSite;
use super::text::{Names, Text};
use crate::error::Error;
use crate::policy::CompiledPolicy;
use crate::state::Assembly;
use crate::upstream::ServiceState;

/// The hosts and routes of one listener, compiled.
#[derive(Debug, Default)]
pub struct Site {
    /// Finds a host by its name.
    pub index: HostIndex,
    /// The hosts, in the listener's order.
    pub hosts: Vec<HostSite>,
    /// Variables looked up from others.
    pub maps: Maps,
    /// All services, for routes that name theirs by variables.
    pub services: Arc<BTreeMap<String, Arc<ServiceState>>>,
    /// A log line or header of this site shows headers of answers.
    pub keep_headers: bool,
    /// Pages with which policies refuse, by their files.
    pub refusal_pages: BTreeMap<std::path::PathBuf, bytes::Bytes>,
}

/// One virtual host.
#[derive(Debug)]
pub struct HostSite {
    /// Its first name (`$server_name`).
    pub name: String,
    /// Regular expressions among its names, with their named captures.
    pub name_regexes: Vec<(regex::Regex, Vec<(usize, u16)>)>,
    /// Steps before a route is chosen.
    pub steps: Vec<StepSite>,
    /// Chooses a route.
    pub locations: Locations,
    /// All routes, inner ones too.
    pub routes: Vec<RouteSite>,
    /// Routes by `@name`.
    pub named: HashMap<String, usize>,
    /// Whether any route has a client policy of its own, which then takes the place of the host's.
    pub has_policies: bool,
    /// Headers of answers made outside of a route.
    pub response_headers: Vec<HeaderSite>,
    /// The value of Strict-Transport-Security.
    pub hsts: Option<http::HeaderValue>,
    /// Plain text is redirected.
    pub redirect_to_https: bool,
    /// Pages for errors.
    pub error_pages: Arc<ErrorPages>,
    /// Where requests are logged that no route took.
    pub log: Arc<RequestLog>,
    /// What is counted for requests that no route took.
    pub metrics: Arc<RouteMetrics>,
    /// Size of a request's body.
    pub body_bytes: u64,
}

/// One route.
#[derive(Debug)]
pub struct RouteSite {
    /// The path as it was written.
    pub pattern: PathPattern,
    /// Named captures of a regular expression.
    pub captures: Vec<(usize, u16)>,
    /// Methods; empty for all.
    pub methods: Vec<Method>,
    /// Reached by internal redirects only.
    pub internal: bool,
    /// What is asked of clients here.
    pub policy: Option<Arc<CompiledPolicy>>,
    /// Client addresses, first match decides.
    pub addresses: Vec<(bool, Network)>,
    /// User and password.
    pub auth: Option<BasicAuth>,
    /// Requests per time.
    pub rate_limits: Vec<RateLimit>,
    /// Requests at one time.
    pub connection_limits: Vec<ConnectionLimit>,
    /// Steps before the action.
    pub steps: Vec<StepSite>,
    /// A service answers.
    pub proxy: Option<ProxySite>,
    /// Files answer.
    pub files: Option<FilesSite>,
    /// A fixed answer.
    pub respond: Option<RespondSite>,
    /// Headers added to answers.
    pub response_headers: Vec<HeaderSite>,
    /// Expires and Cache-Control.
    pub expires: Option<Expires>,
    /// Compression.
    pub compression: Option<Compression>,
    /// Pages for errors.
    pub error_pages: Arc<ErrorPages>,
    /// Size of a request's body; `u64::MAX` for no limit.
    pub body_bytes: u64,
    /// Where requests are logged.
    pub log: Arc<RequestLog>,
    /// What is counted.
    pub metrics: Arc<RouteMetrics>,
}

/// A header with its value.
#[derive(Debug)]
pub struct HeaderSite {
    /// Its name.
    pub name: HeaderName,
    /// Its value; empty: not sent (or, on requests, removed).
    pub value: Text,
    /// On error statuses too.
    pub always: bool,
}

/// A fixed answer.
#[derive(Debug, Clone)]
pub struct RespondSite {
    /// Its status.
    pub status: u16,
    /// Its body or location.
    pub body: Text,
    /// Its type; none: text/plain.
    pub content_type: Option<http::HeaderValue>,
    /// Types by the path's suffix, which come first.
    pub types: Arc<Types>,
}

/// An address, a network, or everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// `all`.
    All,
    /// The first bits of an address.
    Bits(IpAddr, u8),
    /// `unix:`: clients of Unix sockets.
    Unix,
}

/// What compiling a host or route needs beside it.
pub struct Compile<'a, 'b> {
    /// What proxy loads: policies, logs, metrics.
    pub assembly: &'a mut Assembly<'b>,
    /// Names of variables.
    pub names: Names,
    /// All services.
    pub services: Arc<BTreeMap<String, Arc<ServiceState>>>,
    /// The listener.
    pub listener: &'a Listener,
    /// Set where a text shows headers of answers.
    pub keep_headers: bool,
}

impl Site {
    /// Compiles the hosts and routes of a listener.
    ///
    /// # Errors
    ///
    /// When a file is missing or wrong, or a value makes no sense.
    pub fn compile(listener: &Listener, assembly: &mut Assembly<'_>) -> Result<Self, Error> {
        let snapshot = Arc::clone(assembly.snapshot);
        let mut names = Names::default();
        Maps::define(&snapshot.maps, &mut names);
        for host in &listener.hosts {
            define_names(host, &mut names);
        }
        let services = assembly.services();
        let mut compile = Compile { assembly, names, services, listener, keep_headers: false };
        let maps = Maps::new(&snapshot.maps, &mut compile)?;
        let hosts = listener.hosts.iter().map(|host| compile.host(host)).collect::<Result<_, _>>()?;
        let mut refusal_pages = BTreeMap::new();
        for clients in client_policies(listener) {
            if let Refusal::Page { file, .. } = &clients.refuse {
                refusal_pages.insert(file.clone(), compile.assembly.read(file)?.into());
            }
        }
        Ok(Self {
            index: HostIndex::new(&listener.hosts),
            hosts,
            maps,
            refusal_pages,
            keep_headers: compile.keep_headers,
            services: compile.services,
        })
    }
}

/// All client policies of a listener, its hosts and its routes.
fn client_policies(listener: &Listener) -> Vec<&ClientPolicy> {
    let mut found: Vec<&ClientPolicy> = listener.tls.iter().filter_map(|tls| tls.clients.as_ref()).collect();
    for host in &listener.hosts {
        found.extend(host.tls.iter().filter_map(|tls| tls.clients.as_ref()));
        let mut waiting: Vec<&Route> = host.routes.iter().collect();
        while let Some(route) = waiting.pop() {
            found.extend(&route.clients);
            waiting.extend(&route.routes);
        }
    }
    found
}

/// Declares all variables that the steps and expressions of a host set.
fn define_names(host: &Host, names: &mut Names) {
    for name in &host.names {
        if let model::snapshot::NamePattern::Regex(regex) = name {
            names.define_captures(regex);
        }
    }
    define_steps(&host.steps, names);
    let mut waiting: Vec<&Route> = host.routes.iter().collect();
    while let Some(route) = waiting.pop() {
        if let PathPattern::Regex { regex, .. } = &route.path {
            names.define_captures(regex);
        }
        define_steps(&route.steps, names);
        waiting.extend(&route.routes);
    }
}

fn define_steps(steps: &[Step], names: &mut Names) {
    for step in steps {
        match step {
            Step::Set { variable, .. } => {
                names.define_slot(variable);
            }
            Step::If { then, condition } => {
                if let model::snapshot::Condition::Matches { regex, .. } = condition
                    && let Ok(regex) = regex::Regex::new(regex)
                {
                    names.define_captures(&regex);
                }
                define_steps(then, names);
            }
            Step::Rewrite { regex, .. } => {
                if let Ok(regex) = regex::Regex::new(regex) {
                    names.define_captures(&regex);
                }
            }
            Step::Respond(_) | Step::Break => {}
        }
    }
}

impl Compile<'_, '_> {
    /// A template with its variables resolved.
    pub fn text(&mut self, template: &model::template::Template) -> Text {
        let text = Text::new(template, &self.names);
        self.keep_headers |= text.variables().any(super::variables::Variable::needs_sent_headers);
        text
    }

    /// A regular expression.
    pub fn regex(&self, source: &str, case: bool) -> Result<regex::Regex, Error> {
        regex::RegexBuilder::new(source)
            .case_insensitive(!case)
            .size_limit(1 << 20)
            .build()
            .map_err(|error| self.wrong(format!("the expression {source:?} is wrong: {error}")))
    }

    /// An error about this listener.
    pub fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::new(&usage::USAGE, format!("listener {}: {what}", self.listener.name))
    }

    fn headers(&mut self, rules: &[HeaderRule]) -> Result<Vec<HeaderSite>, Error> {
        rules.iter().map(|rule| self.header(rule)).collect()
    }

    /// One header rule.
    pub fn header(&mut self, rule: &HeaderRule) -> Result<HeaderSite, Error> {
        let name = HeaderName::try_from(rule.name.as_str())
            .map_err(|_| self.wrong(format!("{:?} is not a header name", rule.name)))?;
        Ok(HeaderSite { name, value: self.text(&rule.value), always: rule.always })
    }

    /// A fixed answer.
    pub fn respond(&mut self, respond: &Respond) -> Result<RespondSite, Error> {
        let content_type = match &respond.content_type {
            Some(text) => Some(
                http::HeaderValue::try_from(text.as_str())
                    .map_err(|_| self.wrong(format!("{text:?} is not a content type")))?,
            ),
            None => None,
        };
        let types = Arc::new(Types::table(&respond.types, respond.builtin_types));
        Ok(RespondSite { status: respond.status, body: self.text(&respond.body), content_type, types })
    }

    fn host(&mut self, host: &Host) -> Result<HostSite, Error> {
        let mut flat = Vec::new();
        let mut named = HashMap::new();
        let locations = Locations::new(&host.routes, &mut flat, &mut named);
        let error_pages = Arc::new(ErrorPages::new(&host.error_pages, self)?);
        let log = RequestLog::new(host.access_log.as_ref(), self)?;
        let guards = Guards::of(&host.routes);
        let body_bytes = host.body_bytes.unwrap_or(self.listener.limits.body_bytes);
        let routes: Vec<RouteSite> = flat
            .into_iter()
            .map(|route| self.route(route, guards.around(route), &error_pages, &log, body_bytes))
            .collect::<Result<_, Error>>()?;
        let mut name_regexes = Vec::new();
        for name in &host.names {
            if let model::snapshot::NamePattern::Regex(regex) = name {
                name_regexes.push((regex.clone(), self.names.captures(regex)));
            }
        }
        Ok(HostSite {
            name: host.names.first().map(ToString::to_string).unwrap_or_default(),
            name_regexes,
            steps: StepSite::compile(&host.steps, self)?,
            locations,
            has_policies: routes.iter().any(|route| route.policy.is_some()),
            routes,
            named,
            response_headers: self.headers(&host.response_headers)?,
            hsts: host
                .hsts
                .and_then(|age| http::HeaderValue::try_from(format!("max-age={}", age.0.as_secs())).ok()),
            redirect_to_https: host.redirect_to_https,
            error_pages,
            log,
            metrics: RouteMetrics::new(self.assembly, &self.listener.name, "none"),
            body_bytes: unlimited(body_bytes.0),
        })
    }

    fn route(
        &mut self,
        route: &Route,
        around: Guard<'_>,
        error_pages: &Arc<ErrorPages>,
        log: &Arc<RequestLog>,
        body_bytes: Size,
    ) -> Result<RouteSite, Error> {
        let methods = route.methods.iter().map(|name| {
            Method::from_bytes(name.to_ascii_uppercase().as_bytes())
                .map_err(|_| self.wrong(format!("{name:?} is not a method")))
        });
        let methods = methods.collect::<Result<_, Error>>()?;
        let addresses = around
            .addresses
            .iter()
            .map(|rule| {
                let (allow, text) = match rule {
                    AddressRule::Allow(text) => (true, text),
                    AddressRule::Deny(text) => (false, text),
                };
                let network = Network::parse(text)
                    .ok_or_else(|| self.wrong(format!("{text:?} is not an address or network")))?;
                Ok((allow, network))
            })
            .collect::<Result<_, Error>>()?;
        let captures = match &route.path {
            PathPattern::Regex { regex, .. } => self.names.captures(regex),
            _ => Vec::new(),
        };
        let policy = around.clients.map(|clients| self.assembly.policy(clients)).transpose()?;
        let proxy = route.proxy.as_ref().map(|proxy| ProxySite::new(proxy, &route.path, self)).transpose()?;
        let service = proxy.as_ref().map_or("none", |proxy| proxy.metrics_label());
        let metrics = RouteMetrics::new(self.assembly, &self.listener.name, service);
        Ok(RouteSite {
            pattern: route.path.clone(),
            captures,
            methods,
            internal: route.internal,
            policy,
            addresses,
            auth: around.auth.map(|auth| BasicAuth::new(auth, self)).transpose()?,
            rate_limits: route.rate_limits.iter().map(|limit| RateLimit::new(limit, self)).collect(),
            connection_limits: route
                .connection_limits
                .iter()
                .map(|limit| ConnectionLimit::new(limit, self))
                .collect(),
            steps: StepSite::compile(&route.steps, self)?,
            files: route.files.as_ref().map(|files| FilesSite::new(files, &route.path, self)).transpose()?,
            respond: route.respond.as_ref().map(|respond| self.respond(respond)).transpose()?,
            proxy,
            response_headers: self.headers(&route.response_headers)?,
            expires: route.expires,
            compression: route.compression.clone(),
            error_pages: if route.error_pages.is_empty() {
                Arc::clone(error_pages)
            } else {
                Arc::new(ErrorPages::new(&route.error_pages, self)?)
            },
            body_bytes: unlimited(route.body_bytes.unwrap_or(body_bytes).0),
            log: match &route.access_log {
                Some(own) => RequestLog::new(Some(own), self)?,
                None => Arc::clone(log),
            },
            metrics,
        })
    }
}

fn unlimited(bytes: u64) -> u64 {
    if bytes == 0 { u64::MAX } else { bytes }
}

impl RouteSite {
    /// The prefix that `alias` and a service's path replace: none for regular expressions and named routes.
    pub fn prefix(&self) -> Option<&str> {
        prefix_of(&self.pattern)
    }
}

/// The prefix of a pattern, where it has one.
pub fn prefix_of(pattern: &PathPattern) -> Option<&str> {
    match pattern {
        PathPattern::Exact(path) | PathPattern::Prefix(path) | PathPattern::PrefixStop(path) => Some(path),
        PathPattern::Regex { .. } | PathPattern::Named(_) => None,
    }
}

impl Network {
    /// Reads `all`, `unix:`, an address, or a network such as `10.0.0.0/8`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => return Some(Self::All),
            "unix:" => return Some(Self::Unix),
            _ => {}
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
            None => most,
        };
        Some(Self::Bits(address, bits))
    }

    /// Whether an address is in it; none is the address of a Unix socket's client.
    pub fn contains(self, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::All, _) => true,
            (Self::Unix, None) => true,
            (Self::Bits(IpAddr::V4(network), bits), Some(IpAddr::V4(address))) => {
                let shift = 32 - u32::from(bits);
                u32::from(network).checked_shr(shift) == u32::from(address).checked_shr(shift)
            }
            (Self::Bits(IpAddr::V6(network), bits), Some(IpAddr::V6(address))) => {
                let shift = 128 - u32::from(bits);
                u128::from(network).checked_shr(shift) == u128::from(address).checked_shr(shift)
            }
            _ => false,
        }
    }
}
