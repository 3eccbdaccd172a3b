//! Speaks HTTP with one client until the connection ends: HTTP/2 where TLS agreed on it or the client begins
//! with its preface, else HTTP/1.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::codes::refusals;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::body::{Body, Kind, Source};
use super::exchange::{Answer, Exchange};
use super::pipeline::{self, Cut};
use super::pulse::{Overdue, Pulse, Watched};
use super::{answer, request, respond, site_of};
use crate::connection::{Alpn, Connection};
use crate::refusal::{self, Facts};

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves HTTP on a connection until it ends.
pub async fn serve<IO>(mut io: IO, connection: Arc<Connection>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let alpn = connection.tls.as_ref().and_then(|tls| tls.alpn.as_ref());
    let (is_http2, ahead) = match alpn {
        Some(Alpn::H2) => (true, Bytes::new()),
        Some(Alpn::Http11) => (false, Bytes::new()),
        _ => {
            let patience = connection.listener.timeouts().header.0;
            match tokio::time::timeout(patience, Box::pin(preface(&mut io))).await {
                Ok(Some(found)) => found,
                _ => return,
            }
        }
    };
    let pulse = Arc::new(Pulse::default());
    let mut io = Watched::new(io, ahead, Arc::clone(&pulse), !is_http2);
    io.look_at_ahead();
    if is_http2 {
        Box::pin(serve_http2(io, connection, pulse)).await;
    } else {
        serve_http1(io, connection, pulse).await;
    }
}

/// Whether the client begins with the HTTP/2 preface, and what was read to find out. None: it said nothing.
async fn preface<IO: AsyncRead + Unpin>(io: &mut IO) -> Option<(bool, Bytes)> {
    let mut ahead = Vec::new();
    let mut small = [0; 256];
    loop {
        let n = io.read(&mut small).await.ok().filter(|n| *n > 0)?;
        ahead.extend_from_slice(&small[..n]);
        let compared = ahead.len().min(PREFACE.len());
        if ahead[..compared] != PREFACE[..compared] {
            return Some((false, ahead.into()));
        }
        if compared == PREFACE.len() {
            return Some((true, ahead.into()));
        }
    }
}

