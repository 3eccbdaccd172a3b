//! The last touches of every answer: configured headers, HSTS, Expires, compression, gRPC's form of errors.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Response, StatusCode, header};
use model::snapshot::Expires;

use super::body::Kind;
use super::exchange::Exchange;
use super::files::Changed;
use super::variables::http_date;
use super::{compress, headers, respond};

/// Finishes an answer.
pub fn finish(x: &mut Exchange, mut answer: Response<Kind>) -> Response<Kind> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        x.answer.status = 101;
        return answer;
    }
    if let Some(status) = x.error_shown.and_then(|status| StatusCode::from_u16(status).ok())
        && x.error.is_some()
    {
        *answer.status_mut() = status;
    }
    if let Some(challenge) = x.challenge.take()
        && answer.status() == StatusCode::UNAUTHORIZED
    {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(status) = x.error
        && x.is_grpc()
        && !matches!(answer.body(), Kind::Upstream(_))
    {
        let message = x.answer.code.map_or("refused", |code| code.title).to_owned();
        answer = respond::grpc(status, &message);
    }
    let status = answer.status().as_u16();
    let host = x.host_site();
    let route = x.route_site();
    if let Some(expires) = route.and_then(|route| route.expires)
        && matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
    {
        add_expires(&mut answer, expires);
    }
    let rules = route.map_or(&host.response_headers, |route| &route.response_headers);
    x.answer.coming.store(status, Relaxed);
    headers::add_configured(answer.headers_mut(), rules, status, x);
    if x.is_tls()
        && let Some(hsts) = &host.hsts
    {
        answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    if let Some(rules) = route.and_then(|route| route.compression.as_ref()) {
        answer = compress::apply(rules, &x.request.method, &x.request.headers, answer);
    }
    if compress::is_bodiless(answer.status()) {
        *answer.body_mut() = Kind::Empty;
    }
    x.answer.status = answer.status().as_u16();
    if x.site().keep_headers {
        x.answer.headers = Some(answer.headers().clone());
    }
    answer
}

fn add_expires(answer: &mut Response<Kind>, expires: Expires) {
    let now = SystemTime::now();
    let changed = answer.extensions().get::<Changed>().map(|changed| changed.0);
    let (date, cache) = match expires {
        Expires::Epoch => ("Thu, 01 Jan 1970 00:00:01 GMT".to_owned(), "no-cache".to_owned()),
        Expires::Max => ("Thu, 31 Dec 2037 23:55:55 GMT".to_owned(), "max-age=315360000".to_owned()),
        Expires::Past(span) => (http_date(now.checked_sub(span.0).unwrap_or(now)), "no-cache".to_owned()),
        Expires::In(span) => until(now, now, span.0),
        Expires::Modified(span) => until(now, changed.unwrap_or(now), span.0),
    };
    let headers = answer.headers_mut();
    if let (Ok(date), Ok(cache)) = (HeaderValue::try_from(date), HeaderValue::try_from(cache)) {
        headers.insert(header::EXPIRES, date);
        headers.insert(header::CACHE_CONTROL, cache);
    }
}

fn until(now: SystemTime, from: SystemTime, span: Duration) -> (String, String) {
    let at = from.checked_add(span).unwrap_or(now);
    let cache = match at.duration_since(now) {
        Ok(age) => {
            format!("max-age={}", (age + Duration::from_millis(999)).as_secs().min(span.as_secs().max(1)))
        }
        Err(_) => "no-cache".to_owned(),
    };
    (http_date(at), if span.is_zero() { "max-age=0".to_owned() } else { cache })
}
