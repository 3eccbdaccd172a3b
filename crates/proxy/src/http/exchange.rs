//! One request and what becomes of it: the state that steps, variables, headers, logs and errors share.
//! It is made when a request's headers have arrived and ends with the last byte of the answer.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::request::Parts;
use model::codes::Code;

use super::path;
use super::site::{HostSite, RouteSite, Site};
use crate::connection::Connection;

/// One request and what becomes of it.
pub struct Exchange {
    /// The connection it came on.
    pub connection: Arc<Connection>,
    /// Index of its virtual host.
    pub host: usize,
    /// Index of its route, once one is chosen.
    pub route: Option<usize>,
    /// Method, target, version and headers as they came.
    pub request: Parts,
    /// The host it names, lower case, without port.
    pub authority: String,
    /// The path in its one form, where that is not the raw one or was rewritten.
    pub path: Option<String>,
    /// The query, where it was rewritten.
    pub query: Option<String>,
    /// The raw target must not go upstream: dots were resolved, or the path was rewritten.
    pub rewritten: bool,
    /// The path is not the client's choice any more: it was rewritten or redirected to within.
    pub internal: bool,
    /// The path is that of a `rewrite … break`: it goes to the service whole, whatever the service's own path is.
    pub whole: bool,
    /// `$1` to `$9` of the last regular expression.
    pub captures: Vec<String>,
    /// Variables that were set, by slot.
    pub set: Vec<(u16, String)>,
    /// The client's certificate as the policy in force sees it.
    pub peer: Option<Arc<model::peer::Peer>>,
    /// The number of this request on its connection, from 1.
    pub serial: u64,
    /// The user who gave the right password.
    pub user: Option<String>,
    /// WWW-Authenticate of a 401.
    pub challenge: Option<http::HeaderValue>,
    /// The status of the error that is being answered.
    pub error: Option<u16>,
    /// The status that its page is shown with, where that is not the page's own.
    pub error_shown: Option<u16>,
    /// Internal redirects so far.
    pub redirects: u8,
    /// A client policy refused it: nothing of it may reach a service, whatever page is shown.
    pub shut: bool,
    /// When its headers had arrived.
    pub started: Instant,
    /// What is known of the answer.
    pub answer: Answer,
    /// Places in `limit_conn` zones, given back when the exchange ends.
    pub places: Vec<super::limits::Place>,
    /// Tells the connection when the exchange ends.
    pub ended: super::serve::Ended,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("request", &self.request).field("answer", &self.answer).finish()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.ended.complete = self.answer.complete || self.answer.status == 101;
        super::log::finish(self);
    }
}

/// What is known of the answer, for logs and variables.
#[derive(Debug, Default)]
pub struct Answer {
    /// Its status; 0 while there is none.
    pub status: u16,
    /// The status of the answer that is being put together, for `$status` in its text and headers.
    pub coming: AtomicU16,
    /// Bytes of its body so far.
    pub body_bytes: u64,
    /// Bytes of the request's body so far.
    pub request_body_bytes: u64,
    /// Its headers, where a log line of this site shows some.
    pub headers: Option<HeaderMap>,
    /// The service's headers, likewise.
    pub upstream_headers: Option<HeaderMap>,
    /// One for each endpoint that was tried.
    pub attempts: Vec<Attempt>,
    /// Why it was refused or failed.
    pub code: Option<&'static Code>,
    /// Facts about `code`, for the log.
    pub evidence: Option<String>,
    /// Its body broke off.
    pub failed: bool,
    /// Whether the body was sent to its end.
    pub complete: bool,
}

/// One try at an endpoint.
#[derive(Debug)]
pub struct Attempt {
    /// The endpoint's address.
    pub address: Arc<str>,
    /// The status it answered; 0 for none.
    pub status: u16,
    /// Until connected (zero for a kept connection), until its headers, and in all.
    pub connect: Duration,
    /// Until its headers had arrived.
    pub header: Duration,
    /// When it began.
    pub started: Instant,
    /// Bytes of its body.
    pub bytes: u64,
}

impl Answer {
    /// The status, or that of the answer that is being put together.
    pub fn status_now(&self) -> u16 {
        if self.status == 0 { self.coming.load(Ordering::Relaxed) } else { self.status }
    }
}

impl Exchange {
    /// The configuration that its connection was accepted under.
    pub fn site(&self) -> &Site {
        super::site_of(&self.connection)
    }

    /// The times of its connection.
    pub fn pulse(&self) -> &super::pulse::Pulse {
        self.ended.pulse()
    }

    /// Its virtual host.
    pub fn host_site(&self) -> &HostSite {
        &self.site().hosts[self.host]
    }

    /// Its route.
    pub fn route_site(&self) -> Option<&RouteSite> {
        self.route.map(|route| &self.host_site().routes[route])
    }

    /// The path in its one form: what hosts, routes, policies and files look at.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.request.uri.path())
    }

    /// The query without `?`, or nothing.
    pub fn query(&self) -> &str {
        self.query.as_deref().unwrap_or_else(|| self.request.uri.query().unwrap_or(""))
    }

    /// Path and query as they came (`$request_uri`).
    pub fn request_target(&self) -> &str {
        self.request.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// Path and query for a service that gets the path as it is now.
    pub fn upstream_target(&self) -> Cow<'_, str> {
        if self.rewritten || self.query.is_some() {
            Cow::Owned(with_query(&path::encode(self.path()), self.query()))
        } else {
            Cow::Borrowed(self.request_target())
        }
    }

    /// Replaces the path. It is in the one form already, or made from parts that are.
    pub fn set_path(&mut self, path: String) {
        self.path = Some(path);
        self.rewritten = true;
        self.internal = true;
    }

    /// Sets a variable.
    pub fn set_variable(&mut self, slot: u16, value: String) {
        match self.set.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, old)) => *old = value,
            None => self.set.push((slot, value)),
        }
    }

    /// The value of a variable that was set.
    pub fn variable(&self, slot: u16) -> &str {
        self.set.iter().find(|(known, _)| *known == slot).map_or("", |(_, value)| value)
    }

    /// Keeps the captures of a match: numbered ones, and named ones in their slots.
    pub fn capture(&mut self, captures: &regex::Captures<'_>, named: &[(usize, u16)]) {
        let text = |group: usize| captures.get(group).map_or("", |m| m.as_str());
        self.captures = (0..captures.len().min(10)).map(|group| text(group).to_owned()).collect();
        for (group, slot) in named {
            let value = text(*group).to_owned();
            self.set_variable(*slot, value);
        }
    }

    /// The client's address; none for a Unix socket.
    pub fn remote_ip(&self) -> Option<IpAddr> {
        self.connection.peer_addr.ip()
    }

    /// Whether the client uses TLS.
    pub fn is_tls(&self) -> bool {
        self.connection.tls.is_some()
    }

    /// Whether errors are told as a gRPC status: the client speaks gRPC.
    pub fn is_grpc(&self) -> bool {
        self.request
            .headers
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
    }
}

/// A path with its query.
pub fn with_query(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}
