//! The way of one request, in nginx's order: host, client policy, steps, route, limits, access, content; and
//! errors, which may lead through it once more for their page. The statements of [`answer`] are the order.

use std::sync::Arc;

use http::{HeaderValue, Method, Response, header};
use model::codes::{Code, refusals, serving};
use model::pattern::PathPattern;
use model::policy::{Decision, Refusal};

use super::body::{Kind, Source};
use super::error_pages::Shown;
use super::exchange::{Exchange, with_query};
use super::files::{self, Found};
use super::limits::{Full, Rate};
use super::locations::Location;
use super::site::{HostSite, RespondSite, RouteSite};
use super::steps::{self, Outcome};
use super::{forward, path, respond, upgrade};
use crate::authorize;
use crate::policy::CompiledPolicy;
use crate::refusal::{self, Facts};

/// Internal redirects and rewrites of one request, as in nginx.
const MOST_REDIRECTS: u8 = 10;

/// The connection is to be closed without an answer (nginx: 444).
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
pub struct Cut;

/// What comes next.
enum Next {
    /// An answer, to be finished.
    Answer(Response<Kind>),
    /// An error, maybe with a page.
    Error(Wrong),
    /// Choose a route for the path as it is now; server steps again?
    Search { steps: bool },
    /// This route.
    Named(usize),
    /// No answer.
    Cut,
}

/// An error.
struct Wrong {
    /// The status for error pages: 495 to 497 too.
    status: u16,
    /// The status that the client sees.
    shown: u16,
    /// A page that the policy names.
    page: Option<bytes::Bytes>,
}

impl Wrong {
    fn new(status: u16) -> Self {
        Self { status, shown: if (494..=497).contains(&status) { 400 } else { status }, page: None }
    }
}

/// Answers a request.
pub async fn answer(x: &mut Exchange, source: Option<Arc<Source>>) -> Result<Response<Kind>, Cut> {
    let connection = Arc::clone(&x.connection);
    let host = &super::site_of(&connection).hosts[x.host];
    let mut next = enter(x, host);
    let mut limited = false;
    loop {
        next = match next {
            Next::Answer(response) => return Ok(response),
            Next::Cut => return Err(Cut),
            Next::Error(wrong) => error(x, host, wrong),
            Next::Search { steps } => search(x, host, steps),
            Next::Named(route) => {
                x.route = Some(route);
                let route = &host.routes[route];
                in_route(x, host, route, source.as_ref(), &mut limited).await
            }
        };
    }
}

/// Before any route: plain text on the TLS port, the client policy of the host, the redirect to https.
fn enter(x: &mut Exchange, host: &HostSite) -> Next {
    let connection = Arc::clone(&x.connection);
    let listener = &connection.listener;
    match &connection.tls {
        None if listener.spec.tls.is_some() => {
            let (code, detail) = (&refusals::PLAIN_HTTP, "plain HTTP on the TLS port");
            x.answer.code = Some(code);
            refusal::handshake(
                listener,
                code,
                &Facts { path: Some(x.path()), ..Facts::of(&connection, detail) },
            );
            (x.shut, x.peer) = (true, None);
            return Next::Error(Wrong::new(497));
        }
        Some(tls) if tls.host != Some(x.host) && tls.policy_key != listener.policy_key(x.host) => {
            refuse(x, &refusals::MISDIRECTED, "the host is under another policy than the server name");
            // Whom the other host knows is nobody here.
            (x.shut, x.peer) = (true, None);
            return Next::Error(Wrong::new(421));
        }
        _ => {}
    }
    // Where paths have policies of their own the host's waits until it is known which path it is.
    if !host.has_policies
        && let Some(wrong) = refused_by_host(x)
    {
        return Next::Error(wrong);
    }
    if host.redirect_to_https && connection.tls.is_none() {
        let authority = if x.authority.is_empty() { host.name.clone() } else { x.authority.clone() };
        let to = format!("https://{authority}{}", x.request_target());
        let status = if matches!(x.request.method, Method::GET | Method::HEAD) { 301 } else { 308 };
        return Next::Answer(respond::redirect(status, &to, x));
    }
    Next::Search { steps: true }
}

/// Asks the gate of the host, for all that has no policy of its own.
fn refused_by_host(x: &mut Exchange) -> Option<Wrong> {
    if x.shut {
        // Refused already: what is shown now is the page about that.
        return None;
    }
    let connection = Arc::clone(&x.connection);
    refused_by(x, connection.listener.host_policy(x.host)?)
}

