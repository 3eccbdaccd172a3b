//! A file as an answer: conditions (RFC 9110, section 13), ranges, a compressed copy beside it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::body::{FileBody, Segment};
use super::open::{self, Kind, Opened};
use super::ranges::{self, Wanted};
use super::{FilesSite, listing};
use crate::http::body::Kind as Body;
use crate::http::compress::{self, Coding};
use crate::http::exchange::{Exchange, with_query};
use crate::http::{path, respond};

/// When a file was changed: an extension of answers, for `Expires` that counts from there.
#[derive(Clone, Copy, Debug)]
pub struct Changed(pub SystemTime);

/// The answer for a file (or folder: a redirect), or the status of an error.
pub fn serve(site: &FilesSite, name: &Path, x: &Exchange) -> Result<Response<Body>, u16> {
    let boundary = site.boundary(x);
    let opened = open::open(name, boundary.as_deref()).map_err(status_of)?;
    match open::of(&opened.metadata) {
        Kind::File => {}
        Kind::Folder => {
            let to = with_query(&format!("{}/", path::encode(x.path())), x.query());
            return Ok(respond::redirect(301, &to, x));
        }
        _ => return Err(403),
    }
    let content_type = site.types.of(x.path());
    let (opened, coding) = site
        .compressed(name, boundary.as_deref(), x)
        .map_or((opened, None), |(file, coding)| (file, Some(coding)));
    let mut answer = if x.error.is_some() && !matches!(x.error_shown, None | Some(200)) {
        error_page(site, opened, &content_type)
    } else {
        send(site, opened, &content_type, x, coding.is_none())
    };
    if site.precompressed && answer.status() != StatusCode::PRECONDITION_FAILED {
        compress::vary(answer.headers_mut());
        if let Some(coding) = coding {
            answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
        }
    }
    Ok(answer)
}

/// The answer that lists a folder.
pub(in crate::http) fn list(name: &Path, x: &Exchange) -> Result<Response<Body>, u16> {
    listing::page(name, x.path())
        .map(|html| respond::answer(200, "text/html; charset=utf-8", html))
        .map_err(|_| 403)
}

fn status_of(kind: Kind) -> u16 {
    match kind {
        Kind::Forbidden | Kind::Other => 403,
        Kind::Exhausted => 503,
        _ => 404,
    }
}

impl FilesSite {
    fn compressed(&self, name: &Path, boundary: Option<&Path>, x: &Exchange) -> Option<(Opened, Coding)> {
        if !self.precompressed {
            return None;
        }
        let beside = |coding: Coding| {
            let suffix = if coding == Coding::Brotli { "br" } else { "gz" };
            let mut beside = name.as_os_str().to_owned();
            beside.push(".");
            beside.push(suffix);
            let opened = open::open(&PathBuf::from(beside), boundary).ok()?;
            opened.metadata.is_file().then_some(opened)
        };
        let headers = &x.request.headers;
        let best = compress::negotiate(headers, true, true)?;
        if let Some(opened) = beside(best) {
            return Some((opened, best));
        }
        let other = compress::negotiate(headers, best != Coding::Brotli, best != Coding::Gzip)?;
        beside(other).map(|opened| (opened, other))
    }
}

