//! A service answers: one request sent on, with retries on other endpoints, and its answer brought back.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, Response};
use model::codes::{Code, serving};
use model::pattern::PathPattern;
use model::snapshot::{Balance, Identity, PathRewrite, Protocol, Proxy, Retries, RetryOn, ServiceTimeouts};

use self::attempt::Once;
use super::body::{Fault, Kind, RequestBody, Source};
use super::exchange::{Attempt, Exchange, with_query};
use super::path;
use super::site::{Compile, HeaderSite, prefix_of};
use super::text::Text;
use super::upgrade;
use super::variables::Variable;
use crate::balance::Key;
use crate::error::Error;
use crate::upstream::health::now_ms;
use crate::upstream::retry::is_idempotent;
use crate::upstream::service::ServiceState;

mod attempt;

/// A proxied route, compiled.
#[derive(Debug)]
pub struct ProxySite {
    service: Choice,
    /// Keys of the services' balancers: the text of `hash`.
    hash_keys: Vec<(String, Text)>,
    rewrite: Option<Rewrite>,
    prefix: Option<String>,
    /// The Host header; none: as it came.
    pub host: Option<Text>,
    /// Headers set on the request.
    pub headers: Vec<HeaderSite>,
    /// X-Forwarded-For and its kind are set.
    pub forwarded: bool,
    /// Headers whose names have an underscore are passed on.
    pub underscores: bool,
    /// How the identity is told.
    pub identity: Identity,
    /// Errors are told as gRPC.
    pub grpc: bool,
    /// Location headers that are rewritten.
    pub redirects: Vec<(Text, Text)>,
    retries: Option<Retries>,
    timeouts: Option<ServiceTimeouts>,
    /// Errors of the service go through the error pages.
    pub intercept_errors: bool,
    /// Headers that are not passed on.
    pub hidden: Vec<HeaderName>,
    buffer: bool,
    upgrades: bool,
}

#[derive(Debug)]
enum Choice {
    Fixed(Arc<ServiceState>),
    ByName(Text),
}

#[derive(Debug)]
enum Rewrite {
    Prefix(String),
    Whole(Text),
}

/// Why there is no answer of a service.
#[derive(Debug)]
pub struct Failure {
    /// The status that the client gets.
    pub status: u16,
    /// The stable code.
    pub code: &'static Code,
    /// One sentence about this case.
    pub detail: String,
}

impl Failure {
    fn new(status: u16, code: &'static Code, detail: impl std::fmt::Display) -> Self {
        Self { status, code, detail: detail.to_string() }
    }
}

/// How one try ended without an answer.
#[derive(Debug)]
struct Miss {
    kind: RetryOn,
    /// Nothing of the request reached the service.
    unsent: bool,
    /// It was a kept connection that had been closed meanwhile: nobody's fault.
    stale: bool,
    /// The endpoint has nothing to do with it: the client's request, or our own want of file descriptors. It
    /// says nothing of the endpoint's health.
    innocent: bool,
    failure: Failure,
}