/// What a host answers before a route is found, unless its policy refuses.
fn unless_refused(x: &mut Exchange, host: &HostSite, next: impl FnOnce(&mut Exchange) -> Next) -> Next {
    match host.has_policies.then(|| refused_by_host(x)).flatten() {
        Some(wrong) => Next::Error(wrong),
        None => next(x),
    }
}

/// Asks the gate. The refusal is logged and counted there.
fn refused_by(x: &mut Exchange, policy: &CompiledPolicy) -> Option<Wrong> {
    let verdict = authorize::request(&x.connection, policy);
    x.peer = verdict.peer.clone();
    let Decision::Refuse(denial) = &verdict.decision else { return None };
    x.shut = true;
    x.answer.code = Some(denial.code);
    x.answer.evidence = Some(denial.what.clone());
    let of_certificate = denial.code != &refusals::IDENTITY_NOT_ALLOWED;
    let (shown, page) = match &policy.spec.refuse {
        Refusal::Alert => (403, None),
        Refusal::Status(status) => (*status, None),
        Refusal::Page { status, file } => (*status, x.site().refusal_pages.get(file).cloned()),
    };
    let status = match (of_certificate, x.peer.is_some()) {
        (true, true) => 495,
        (true, false) => 496,
        (false, _) => shown,
    };
    Some(Wrong { status, shown, page })
}

/// Server steps, then the route for the path.
fn search(x: &mut Exchange, host: &HostSite, with_steps: bool) -> Next {
    if with_steps && !host.steps.is_empty() {
        x.route = None;
        match steps::run(&host.steps, x) {
            Outcome::Continue | Outcome::Changed | Outcome::Stay => {}
            Outcome::Respond(fixed) => return unless_refused(x, host, |x| respond_fixed(x, &fixed)),
            Outcome::Redirect(status, to) => {
                return unless_refused(x, host, |x| Next::Answer(respond::redirect(status, &to, x)));
            }
            Outcome::Invalid => return unless_refused(x, host, invalid_path),
        }
    }
    match host.locations.find(x.path(), &x.request.method) {
        Location::Route(route) => {
            if let PathPattern::Regex { regex, .. } = &host.routes[route].pattern {
                let path = x.path().to_owned();
                if let Some(captures) = regex.captures(&path) {
                    x.capture(&captures, &host.routes[route].captures);
                }
            }
            if host.routes[route].internal && !x.internal {
                return unless_refused(x, host, not_found);
            }
            Next::Named(route)
        }
        Location::AddSlash => unless_refused(x, host, |x| {
            let to = with_query(&format!("{}/", path::encode(x.path())), x.query());
            Next::Answer(respond::redirect(301, &to, x))
        }),
        Location::None => unless_refused(x, host, not_found),
    }
}

async fn in_route(
    x: &mut Exchange,
    host: &HostSite,
    route: &RouteSite,
    source: Option<&Arc<Source>>,
    limited: &mut bool,
) -> Next {
    let refused = match &route.policy {
        Some(policy) => refused_by(x, policy),
        None if host.has_policies => refused_by_host(x),
        None => None,
    };
    if let Some(wrong) = refused {
        return Next::Error(wrong);
    }
    match steps::run(&route.steps, x) {
        Outcome::Continue | Outcome::Stay => {}
        Outcome::Changed => return again(x, false),
        Outcome::Respond(fixed) => return respond_fixed(x, &fixed),
        Outcome::Redirect(status, to) => return Next::Answer(respond::redirect(status, &to, x)),
        Outcome::Invalid => return invalid_path(x),
    }
    if !*limited {
        *limited = true;
        if let Some(wrong) = limits(x, route).await {
            return Next::Error(wrong);
        }
    }
    if let Some(wrong) = access(x, route).await {
        return Next::Error(wrong);
    }
    if !route.methods.is_empty() && !route.methods.contains(&x.request.method) {
        refuse(x, &refusals::REQUEST_INVALID, "this method is not taken here");
        return Next::Error(Wrong::new(405));
    }
    if let Some(length) = content_length(x)
        && length > route.body_bytes
    {
        refuse(x, &refusals::BODY_TOO_LARGE, "the announced body is larger than allowed");
        return Next::Error(Wrong::new(413));
    }
    if let Some(fixed) = &route.respond {
        return respond_fixed(x, fixed);
    }
    if let Some(proxy) = &route.proxy {
        if x.shut {
            // The page about a refusal may be a file or a text. From a service it would be a request of the
            // refused client, and not a byte of that reaches a service (invariant 1).
            let shown = x.error_shown.unwrap_or(403);
            return Next::Error(Wrong { shown, ..Wrong::new(x.error.unwrap_or(shown)) });
        }
        let source = source.filter(|source| !source.is_empty() && x.error.is_none());
        if let Some(source) = source {
            source.limit(route.body_bytes);
        }
        return proxied(x, route, proxy, source.map(Arc::clone)).await;
    }
    if let Some(site) = &route.files {
        return from_files(x, host, site);
    }
    not_found(x)
}