/// A file whole.
fn all(opened: Opened, content_type: &HeaderValue) -> Response<Body> {
    let size = opened.metadata.len();
    let body = FileBody::new(opened.file, [Segment::File { at: 0, length: size }]);
    let mut answer = Response::new(Body::File(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
    answer.headers_mut().insert(header::CONTENT_LENGTH, size.into());
    answer
}

/// The page of an error, which has no conditions, no ranges and no date of its own.
fn error_page(site: &FilesSite, opened: Opened, content_type: &HeaderValue) -> Response<Body> {
    let (_, seconds, etag) = marks(site, &opened);
    let changed = Changed(UNIX_EPOCH + Duration::from_secs(seconds));
    let mut answer = all(opened, content_type);
    if let Some(etag) = etag {
        insert_text(answer.headers_mut(), header::ETAG, &etag);
    }
    answer.extensions_mut().insert(changed);
    answer
}

/// When a file was changed, also in seconds, and its ETag.
fn marks(site: &FilesSite, opened: &Opened) -> (SystemTime, u64, Option<String>) {
    let changed = opened.metadata.modified().unwrap_or(UNIX_EPOCH);
    let seconds = changed.duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or(0);
    let etag = site.etag.then(|| format!("\"{seconds:x}-{:x}\"", opened.metadata.len()));
    (changed, seconds, etag)
}

/// A file, as far as the request wants it. A compressed copy is not read in `parts`, as in nginx.
fn send(
    site: &FilesSite,
    opened: Opened,
    content_type: &HeaderValue,
    x: &Exchange,
    parts: bool,
) -> Response<Body> {
    let size = opened.metadata.len();
    let (changed, seconds, etag) = marks(site, &opened);
    let last_modified = crate::http::variables::http_date(changed);
    let validators = |headers: &mut HeaderMap| {
        if let Ok(value) = HeaderValue::try_from(last_modified.as_str()) {
            headers.insert(header::LAST_MODIFIED, value);
        }
        if let Some(value) = etag.as_deref().and_then(|etag| HeaderValue::try_from(etag).ok()) {
            headers.insert(header::ETAG, value);
        }
    };
    match condition(&x.request.headers, &x.request.method, etag.as_deref(), seconds) {
        Condition::Go => {}
        Condition::NotModified => {
            let mut answer = Response::new(Body::Empty);
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            validators(answer.headers_mut());
            answer.extensions_mut().insert(Changed(changed));
            return answer;
        }
        Condition::Failed => return respond::page(412),
    }
    let wanted = match x.request.headers.get(header::RANGE).and_then(|value| value.to_str().ok()) {
        Some(range)
            if parts
                && x.request.method == Method::GET
                && if_range(&x.request.headers, etag.as_deref(), seconds) =>
        {
            ranges::parse(range, size)
        }
        _ => Wanted::All,
    };
    let in_parts = matches!(wanted, Wanted::Ranges(_));
    let mut answer = match wanted {
        Wanted::Nothing => {
            let mut answer = respond::page(416);
            insert_text(answer.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
            return answer;
        }
        Wanted::All => all(opened, content_type),
        Wanted::Ranges(list) => partial(opened, &list, size, content_type),
    };
    let headers = answer.headers_mut();
    validators(headers);
    if parts && !in_parts {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    answer.extensions_mut().insert(Changed(changed));
    answer
}

fn partial(opened: Opened, list: &[(u64, u64)], size: u64, content_type: &HeaderValue) -> Response<Body> {
    let of = |at: u64, length: u64| format!("bytes {at}-{}/{size}", at + length - 1);
    let mut answer = if let [(at, length)] = list {
        let body = FileBody::new(opened.file, [Segment::File { at: *at, length: *length }]);
        let mut answer = Response::new(Body::File(body));
        answer.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
        insert_text(answer.headers_mut(), header::CONTENT_RANGE, &of(*at, *length));
        answer
    } else {
        let boundary = format!("{:020}", rand::random::<u64>());
        let mut segments = Vec::new();
        for (at, length) in list {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
                content_type.to_str().unwrap_or("application/octet-stream"),
                of(*at, *length)
            );
            segments.push(Segment::Bytes(head.into()));
            segments.push(Segment::File { at: *at, length: *length });
        }
        segments.push(Segment::Bytes(format!("\r\n--{boundary}--\r\n").into()));
        let mut answer = Response::new(Body::File(FileBody::new(opened.file, segments)));
        insert_text(
            answer.headers_mut(),
            header::CONTENT_TYPE,
            &format!("multipart/byteranges; boundary={boundary}"),
        );
        answer
    };
    *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    if let Body::File(body) = answer.body() {
        let length = body.size();
        answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    answer
}

fn insert_text(headers: &mut HeaderMap, name: header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

enum Condition {
    Go,
    NotModified,
    Failed,
}

/// The conditions of a request, in the order of RFC 9110, section 13.2.2.
fn condition(headers: &HeaderMap, method: &Method, etag: Option<&str>, changed: u64) -> Condition {
    if headers.contains_key(header::IF_MATCH) {
        if !names(headers, header::IF_MATCH, etag, false) {
            return Condition::Failed;
        }
    } else if let Some(since) = date(headers, header::IF_UNMODIFIED_SINCE)
        && changed > since
    {
        return Condition::Failed;
    }
    let reading = matches!(*method, Method::GET | Method::HEAD);
    if headers.contains_key(header::IF_NONE_MATCH) {
        if names(headers, header::IF_NONE_MATCH, etag, true) {
            return if reading { Condition::NotModified } else { Condition::Failed };
        }
    } else if let Some(since) = date(headers, header::IF_MODIFIED_SINCE)
        && reading
        && changed == since
    {
        return Condition::NotModified;
    }
    Condition::Go
}

/// Whether a list of ETags names this one; `weak`: a weak one will do.
fn names(headers: &HeaderMap, name: header::HeaderName, etag: Option<&str>, weak: bool) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).any(
        |item| {
            let item = item.trim();
            if item == "*" {
                return true;
            }
            let item = if weak { item.strip_prefix("W/").unwrap_or(item) } else { item };
            Some(item) == etag
        },
    )
}

fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    let time = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    Some(time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs())
}

/// Whether ranges hold: no If-Range, or one that names this very file (strong ETag, exact date).
fn if_range(headers: &HeaderMap, etag: Option<&str>, changed: u64) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    let Ok(text) = value.to_str() else { return false };
    if text.starts_with('"') || text.starts_with("W/") {
        Some(text) == etag
    } else {
        date(headers, header::IF_RANGE) == Some(changed)
    }
}
