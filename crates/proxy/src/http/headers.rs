//! Headers on their way through: hop-by-hop ones end here (RFC 9110, section 7.6.1), identity headers from
//! outside are stripped, the configured ones are set.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::exchange::Exchange;
use super::forward::ProxySite;
use super::identity;
use super::site::HeaderSite;
use super::text::Text;
use super::variables;

#[cfg(test)]
mod tests;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What tells a service of the client; from outside none of it is believed where ours is set.
const OF_FORWARDING: [HeaderName; 5] =
    [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, header::FORWARDED, HeaderName::from_static("x-real-ip")];

/// Whether a header is about one connection only.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || *name == header::TE
        || *name == header::TRAILER
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || *name == HTTP2_SETTINGS
}

/// Whether the Connection header names this one.
pub fn is_named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| has_token(value, name.as_str()))
}

/// Whether a comma list has a token, in any case.
pub fn has_token(value: &HeaderValue, token: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether any line of a header has a token.
pub fn any_has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| has_token(value, token))
}

/// Whether two names are one to an application that makes no difference between `-` and `_`.
fn folds_to(name: &HeaderName, plain: &HeaderName) -> bool {
    name == plain
        || (name.as_str().len() == plain.as_str().len()
            && name.as_str().contains('_')
            && name.as_str().replace('_', "-") == plain.as_str())
}

/// The headers of a request for a service, made anew for each try. `upgrade` is the protocol to switch to.
pub fn for_service(x: &Exchange, proxy: &ProxySite, http2: bool, upgrade: Option<&HeaderValue>) -> HeaderMap {
    let from = &x.request.headers;
    let mut to = HeaderMap::with_capacity(from.len() + proxy.headers.len() + 6);
    let connection = from.contains_key(header::CONNECTION);
    for (name, value) in from {
        if is_hop_by_hop(name)
            || *name == header::HOST
            || *name == header::EXPECT
            || identity::speaks_of_identity(name)
            || (!proxy.underscores && name.as_str().contains('_'))
            || (connection && is_named_by_connection(from, name))
            || proxy.headers.iter().any(|set| folds_to(name, &set.name))
            || (proxy.forwarded && OF_FORWARDING.iter().any(|set| folds_to(name, set)))
        {
            continue;
        }
        to.append(name.clone(), value.clone());
    }
    if !http2 {
        join_cookies(&mut to);
    }
    if proxy.forwarded {
        insert_text(&mut to, FORWARDED_FOR, &variables::forwarded_for(x));
        to.insert(FORWARDED_PROTO, HeaderValue::from_static(if x.is_tls() { "https" } else { "http" }));
        if let Some(host) = own_host(x) {
            to.insert(FORWARDED_HOST, host);
        }
    }
    identity::add(&mut to, proxy.identity, x.peer.as_ref());
    for (number, HeaderSite { name, value, .. }) in proxy.headers.iter().enumerate() {
        // Those about the connection are ours to say; a configured `Connection $connection_upgrade` is how
        // nginx is told to let upgrades through, which needs no telling here.
        if is_hop_by_hop(name) || *name == header::HOST {
            continue;
        }
        let text = value.expand(x);
        // A header that is configured twice is sent twice, as nginx does.
        match proxy.headers[..number].iter().any(|before| before.name == *name) {
            true => to.extend(header_value(&text).filter(|v| !v.is_empty()).map(|v| (name.clone(), v))),
            false => insert_text(&mut to, name.clone(), &text),
        }
    }
    if any_has_token(from, &header::TE, "trailers") {
        to.insert(header::TE, HeaderValue::from_static("trailers"));
        if !http2 {
            to.append(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    if let Some(protocol) = upgrade {
        to.insert(header::UPGRADE, protocol.clone());
        to.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if !http2 && let Some(host) = host_for_service(x, proxy) {
        to.insert(header::HOST, host);
    }
    to
}

/// The Host that a service sees: the configured one, else as it came.
pub fn host_for_service(x: &Exchange, proxy: &ProxySite) -> Option<HeaderValue> {
    let configured = proxy
        .host
        .as_ref()
        .or_else(|| proxy.headers.iter().find(|set| set.name == header::HOST).map(|set| &set.value));
    match configured {
        Some(text) => HeaderValue::try_from(&*text.expand(x)).ok().filter(|value| !value.is_empty()),
        None => own_host(x),
    }
}

/// HTTP/2 splits cookies into several lines; HTTP/1 has one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}

fn own_host(x: &Exchange) -> Option<HeaderValue> {
    x.request.headers.get(header::HOST).cloned().or_else(|| {
        x.request.uri.authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok())
    })
}

fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    match header_value(text) {
        Some(value) if !value.is_empty() => {
            headers.insert(name, value);
        }
        _ => {
            headers.remove(name);
        }
    }
}

/// A header's value. Control bytes, which would end the line, become spaces.
pub fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok().or_else(|| {
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        HeaderValue::from_bytes(clean.as_bytes()).ok()
    })
}

/// Strips what is about the service's own connection from an answer, and what the route hides. `Trailer`
/// stays: trailers are passed on.
pub fn from_service(headers: &mut HeaderMap, hidden: &[HeaderName]) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|item| HeaderName::from_bytes(item.trim_ascii()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(header::UPGRADE);
    headers.remove(header::TE);
    for name in hidden {
        headers.remove(name);
    }
}

/// Statuses on which nginx's `add_header` works without `always`.
fn is_plain_status(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
}

/// Adds the configured headers to an answer.
pub fn add_configured(headers: &mut HeaderMap, rules: &[HeaderSite], status: u16, x: &Exchange) {
    for rule in rules {
        if !rule.always && !is_plain_status(status) {
            continue;
        }
        let text = rule.value.expand(x);
        if text.is_empty() {
            continue;
        }
        let Some(value) = header_value(&text) else { continue };
        // Headers of which an answer has one are replaced, as nginx does; others stand beside.
        if rule.name == header::LAST_MODIFIED
            || rule.name == header::ETAG
            || rule.name == header::CONTENT_TYPE
        {
            headers.insert(rule.name.clone(), value);
        } else {
            headers.append(rule.name.clone(), value);
        }
    }
}

/// Rewrites Location and Refresh of an answer where they name the service (nginx: `proxy_redirect`).
pub fn rewrite_redirect(headers: &mut HeaderMap, rules: &[(Text, Text)], x: &Exchange) {
    if rules.is_empty() {
        return;
    }
    let Some(location) = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()) else { return };
    for (from, to) in rules {
        let from = from.expand(x);
        if let Some(rest) = location.strip_prefix(&*from) {
            let replaced = format!("{}{rest}", to.expand(x));
            if let Some(value) = header_value(&replaced) {
                headers.insert(header::LOCATION, value);
            }
            return;
        }
    }
}
