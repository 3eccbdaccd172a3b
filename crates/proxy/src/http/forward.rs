//! A service answers: one request sent on, with retries on other endpoints, and its answer brought back.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use hyper::body::Incoming;
use model::codes::{Code, Coded as _, serving};
use model::pattern::PathPattern;
use model::snapshot::{Balance, Identity, PathRewrite, Protocol, Proxy, Retries, RetryOn, ServiceTimeouts};

use super::body::{Fault, Kind, RequestBody, Source};
use super::exchange::{Attempt, Exchange, with_query};
use super::headers;
use super::path;
use super::site::{Compile, HeaderSite, prefix_of};
use super::text::Text;
use super::upgrade;
use crate::balance::Key;
use crate::connection::Alpn;
use crate::error::Error;
use crate::upstream::health::now_ms;
use crate::upstream::pool::{self, Http1, UpstreamBody};
use crate::upstream::retry::is_idempotent;
use crate::upstream::service::{Busy, EndpointState, ServiceState};
use crate::upstream::{Application, UpstreamError, connect};

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
            Some(Rewrite::Prefix(to)) => {
                let path = x.path();
                let rest =
                    self.prefix.as_deref().and_then(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
                Cow::Owned(with_query(&format!("{to}{}", path::encode(rest)), x.query()))
            }
            Some(Rewrite::Whole(to)) => {
                let target = path::encode_location(&to.expand(x)).into_owned();
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
            service.failed(&endpoint);
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

/// One try at one endpoint.
struct Once<'a> {
    proxy: &'a ProxySite,
    service: &'a Arc<ServiceState>,
    endpoint: &'a Arc<EndpointState>,
    timeouts: &'a ServiceTimeouts,
    upgrade: Option<&'a HeaderValue>,
    source: Option<&'a Arc<Source>>,
}

impl Once<'_> {
    async fn run(
        &self,
        x: &mut Exchange,
        body: &(dyn Fn() -> RequestBody + Sync),
        replayable: &(dyn Fn() -> bool + Sync),
    ) -> Result<Response<Kind>, Miss> {
        let busy = self.endpoint.begin();
        let place = self.service.place(self.endpoint);
        let protocol = self.service.spec.protocol;
        if self.upgrade.is_none() && matches!(protocol, Protocol::Http2 | Protocol::Auto) {
            if let Some(sender) = pool::shared(place) {
                match self.over_http2(x, sender, body(), &busy).await {
                    Err(missed) if missed.stale && replayable() => {}
                    done => return done.map(|response| self.with_body(response, None, busy)),
                }
            }
        }
        if protocol != Protocol::Http2
            && let Some(connection) = pool::take(place)
        {
            match self.over_http1(x, connection, body(), true).await {
                // A kept connection that was closed while the request was on its way: a new one is tried on
                // the same endpoint, once, where that does no harm.
                Err(missed)
                    if missed.stale
                        && replayable()
                        && (missed.unsent || is_idempotent(&x.request.method)) => {}
                Ok((response, connection)) => return Ok(self.with_body(response, connection, busy)),
                Err(missed) => return Err(missed),
            }
        }
        let started = Instant::now();
        let connection = Arc::clone(&x.connection);
        let made =
            connect(&self.service.connector, &self.endpoint.target, Some(&connection), Application::Http);
        let made = Box::pin(tokio::time::timeout(self.timeouts.connect.0, made)).await;
        let stream = match made {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(connect_miss(&error)),
            Err(_) => {
                let detail = format!("no connection to {} in time", self.endpoint.address);
                return Err(Miss {
                    kind: RetryOn::Connect,
                    unsent: true,
                    stale: false,
                    failure: Failure::new(504, &serving::UPSTREAM_TIMEOUT, detail),
                });
            }
        };
        if let Some(attempt) = x.answer.attempts.last_mut() {
            attempt.connect = started.elapsed();
        }
        let open = self.endpoint.opened();
        let http2 = match protocol {
            Protocol::Http2 => true,
            Protocol::Auto => stream.alpn == Some(Alpn::H2),
            Protocol::Http1 | Protocol::Http10 => false,
        };
        if http2 {
            let sender = pool::http2(stream, open).await.map_err(|error| reset_miss(&error, true, false))?;
            if place.most > 0 {
                pool::share(place, &sender);
            }
            let response = self.over_http2(x, sender, body(), &busy).await?;
            return Ok(self.with_body(response, None, busy));
        }
        let connection = Http1::new(stream, open).await.map_err(|error| reset_miss(&error, true, false))?;
        let (response, connection) = self.over_http1(x, connection, body(), false).await?;
        Ok(self.with_body(response, connection, busy))
    }

    fn with_body(
        &self,
        response: Response<Incoming>,
        connection: Option<Box<Http1>>,
        busy: Busy,
    ) -> Response<Kind> {
        let (parts, incoming) = response.into_parts();
        if parts.status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Response::from_parts(parts, Kind::Empty);
        }
        let read = self.timeouts.read.0;
        let body = UpstreamBody::new(incoming, connection, self.service, read, busy);
        Response::from_parts(parts, Kind::Upstream(body))
    }

    async fn over_http1(
        &self,
        x: &mut Exchange,
        mut connection: Box<Http1>,
        body: RequestBody,
        kept: bool,
    ) -> Result<(Response<Incoming>, Option<Box<Http1>>), Miss> {
        let mut request = Request::new(body);
        *request.method_mut() = x.request.method.clone();
        *request.uri_mut() = self.uri(x)?;
        *request.headers_mut() = headers::for_service(x, self.proxy, false, self.upgrade);
        if self.service.spec.protocol == Protocol::Http10 {
            *request.version_mut() = Version::HTTP_10;
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else if self.service.place(self.endpoint).most == 0 && self.upgrade.is_none() {
            request.headers_mut().append(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.fit_length(&mut request);
        if self.upgrade.is_some() {
            let (mut sender, open) = connection.into_task();
            let sent = self.answered(sender.send_request(request)).await;
            drop(open);
            return match sent {
                Some(Ok(response)) => {
                    self.note_answer(x, &response);
                    Ok((response, None))
                }
                Some(Err(error)) => Err(reset_miss(&error, false, kept)),
                None => Err(self.read_timeout()),
            };
        }
        let sent = self.answered(connection.send(request)).await;
        match sent {
            Some(Ok(response)) => {
                self.note_answer(x, &response);
                Ok((response, Some(connection)))
            }
            Some(Err(error)) => Err(reset_miss(&error.error, error.unsent, kept)),
            None => Err(self.read_timeout()),
        }
    }

    async fn over_http2(
        &self,
        x: &mut Exchange,
        mut sender: hyper::client::conn::http2::SendRequest<RequestBody>,
        body: RequestBody,
        _busy: &Busy,
    ) -> Result<Response<Incoming>, Miss> {
        let mut request = Request::new(body);
        *request.method_mut() = x.request.method.clone();
        *request.version_mut() = Version::HTTP_2;
        let mut parts = self.uri(x)?.into_parts();
        parts.scheme = Some(if self.service.connector.is_tls() {
            http::uri::Scheme::HTTPS
        } else {
            http::uri::Scheme::HTTP
        });
        let host = headers::host_for_service(x, self.proxy);
        let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        parts.authority = Some(host.parse().map_err(|_| invalid_target("the host cannot be an authority"))?);
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| invalid_target(error))?;
        *request.headers_mut() = headers::for_service(x, self.proxy, true, None);
        self.fit_length(&mut request);
        match self.answered(sender.try_send_request(request)).await {
            Some(Ok(response)) => {
                self.note_answer(x, &response);
                Ok(response)
            }
            Some(Err(mut error)) => {
                let unsent = error.take_message().is_some();
                let error = error.into_error();
                let refused = is_refused_stream(&error);
                Err(reset_miss(&error, unsent || refused, unsent || refused))
            }
            None => Err(self.read_timeout()),
        }
    }

    /// A body that was buffered has a length of its own; one that streams keeps what it came with.
    fn fit_length(&self, request: &mut Request<RequestBody>) {
        if matches!(request.body(), RequestBody::Full(_)) {
            request.headers_mut().remove(header::CONTENT_LENGTH);
        }
    }

    fn uri(&self, x: &Exchange) -> Result<Uri, Miss> {
        if x.request.method == Method::OPTIONS && x.request.uri.path() == "*" {
            return Ok(Uri::from_static("*"));
        }
        if self.proxy.rewrite.is_none()
            && !x.rewritten
            && x.query.is_none()
            && let Some(target) = x.request.uri.path_and_query()
        {
            // The target as it came, without parsing it again.
            return Ok(Uri::from(target.clone()));
        }
        Uri::try_from(&*self.proxy.target(x)).map_err(|error| invalid_target(error))
    }

    /// Waits for the answer's headers. The time counts from the last byte of the request that was taken.
    async fn answered<T>(&self, sending: impl Future<Output = T>) -> Option<T> {
        let mut sending = std::pin::pin!(sending);
        let read = self.timeouts.read.0;
        let mut wait = read;
        loop {
            if let Ok(done) = tokio::time::timeout(wait, sending.as_mut()).await {
                return Some(done);
            }
            let progress = self.source.and_then(|source| source.progress())?;
            let idle = Duration::from_millis(now_ms().saturating_sub(progress));
            wait = read.max(self.timeouts.send.0).checked_sub(idle).filter(|rest| !rest.is_zero())?;
        }
    }

    fn note_answer(&self, x: &mut Exchange, response: &Response<Incoming>) {
        if let Some(attempt) = x.answer.attempts.last_mut() {
            attempt.status = response.status().as_u16();
            attempt.header = attempt.started.elapsed();
            self.endpoint.health.observe(attempt.header, now_ms());
        }
    }

    fn read_timeout(&self) -> Miss {
        let detail = format!("no answer from {} within {:?}", self.endpoint.address, self.timeouts.read.0);
        Miss {
            kind: RetryOn::Timeout,
            unsent: false,
            stale: false,
            failure: Failure::new(504, &serving::UPSTREAM_TIMEOUT, detail),
        }
    }
}

fn invalid_target(error: impl std::fmt::Display) -> Miss {
    let failure = Failure::new(
        500,
        &model::codes::refusals::REQUEST_INVALID,
        format!("the target is invalid: {error}"),
    );
    // Not retried: it would be the same elsewhere.
    Miss { kind: RetryOn::Status(500), unsent: true, stale: false, failure }
}

fn connect_miss(error: &UpstreamError) -> Miss {
    let status = if matches!(error, UpstreamError::Timeout { .. }) { 504 } else { 502 };
    Miss {
        kind: RetryOn::Connect,
        unsent: true,
        stale: false,
        failure: Failure::new(status, error.code(), error),
    }
}

/// A stream that the service refused before it looked at it (RFC 9113, section 8.7) was not processed.
fn is_refused_stream(error: &hyper::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        let text = error.to_string();
        if text.contains("refused stream") || text.contains("REFUSED_STREAM") {
            return true;
        }
        source = error.source();
    }
    false
}

fn reset_miss(error: &hyper::Error, unsent: bool, kept: bool) -> Miss {
    let malformed = error.is_parse() || error.is_parse_status() || error.is_parse_too_large();
    let (code, detail) = if malformed {
        (&serving::UPSTREAM_INVALID, "the answer is malformed")
    } else {
        (&serving::UPSTREAM_RESET, "the connection ended before the answer")
    };
    let stale = kept && !malformed;
    let failure = Failure::new(502, code, format!("{detail}: {}", with_sources(error)));
    Miss { kind: RetryOn::Reset, unsent: unsent || error.is_canceled(), stale, failure }
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