impl ProxySite {
    /// Compiles a proxied route.
    pub fn new(proxy: &Proxy, pattern: &PathPattern, compile: &mut Compile<'_, '_>) -> Result<Self, Error> {
        let service = match proxy.service.literal() {
            Some(name) => match compile.services.get(name) {
                Some(service) => Choice::Fixed(Arc::clone(service)),
                None => return Err(compile.wrong(format!("there is no service {name:?}"))),
            },
            None => Choice::ByName(compile.text(&proxy.service)),
        };
        let mut hash_keys = Vec::new();
        let hashed: Vec<_> = compile
            .services
            .iter()
            .filter_map(|(name, service)| match &service.spec.balance {
                Balance::Hash { key, .. } => Some((name.clone(), key.clone())),
                _ => None,
            })
            .collect();
        for (name, key) in hashed {
            hash_keys.push((name, compile.text(&key)));
        }
        let hidden = proxy.hide_headers.iter().map(|name| {
            HeaderName::try_from(name.as_str())
                .map_err(|_| compile.wrong(format!("{name:?} is not a header name")))
        });
        let hidden = hidden.collect::<Result<_, Error>>()?;
        Ok(Self {
            service,
            hash_keys,
            rewrite: proxy.rewrite.as_ref().map(|rewrite| match rewrite {
                PathRewrite::Prefix(to) => Rewrite::Prefix(to.clone()),
                PathRewrite::Whole(to) => Rewrite::Whole(compile.text(to)),
            }),
            prefix: prefix_of(pattern).map(str::to_owned),
            host: proxy.host.as_ref().map(|host| compile.text(host)),
            headers: proxy.headers.iter().map(|rule| compile.header(rule)).collect::<Result<_, _>>()?,
            forwarded: proxy.forwarded,
            underscores: proxy.underscores,
            identity: proxy.identity,
            grpc: proxy.grpc,
            redirects: proxy
                .redirects
                .iter()
                .map(|(from, to)| (compile.text(from), compile.text(to)))
                .collect(),
            retries: proxy.retries.clone(),
            timeouts: proxy.timeouts.clone(),
            intercept_errors: proxy.intercept_errors,
            hidden,
            buffer: proxy.buffer_request,
            upgrades: proxy.upgrades,
        })
    }

    /// The service's name, for metrics; `variable` where it is chosen per request.
    pub fn metrics_label(&self) -> &str {
        match &self.service {
            Choice::Fixed(service) => &service.name,
            Choice::ByName(_) => "variable",
        }
    }

    /// `$proxy_host`: the service's name, or its only endpoint's address where that is the name.
    pub fn host_name<'a>(&'a self, x: &'a Exchange) -> Cow<'a, str> {
        match &self.service {
            Choice::Fixed(service) => Cow::Borrowed(&service.name),
            Choice::ByName(text) => text.expand(x),
        }
    }

    /// `$proxy_port`.
    pub fn port(&self, x: &Exchange) -> String {
        let port = self.service(x).and_then(|service| {
            let (_, port) = service.endpoints.first()?.address.rsplit_once(':')?;
            port.parse::<u16>().ok()
        });
        port.unwrap_or(80).to_string()
    }

    fn service(&self, x: &Exchange) -> Option<Arc<ServiceState>> {
        match &self.service {
            Choice::Fixed(service) => Some(Arc::clone(service)),
            Choice::ByName(name) => x.site().services.get(&*name.expand(x)).map(Arc::clone),
        }
    }

    fn target<'a>(&self, x: &'a Exchange) -> Cow<'a, str> {
        match &self.rewrite {
            None => x.upstream_target(),
            Some(Rewrite::Prefix(_)) if x.whole => Cow::Owned(with_query(&path::encode(x.path()), x.query())),
            Some(Rewrite::Prefix(to)) => {
                let path = x.path();
                let rest =
                    self.prefix.as_deref().and_then(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
                Cow::Owned(with_query(&format!("{to}{}", path::encode(rest)), x.query()))
            }
            Some(Rewrite::Whole(to)) => {
                // What was decoded is encoded again, and no fragment goes to a service.
                let target = to.fill(|v| match matches!(v, Variable::Uri) || v.is_captured() {
                    true => path::encode(&v.path_value(x)).into_owned().into(),
                    false => v.value(x),
                });
                let target = path::encode_location(&target).replace('#', "%23");
                Cow::Owned(if target.starts_with('/') { target } else { format!("/{target}") })
            }
        }
    }
}

