//! One try at one endpoint: a kept connection or a new one, the request, the answer's headers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use model::codes::{Coded as _, serving};
use model::snapshot::{Protocol, RetryOn, ServiceTimeouts};

use super::{Failure, Miss, ProxySite, with_sources};
use crate::connection::Alpn;
use crate::http::body::{Kind, RequestBody, Source};
use crate::http::exchange::Exchange;
use crate::http::headers;
use crate::upstream::health::now_ms;
use crate::upstream::pool::{self, Http1, UpstreamBody};
use crate::upstream::retry::is_idempotent;
use crate::upstream::service::{Busy, EndpointState, ServiceState};
use crate::upstream::{Application, UpstreamError, connect};

/// One try at one endpoint.
pub(super) struct Once<'a> {
    pub(super) proxy: &'a ProxySite,
    pub(super) service: &'a Arc<ServiceState>,
    pub(super) endpoint: &'a Arc<EndpointState>,
    pub(super) timeouts: &'a ServiceTimeouts,
    pub(super) upgrade: Option<&'a HeaderValue>,
    pub(super) source: Option<&'a Arc<Source>>,
}

impl Once<'_> {
    pub(super) async fn run(
        &self,
        x: &mut Exchange,
        body: &(dyn Fn() -> RequestBody + Sync),
        replayable: &(dyn Fn() -> bool + Sync),
    ) -> Result<Response<Kind>, Miss> {
        let busy = self.endpoint.begin();
        let place = self.service.place(self.endpoint);
        let protocol = self.service.spec.protocol;
        if self.upgrade.is_none()
            && matches!(protocol, Protocol::Http2 | Protocol::Auto)
            && let Some(sender) = pool::shared(place)
        {
            match self.over_http2(x, sender, body(), &busy).await {
                Err(missed) if missed.stale && replayable() => {}
                done => return done.map(|response| self.with_body(response, None, busy)),
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
                    innocent: false,
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
        mut sender: http2::SendRequest<RequestBody>,
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
        *request.uri_mut() = Uri::from_parts(parts).map_err(invalid_target)?;
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
        Uri::try_from(&*self.proxy.target(x)).map_err(invalid_target)
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
            innocent: false,
            failure: Failure::new(504, &serving::UPSTREAM_TIMEOUT, detail),
        }
    }
}

fn invalid_target(error: impl std::fmt::Display) -> Miss {
    let failure = Failure::new(
        400,
        &model::codes::refusals::REQUEST_INVALID,
        format!("the target is invalid: {error}"),
    );
    // Not retried: it would be the same elsewhere.
    Miss { kind: RetryOn::Status(400), unsent: true, stale: false, innocent: true, failure }
}

fn connect_miss(error: &UpstreamError) -> Miss {
    let status = if matches!(error, UpstreamError::Timeout { .. }) { 504 } else { 502 };
    Miss {
        kind: RetryOn::Connect,
        unsent: true,
        stale: false,
        innocent: error.is_our_own(),
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
    Miss { kind: RetryOn::Reset, unsent: unsent || error.is_canceled(), stale, innocent: false, failure }
}