async fn serve_http1<IO>(mut io: Watched<IO>, connection: Arc<Connection>, pulse: Arc<Pulse>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = connection.listener.limits();
    let header_bytes = usize::try_from(limits.header_bytes.0).unwrap_or(usize::MAX).max(8192);
    let mut builder = http1::Builder::new();
    builder
        .half_close(true)
        .max_headers(limits.headers.saturating_add(1))
        .max_buf_size(header_bytes.max(64 << 10))
        .max_header_size(header_bytes);
    let mut draining = false;
    // Each round is a time without a longer pause: in between, neither buffers nor parser are held.
    loop {
        let service = {
            let (connection, pulse) = (Arc::clone(&connection), Arc::clone(&pulse));
            service_fn(move |request| one(Arc::clone(&connection), Arc::clone(&pulse), request))
        };
        let mut served = Box::pin(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
        let timeouts = connection.listener.timeouts();
        let mut drain = connection.drain.clone();
        let ended = loop {
            let overdue = {
                let mut overdue = pin!(pulse.overdue(timeouts, !draining));
                let mut drained = pin!(drain.begun());
                tokio::select! {
                    biased;
                    result = served.as_mut() => Err(result),
                    overdue = overdue.as_mut() => Ok(overdue),
                    () = drained.as_mut(), if !draining => {
                        draining = true;
                        served.as_mut().graceful_shutdown();
                        Ok(Overdue::Quiet)
                    }
                }
            };
            match overdue {
                Err(result) => break Some(result),
                Ok(Overdue::Quiet) if draining => {}
                Ok(Overdue::Quiet) => break None,
                Ok(Overdue::Idle) => return,
                Ok(overdue) => return note_overdue(&connection, overdue),
            }
        };
        let parts = Pin::into_inner(served).into_parts();
        if let Some(result) = ended {
            let refused = result.is_err_and(|error| note_error(&connection, &error));
            if let Some(parts) = parts
                && (refused || pulse.unread.load(Relaxed))
            {
                Box::pin(parts.io.into_inner().linger()).await;
            }
            return;
        }
        let Some(parts) = parts else { return };
        io = parts.io.into_inner();
        io.put_back(parts.read_buf);
        let mut drain = connection.drain.clone();
        tokio::select! {
            biased;
            more = io.wait() => {
                if !more {
                    return;
                }
            }
            overdue = pulse.overdue(timeouts, false) => {
                if overdue != Overdue::Idle {
                    note_overdue(&connection, overdue);
                }
                return;
            }
            () = drain.begun() => return,
        }
    }
}

async fn serve_http2<IO>(io: Watched<IO>, connection: Arc<Connection>, pulse: Arc<Pulse>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = connection.listener.limits();
    let service = {
        let (connection, pulse) = (Arc::clone(&connection), Arc::clone(&pulse));
        service_fn(move |request| one(Arc::clone(&connection), Arc::clone(&pulse), request))
    };
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes.0).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(256 << 10);
    let mut served = pin!(builder.serve_connection(TokioIo::new(io), service));
    let timeouts = connection.listener.timeouts();
    let mut drain = connection.drain.clone();
    let mut ending = false;
    let most = limits.requests;
    loop {
        let overdue = {
            let mut overdue = pin!(pulse.overdue(timeouts, false));
            tokio::select! {
                biased;
                result = served.as_mut() => {
                    if let Err(error) = result {
                        let _ = note_error(&connection, &error);
                    }
                    return;
                }
                overdue = overdue.as_mut() => Some(overdue),
                () = drain.begun(), if !ending => None,
            }
        };
        match overdue {
            Some(Overdue::Idle) if !ending && pulse.requests.load(Relaxed) <= most => {
                served.as_mut().graceful_shutdown();
                // A moment for GOAWAY to leave.
                let _ = tokio::time::timeout(std::time::Duration::from_millis(200), served.as_mut()).await;
                return;
            }
            Some(Overdue::Idle | Overdue::Head) => return,
            Some(overdue) => return note_overdue(&connection, overdue),
            None => {
                ending = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

fn note_overdue(connection: &Connection, overdue: Overdue) {
    let (code, detail) = match overdue {
        Overdue::Head => (&refusals::REQUEST_TIMEOUT, "the request's headers did not arrive in time"),
        Overdue::Stalled => (&refusals::REQUEST_TIMEOUT, "the client does not take its answer"),
        Overdue::Cancelling => (&refusals::REQUEST_INVALID, "the client cancels most of what it asks for"),
        Overdue::Idle | Overdue::Quiet => return,
    };
    refusal::request(&connection.listener, code, &Facts::of(connection, detail));
}

/// What the parser refused has had its answer (400, 414 or 431); here are its line and its code. True if so.
fn note_error(connection: &Connection, error: &hyper::Error) -> bool {
    let text = super::forward::with_sources(error);
    let code = if error.is_parse_too_large() {
        &refusals::HEADERS_TOO_LARGE
    } else if error.is_parse() {
        &refusals::REQUEST_INVALID
    } else {
        tracing::debug!(listener = &*connection.listener.name, error = text, "connection ended");
        return false;
    };
    refusal::request(&connection.listener, code, &Facts::of(connection, &text));
    true
}

/// One request: checked, answered, finished.
pub(super) async fn one(
    connection: Arc<Connection>,
    pulse: Arc<Pulse>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let serial = pulse.begin();
    let (parts, incoming) = request.into_parts();
    let limits = connection.listener.limits();
    let checked = request::check(&parts, &pulse, limits.headers);
    let site = site_of(&connection);
    let (authority, path, dotted, refused) = match checked {
        Ok(accepted) => (accepted.authority, accepted.path, accepted.dotted, None),
        Err(refused) => (String::new(), None, true, Some(refused)),
    };
    let found = site.index.find(&authority);
    let ended = Ended { pulse, complete: false };
    let Some(found) = found else { return Err(Cut) };
    let version = parts.version;
    let peer = connection.tls.as_ref().and_then(|tls| tls.peer.clone());
    let mut x = Box::new(Exchange {
        host: found.host,
        route: None,
        peer,
        serial,
        request: parts,
        authority,
        path,
        query: None,
        rewritten: dotted,
        internal: false,
        whole: false,
        captures: Vec::new(),
        set: Vec::new(),
        user: None,
        challenge: None,
        error: None,
        error_shown: None,
        redirects: 0,
        shut: false,
        started: Instant::now(),
        answer: Answer::default(),
        places: Vec::new(),
        ended,
        connection,
    });
    let (response, close) = match refused {
        Some(refused) => {
            pipeline::refuse(&mut x, refused.code, refused.detail);
            x.error = Some(refused.status);
            x.ended.pulse.unread.store(true, Relaxed);
            (respond::page(refused.status), true)
        }
        None => {
            capture_host(&mut x);
            let source = (!http_body::Body::is_end_stream(&incoming)).then(|| {
                let patience = x.connection.listener.timeouts().body.0;
                Source::new(incoming, u64::MAX, patience)
            });
            let body = source.clone();
            let response = Box::pin(pipeline::answer(&mut x, source)).await?;
            if body.is_some_and(|body| body.progress().is_some()) {
                x.ended.pulse.unread.store(true, Relaxed);
            }
            let over = serial >= x.connection.listener.limits().requests;
            let plain = x.connection.tls.is_none() && x.connection.listener.spec.tls.is_some();
            (response, over || plain)
        }
    };
    let mut response = answer::finish(&mut x, response);
    if close && version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let response: Result<_, Infallible> = Ok(response.map(|kind: Kind| Body::new(kind, x)));
    response.map_err(|never| match never {})
}

/// Named captures of a host's regular expression become variables.
fn capture_host(x: &mut Exchange) {
    if x.host_site().name_regexes.is_empty() {
        return;
    }
    let connection = Arc::clone(&x.connection);
    let host = &site_of(&connection).hosts[x.host];
    let authority = x.authority.clone();
    for (regex, named) in &host.name_regexes {
        if let Some(captures) = regex.captures(&authority) {
            x.capture(&captures, named);
            return;
        }
    }
}

/// Tells the connection's pulse that a request has ended, however it did.
#[derive(Debug)]
pub struct Ended {
    pulse: Arc<Pulse>,
    /// The answer was sent to its end.
    pub complete: bool,
}

impl Ended {
    /// The connection's pulse.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.pulse.end(self.complete);
    }
}