/// Sends a request to the route's service and brings its answer back, its headers not yet changed.
pub async fn forward(
    x: &mut Exchange,
    proxy: &ProxySite,
    source: Option<Arc<Source>>,
) -> Result<Response<Kind>, Failure> {
    let Some(service) = proxy.service(x) else {
        let name = proxy.host_name(x).into_owned();
        return Err(Failure::new(502, &serving::NO_ENDPOINT, format!("there is no service named {name:?}")));
    };
    let upgrade = if proxy.upgrades { upgrade::wanted(&mut x.request) } else { None };
    let mut buffered = None;
    if let Some(source) = &source
        && (proxy.buffer || service.spec.protocol == Protocol::Http10)
    {
        buffered = Some(source.collect().await.map_err(|_| body_failure(source))?);
    }
    let retries = proxy.retries.as_ref().unwrap_or(&service.spec.retries);
    let timeouts = proxy.timeouts.as_ref().unwrap_or(&service.spec.timeouts);
    let key_text = proxy
        .hash_keys
        .iter()
        .find(|(name, _)| **name == *service.name)
        .map(|(_, key)| key.expand(x).into_owned())
        .unwrap_or_default();
    service.budget.request(now_ms());
    let mut tried = Vec::new();
    let mut left = retries.attempts;
    loop {
        let key = Key { address: x.remote_ip(), text: &key_text };
        let Some(number) = service.balancer.pick(&service.endpoints, key, &tried) else {
            return Err(last_failure(&service, tried.is_empty()));
        };
        let endpoint = Arc::clone(&service.endpoints[number]);
        let attempt = Attempt {
            address: Arc::clone(&endpoint.address),
            status: 0,
            connect: Duration::ZERO,
            header: Duration::ZERO,
            started: Instant::now(),
            bytes: 0,
        };
        x.answer.attempts.push(attempt);
        let body = || match (&buffered, &source) {
            (Some(bytes), _) => RequestBody::Full(Some(bytes.clone()).filter(|bytes| !bytes.is_empty())),
            (None, Some(source)) => RequestBody::Stream(Arc::clone(source)),
            (None, None) => RequestBody::Empty,
        };
        let replayable = || buffered.is_some() || source.as_ref().is_none_or(|source| source.is_untouched());
        let once = Once {
            proxy,
            service: &service,
            endpoint: &endpoint,
            timeouts,
            upgrade: upgrade.as_ref(),
            source: source.as_ref(),
        };
        let missed = match once.run(x, &body, &replayable).await {
            Ok(response) => {
                let status = response.status().as_u16();
                let again = left > 0
                    && retries.on.contains(&RetryOn::Status(status))
                    && replayable()
                    && (is_idempotent(&x.request.method) || retries.non_idempotent)
                    && service.budget.retry(now_ms(), retries.budget_percent);
                if !again {
                    if status < 500 || !retries.on.contains(&RetryOn::Status(status)) {
                        endpoint.health.succeeded(now_ms());
                    }
                    return Ok(response);
                }
                service.failed(&endpoint);
                None
            }
            Err(missed) => Some(missed),
        };
        if let Some(missed) = missed {
            if let Some(source) = &source
                && source.fault().is_some()
            {
                // The client broke off; the endpoint did nothing wrong.
                return Err(body_failure(source));
            }
            if !missed.innocent {
                service.failed(&endpoint);
            }
            let allowed = left > 0
                && retries.on.contains(&missed.kind)
                && replayable()
                && (missed.unsent || is_idempotent(&x.request.method) || retries.non_idempotent)
                && service.budget.retry(now_ms(), retries.budget_percent);
            if !allowed {
                return Err(missed.failure);
            }
            tracing::debug!(
                service = &*service.name,
                endpoint = &*endpoint.address,
                detail = missed.failure.detail,
                "retry"
            );
        }
        left -= 1;
        tried.push(number);
        if tried.len() >= service.endpoints.len() {
            // Every endpoint was tried once; another round is better than nothing.
            tried.clear();
        }
    }
}

fn last_failure(service: &ServiceState, untried: bool) -> Failure {
    let what = if untried { "no endpoint can be used" } else { "no endpoint is left to try" };
    Failure::new(502, &serving::NO_ENDPOINT, format!("service {}: {what}", service.name))
}

/// What the client gets whose body failed.
pub fn body_failure(source: &Source) -> Failure {
    use model::codes::refusals;
    match source.fault() {
        Some(Fault::TooLarge) => Failure::new(413, &refusals::BODY_TOO_LARGE, "the body passed its limit"),
        Some(Fault::Slow) => Failure::new(408, &refusals::REQUEST_TIMEOUT, "the body stalled"),
        _ => Failure::new(400, &refusals::REQUEST_INVALID, "the body ended early or is malformed"),
    }
}

/// An error with what caused it.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}
