//! Answers that are made here: fixed ones, redirects, errors.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::body::Kind;
use super::exchange::Exchange;
use super::path;
use super::site::RespondSite;

#[cfg(test)]
mod tests;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// An answer with a body that is here already.
pub fn answer(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Kind> {
    let mut response = Response::new(Kind::from(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Whether a status comes with a Location.
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// A configured answer: text, or a redirect. Without a body an error status gets its page.
pub fn fixed(respond: &RespondSite, x: &Exchange) -> Response<Kind> {
    x.answer.coming.store(respond.status, Relaxed);
    let text = respond.body.expand(x);
    if is_redirect(respond.status) {
        return redirect(respond.status, &text, x);
    }
    if text.is_empty() && respond.status >= 400 {
        return page(respond.status);
    }
    let mut response = answer(respond.status, "text/plain", text.into_owned());
    let by_suffix = respond.types.find(x.path()).or_else(|| respond.content_type.clone());
    let default = || x.route_site()?.files.as_ref()?.default_type();
    if let Some(content_type) = by_suffix.or_else(default) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

/// A redirect. A path is made absolute with the scheme, host and port that the client used.
pub fn redirect(status: u16, to: &str, x: &Exchange) -> Response<Kind> {
    let location = absolute(to, x);
    let mut response = page(status);
    if let Ok(value) = HeaderValue::try_from(path::encode_location(&location).as_ref()) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// A place as the client must write it.
pub fn absolute(to: &str, x: &Exchange) -> String {
    if !to.starts_with('/') || to.starts_with("//") {
        return to.to_owned();
    }
    let tls = x.is_tls();
    let scheme = if tls { "https" } else { "http" };
    let host = if x.authority.is_empty() { x.host_site().name.as_str() } else { x.authority.as_str() };
    if host.is_empty() {
        return to.to_owned();
    }
    match x.connection.local_addr.port() {
        Some(port) if port != if tls { 443 } else { 80 } => format!("{scheme}://{host}:{port}{to}"),
        _ => format!("{scheme}://{host}{to}"),
    }
}

/// The plain page of a status, in the form that people know from nginx.
pub fn page(status: u16) -> Response<Kind> {
    // 494 to 499 exist within only; the client gets 400 (497 and others as nginx does).
    let shown = match status {
        494..=497 => 400,
        other => other,
    };
    let title = title(status);
    let html = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n{more}<hr><center>handfast</center>\r\n</body>\r\n</html>\r\n",
        heading = match status {
            494..=497 => "400 Bad Request".to_owned(),
            _ => title.clone(),
        },
        more = match status {
            494 => "<center>Request Header Or Cookie Too Large</center>\r\n",
            495 => "<center>The SSL certificate error</center>\r\n",
            496 => "<center>No required SSL certificate was sent</center>\r\n",
            497 => "<center>The plain HTTP request was sent to HTTPS port</center>\r\n",
            _ => "",
        }
    );
    answer(shown, "text/html", html)
}

fn title(status: u16) -> String {
    match status {
        494 => "400 Request Header Or Cookie Too Large".to_owned(),
        495 => "400 The SSL certificate error".to_owned(),
        496 => "400 No required SSL certificate was sent".to_owned(),
        497 => "400 The plain HTTP request was sent to HTTPS port".to_owned(),
        // As nginx words them.
        401 => "401 Authorization Required".to_owned(),
        405 => "405 Not Allowed".to_owned(),
        408 => "408 Request Time-out".to_owned(),
        413 => "413 Request Entity Too Large".to_owned(),
        414 => "414 Request-URI Too Large".to_owned(),
        416 => "416 Requested Range Not Satisfiable".to_owned(),
        503 => "503 Service Temporarily Unavailable".to_owned(),
        504 => "504 Gateway Time-out".to_owned(),
        _ => match StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()) {
            Some(reason) => format!("{status} {reason}"),
            None => status.to_string(),
        },
    }
}

/// An error told to a gRPC client: HTTP 200 and a status of its own (trailers-only).
pub fn grpc(http_status: u16, message: &str) -> Response<Kind> {
    let status = match http_status {
        400 | 413 | 431 => 13,
        401 => 16,
        403 | 421 | 495 | 496 => 7,
        404 | 405 => 12,
        408 | 504 => 4,
        429 => 8,
        502 | 503 => 14,
        _ => 2,
    };
    let mut response = Response::new(Kind::Empty);
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(status));
    if let Ok(message) = HeaderValue::try_from(path::encode_location(message).as_ref()) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}