async fn proxied(
    x: &mut Exchange,
    route: &RouteSite,
    proxy: &forward::ProxySite,
    source: Option<Arc<Source>>,
) -> Next {
    let forwarded = forward::forward(x, proxy, source.clone()).await;
    if let Some(source) = &source {
        x.answer.request_body_bytes = source.seen();
    }
    match forwarded {
        Ok(mut response) => {
            if x.site().keep_headers {
                x.answer.upstream_headers = Some(response.headers().clone());
            }
            let status = response.status().as_u16();
            if status == 101 {
                let idle = x.connection.listener.timeouts().tcp_idle.0;
                return Next::Answer(upgrade::join(x, response, idle));
            }
            if proxy.intercept_errors
                && status >= 300
                && x.error.is_none()
                && route.error_pages.find(status, status, x).is_some()
            {
                return Next::Error(Wrong::new(status));
            }
            super::headers::from_service(response.headers_mut(), &proxy.hidden);
            super::headers::rewrite_redirect(response.headers_mut(), &proxy.redirects, x);
            Next::Answer(response)
        }
        Err(failure) => {
            if refusals::ALL.iter().any(|code| std::ptr::eq(*code, failure.code)) {
                refuse(x, failure.code, &failure.detail);
            } else {
                fail(x, failure.code, failure.detail);
            }
            Next::Error(Wrong::new(failure.status))
        }
    }
}

fn from_files(x: &mut Exchange, host: &HostSite, site: &files::FilesSite) -> Next {
    let before = x.route;
    match site.find(x) {
        Found::File(name) => match files::serve(site, &name, x) {
            Ok(response) => Next::Answer(response),
            Err(404) => not_found(x),
            Err(status) => Next::Error(Wrong::new(status)),
        },
        Found::List(name) => match files::list(&name, x) {
            Ok(response) => Next::Answer(response),
            Err(status) => Next::Error(Wrong::new(status)),
        },
        Found::Status(404) => not_found(x),
        Found::Status(status) if status >= 400 => Next::Error(Wrong::new(status)),
        Found::Status(status) => Next::Answer(respond::page(status)),
        Found::Named(name) => named(x, host, &name),
        Found::Internal(target, query) => {
            let Ok(target) = path::normalize_decoded(&target) else { return invalid_path(x) };
            x.set_path(target);
            if query.is_some() {
                x.query = query;
            }
            x.route = before;
            again(x, true)
        }
    }
}

fn named(x: &mut Exchange, host: &HostSite, name: &str) -> Next {
    x.internal = true;
    x.redirects += 1;
    match host.named.get(name) {
        Some(_) if x.redirects > MOST_REDIRECTS => cycle(x),
        Some(route) => Next::Named(*route),
        None => {
            fail(x, &refusals::ROUTE_NOT_FOUND, format!("there is no route @{name}"));
            Next::Error(Wrong::new(500))
        }
    }
}

fn again(x: &mut Exchange, steps: bool) -> Next {
    x.redirects += 1;
    if x.redirects > MOST_REDIRECTS { cycle(x) } else { Next::Search { steps } }
}

fn cycle(x: &mut Exchange) -> Next {
    fail(x, &serving::REDIRECT_CYCLE, "rewrites or internal redirects go in a circle".to_owned());
    x.error = Some(500);
    Next::Answer(respond::page(500))
}

fn not_found(x: &mut Exchange) -> Next {
    if x.answer.code.is_none() && x.route.is_none() {
        x.answer.code = Some(&refusals::ROUTE_NOT_FOUND);
    }
    Next::Error(Wrong::new(404))
}

fn invalid_path(x: &mut Exchange) -> Next {
    refuse(x, &refusals::REQUEST_INVALID, "the path leaves the root");
    Next::Error(Wrong::new(400))
}

fn respond_fixed(x: &Exchange, fixed: &RespondSite) -> Next {
    match fixed.status {
        444 => Next::Cut,
        status if status >= 400 && fixed.body.fixed() == Some("") => Next::Error(Wrong::new(status)),
        _ => Next::Answer(respond::fixed(fixed, x)),
    }
}

async fn limits(x: &mut Exchange, route: &RouteSite) -> Option<Wrong> {
    for limit in &route.rate_limits {
        match limit.take(x) {
            Rate::Pass => {}
            Rate::Delay(span) => tokio::time::sleep(span).await,
            Rate::Refuse => {
                refuse(x, &refusals::TOO_MANY_REQUESTS, "above the route's rate");
                return Some(Wrong::new(limit.status));
            }
        }
    }
    for limit in &route.connection_limits {
        match limit.take(x) {
            Ok(place) => x.places.extend(place),
            Err(Full) => {
                refuse(x, &refusals::TOO_MANY_CONNECTIONS, "too many requests at one time");
                return Some(Wrong::new(limit.status));
            }
        }
    }
    None
}

async fn access(x: &mut Exchange, route: &RouteSite) -> Option<Wrong> {
    let address = x.remote_ip();
    if let Some((false, _)) = route.addresses.iter().find(|(_, network)| network.contains(address)) {
        refuse(x, &refusals::ADDRESS_DENIED, "an address rule of the route");
        return Some(Wrong::new(403));
    }
    let auth = route.auth.as_ref()?;
    let realm = auth.realm.expand(x).into_owned();
    if realm == "off" {
        return None;
    }
    let user = auth.user(&x.request.headers).await;
    if user.is_some() {
        x.user = user;
        return None;
    }
    if x.request.headers.contains_key(header::AUTHORIZATION) {
        refuse(x, &refusals::CREDENTIALS_DENIED, "the user or the password is wrong");
    } else {
        // The first request of every browser: not worth a line of its own.
        x.answer.code = Some(&refusals::CREDENTIALS_DENIED);
    }
    let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
    x.challenge = HeaderValue::try_from(format!("Basic realm=\"{realm}\"")).ok();
    Some(Wrong::new(401))
}

fn content_length(x: &Exchange) -> Option<u64> {
    x.request.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// An error: its page if there is one, else the plain one.
fn error(x: &mut Exchange, host: &HostSite, wrong: Wrong) -> Next {
    let first = x.error.is_none();
    let pages = x.route.map_or(&host.error_pages, |route| &host.routes[route].error_pages);
    let shown = if first { pages.find(wrong.status, wrong.shown, x) } else { None };
    x.error = Some(wrong.status);
    match shown {
        None => {
            x.error_shown = None;
            if let Some(page) = wrong.page {
                return Next::Answer(respond::answer(wrong.shown, "text/html; charset=utf-8", page));
            }
            // The page of a bad certificate says 400, as nginx does; under another status it would contradict it.
            let status = if wrong.shown == 400 { wrong.status } else { wrong.shown };
            let mut response = respond::page(status);
            if let Ok(status) = http::StatusCode::from_u16(wrong.shown) {
                *response.status_mut() = status;
            }
            Next::Answer(response)
        }
        Some(Shown::Redirect { status, to }) => Next::Answer(respond::redirect(status, &to, x)),
        Some(Shown::Named { name, status }) => {
            x.error_shown = status;
            named(x, host, &name)
        }
        Some(Shown::Path { path, status }) => {
            x.error_shown = status;
            let (path, query) = path.split_once('?').unwrap_or((&path, ""));
            let Ok(path) = path::normalize_decoded(path) else { return invalid_path(x) };
            let query = query.to_owned();
            x.set_path(path);
            x.query = Some(query);
            if x.request.method != Method::HEAD {
                x.request.method = Method::GET;
            }
            again(x, true)
        }
    }
}

/// Notes why a request is refused: one log line, one metric, one code (invariant 2).
pub fn refuse(x: &mut Exchange, code: &'static Code, detail: &str) {
    x.answer.code = Some(code);
    x.answer.evidence = Some(detail.to_owned());
    let facts = Facts { path: Some(x.path()), ..Facts::of(&x.connection, detail) };
    refusal::request(&x.connection.listener, code, &facts);
}

/// Notes why a request failed through no fault of the client.
fn fail(x: &mut Exchange, code: &'static Code, detail: String) {
    tracing::warn!(
        code = code.id,
        reason = code.label,
        listener = &*x.connection.listener.name,
        host = x.authority,
        path = x.path(),
        upstream = x.answer.attempts.last().map(|attempt| &*attempt.address),
        detail,
        "failed: {}",
        code.title
    );
    x.answer.code = Some(code);
    x.answer.evidence = Some(detail);
}
