//! The variables of templates, with nginx's names and values (docs/variables.md lists them).
//! Names are resolved by [`Variable::new`] when a snapshot is compiled; values are read per request.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

use super::exchange::{Attempt, Exchange};
use super::path;
use super::text::Names;

mod clock;
#[cfg(test)]
mod tests;
mod tls;

pub use clock::{http_date, log_time};
pub(crate) use tls::pem;
pub use tls::{TlsVariable, peer_pem, verify_text, version_name};

/// A variable whose name is resolved.
#[derive(Debug, Clone)]
pub enum Variable {
    /// `$host`: the name in the request, else the host's own.
    Host,
    /// `$uri`, `$document_uri`.
    Uri,
    /// `$request_uri`.
    RequestUri,
    /// `$args`, `$query_string`.
    Args,
    /// `$is_args`.
    IsArgs,
    /// `$arg_NAME`.
    Arg(Box<str>),
    /// `$http_NAME`, `$content_type`, `$content_length`.
    Header(HeaderName),
    /// `$cookie_NAME`.
    Cookie(Box<str>),
    /// `$sent_http_NAME`.
    SentHeader(HeaderName),
    /// `$upstream_http_NAME`.
    UpstreamHeader(HeaderName),
    /// `$remote_addr`.
    RemoteAddr,
    /// `$binary_remote_addr`: a key for limits; the address as text.
    RemotePort,
    /// `$remote_user`.
    RemoteUser,
    /// `$server_addr`.
    ServerAddr,
    /// `$server_port`.
    ServerPort,
    /// `$server_name`.
    ServerName,
    /// `$server_protocol`.
    ServerProtocol,
    /// `$scheme`.
    Scheme,
    /// `$https`: `on` or empty.
    Https,
    /// `$request_method`.
    RequestMethod,
    /// `$request`: the request line.
    Request,
    /// `$request_id`: 32 hexadecimal digits.
    RequestId,
    /// `$request_time`, in seconds with milliseconds.
    RequestTime,
    /// `$request_length`: bytes of line, headers and body.
    RequestLength,
    /// `$request_completion`: `OK` or empty.
    RequestCompletion,
    /// `$status`.
    Status,
    /// `$body_bytes_sent`.
    BodyBytesSent,
    /// `$bytes_sent`: body and an estimate of the headers.
    BytesSent,
    /// `$time_iso8601`.
    TimeIso8601,
    /// `$time_local`, in UTC.
    TimeLocal,
    /// `$msec`.
    Msec,
    /// `$connection`.
    Connection,
    /// `$connection_requests`.
    ConnectionRequests,
    /// `$pid`.
    Pid,
    /// `$hostname`.
    Hostname,
    /// `$proxy_add_x_forwarded_for`.
    ProxyAddXForwardedFor,
    /// `$proxy_host`.
    ProxyHost,
    /// `$proxy_port`.
    ProxyPort,
    /// `$upstream_addr`.
    UpstreamAddr,
    /// `$upstream_status`.
    UpstreamStatus,
    /// `$upstream_connect_time`.
    UpstreamConnectTime,
    /// `$upstream_header_time`.
    UpstreamHeaderTime,
    /// `$upstream_response_time`.
    UpstreamResponseTime,
    /// `$upstream_response_length`, `$upstream_bytes_received`.
    UpstreamResponseLength,
    /// `$document_root`.
    DocumentRoot,
    /// `$request_filename`.
    RequestFilename,
    /// `$handfast_code`: why the request was refused or failed.
    Code,
    /// `$ssl_…`.
    Tls(TlsVariable),
    /// `$0` to `$9`.
    Capture(usize),
    /// A variable that was set.
    Slot(u16),
    /// A named capture.
    Named(u16),
    /// A map, by its number.
    Map(usize),
    /// A constant, such as `$nginx_version`.
    Fixed(&'static str),
}

impl Variable {
    /// Resolves a name (without `$`). The snapshot's own names come first, so that a `map` may replace one.
    pub fn new(name: &str, names: &Names) -> Self {
        if let Some(map) = names.map(name) {
            return Self::Map(map);
        }
        if let Some(slot) = names.slot(name) {
            return if names.is_capture(name) { Self::Named(slot) } else { Self::Slot(slot) };
        }
        Self::builtin(name).unwrap_or(Self::Fixed(""))
    }

    /// Resolves one of the names that exist without being defined; `None` where there is none of this name.
    pub fn builtin(name: &str) -> Option<Self> {
        if let [digit @ b'0'..=b'9'] = name.as_bytes() {
            return Some(Self::Capture(usize::from(digit - b'0')));
        }
        if let Some(tls) = name.strip_prefix("ssl_") {
            return TlsVariable::named(tls).map(Self::Tls);
        }
        let header = |rest: &str| HeaderName::try_from(rest.replace('_', "-")).ok();
        if let Some(rest) = name.strip_prefix("http_") {
            return header(rest).map(Self::Header);
        }
        if let Some(rest) = name.strip_prefix("sent_http_") {
            return header(rest).map(Self::SentHeader);
        }
        if let Some(rest) = name.strip_prefix("upstream_http_") {
            return header(rest).map(Self::UpstreamHeader);
        }
        if let Some(rest) = name.strip_prefix("arg_") {
            return Some(Self::Arg(rest.into()));
        }
        if let Some(rest) = name.strip_prefix("cookie_") {
            return Some(Self::Cookie(rest.into()));
        }
        Some(match name {
            "host" => Self::Host,
            "uri" | "document_uri" => Self::Uri,
            "request_uri" => Self::RequestUri,
            "args" | "query_string" => Self::Args,
            "is_args" => Self::IsArgs,
            "content_type" => Self::Header(header::CONTENT_TYPE),
            "content_length" => Self::Header(header::CONTENT_LENGTH),
            "remote_addr" | "binary_remote_addr" | "realip_remote_addr" | "proxy_protocol_addr" => {
                Self::RemoteAddr
            }
            "remote_port" | "realip_remote_port" | "proxy_protocol_port" => Self::RemotePort,
            "remote_user" => Self::RemoteUser,
            "server_addr" => Self::ServerAddr,
            "server_port" => Self::ServerPort,
            "server_name" => Self::ServerName,
            "server_protocol" => Self::ServerProtocol,
            "scheme" => Self::Scheme,
            "https" => Self::Https,
            "request_method" => Self::RequestMethod,
            "request" => Self::Request,
            "request_id" => Self::RequestId,
            "request_time" => Self::RequestTime,
            "request_length" => Self::RequestLength,
            "request_completion" => Self::RequestCompletion,
            "status" => Self::Status,
            "body_bytes_sent" => Self::BodyBytesSent,
            "bytes_sent" => Self::BytesSent,
            "time_iso8601" => Self::TimeIso8601,
            "time_local" => Self::TimeLocal,
            "msec" => Self::Msec,
            "connection" => Self::Connection,
            "connection_requests" => Self::ConnectionRequests,
            "pid" => Self::Pid,
            "hostname" => Self::Hostname,
            "proxy_add_x_forwarded_for" => Self::ProxyAddXForwardedFor,
            "proxy_host" => Self::ProxyHost,
            "proxy_port" => Self::ProxyPort,
            "upstream_addr" => Self::UpstreamAddr,
            "upstream_status" => Self::UpstreamStatus,
            "upstream_connect_time" => Self::UpstreamConnectTime,
            "upstream_header_time" => Self::UpstreamHeaderTime,
            "upstream_response_time" => Self::UpstreamResponseTime,
            "upstream_response_length" | "upstream_bytes_received" => Self::UpstreamResponseLength,
            "document_root" | "realpath_root" => Self::DocumentRoot,
            "request_filename" => Self::RequestFilename,
            "handfast_code" => Self::Code,
            "nginx_version" => Self::Fixed(env!("CARGO_PKG_VERSION")),
            "pipe" => Self::Fixed("."),
            _ => return None,
        })
    }

    /// Whether the value is a part of what a regular expression matched: of a decoded path, mostly.
    pub fn is_captured(&self) -> bool {
        matches!(self, Self::Capture(_) | Self::Named(_))
    }

    /// Whether the value needs the headers of an answer to be kept until its end.
    pub fn needs_sent_headers(&self) -> bool {
        matches!(self, Self::SentHeader(_) | Self::UpstreamHeader(_))
    }

    /// The value as a part of a path: as [`value`](Self::value), its bytes kept that are not UTF-8.
    pub fn path_value<'a>(&'a self, x: &'a Exchange) -> Cow<'a, str> {
        match self {
            Self::Uri => x.path().into(),
            Self::Capture(group) => x.captures.get(*group).map_or("", String::as_str).into(),
            Self::Slot(slot) | Self::Named(slot) => x.variable(*slot).into(),
            other => other.value(x),
        }
    }

    /// The value for a request; empty where it has none.
    pub fn value<'a>(&'a self, x: &'a Exchange) -> Cow<'a, str> {
        let request = &x.request;
        match self {
            Self::Host => {
                if x.authority.is_empty() {
                    x.host_site().name.as_str().into()
                } else {
                    x.authority.as_str().into()
                }
            }
            Self::Uri => path::shown(x.path()),
            Self::RequestUri => x.request_target().into(),
            Self::Args => x.query().into(),
            Self::IsArgs => if x.query().is_empty() { "" } else { "?" }.into(),
            Self::Arg(name) => argument(x.query(), name).into(),
            Self::Header(name) => request_header(x, name),
            Self::Cookie(name) => cookie(&request.headers, name),
            Self::SentHeader(name) => x.answer.headers.as_ref().map_or("".into(), |h| joined(h, name)),
            Self::UpstreamHeader(name) => {
                x.answer.upstream_headers.as_ref().map_or("".into(), |h| joined(h, name))
            }
            Self::RemoteAddr => match x.remote_ip() {
                Some(ip) => ip.to_string().into(),
                None => "unix:".into(),
            },
            Self::RemotePort => {
                x.connection.peer_addr.port().map_or("".into(), |port| port.to_string().into())
            }
            Self::RemoteUser => x.user.as_deref().unwrap_or("").into(),
            Self::ServerAddr => x.connection.local_addr.ip().map_or("".into(), |ip| ip.to_string().into()),
            Self::ServerPort => {
                x.connection.local_addr.port().map_or("".into(), |port| port.to_string().into())
            }
            Self::ServerName => x.host_site().name.as_str().into(),
            Self::ServerProtocol => protocol(request.version).into(),
            Self::Scheme => if x.is_tls() { "https" } else { "http" }.into(),
            Self::Https => if x.is_tls() { "on" } else { "" }.into(),
            Self::RequestMethod => request.method.as_str().into(),
            Self::Request => {
                format!("{} {} {}", request.method, x.request_target(), protocol(request.version)).into()
            }
            Self::RequestId => request_id(x).into(),
            Self::RequestTime => seconds(x.started.elapsed()).into(),
            Self::RequestLength => request_length(x).to_string().into(),
            Self::RequestCompletion => if x.answer.complete { "OK" } else { "" }.into(),
            Self::Status => format!("{:03}", x.answer.status_now()).into(),
            Self::BodyBytesSent => x.answer.body_bytes.to_string().into(),
            Self::BytesSent => {
                let head = x.answer.headers.as_ref().map_or(0, headers_length);
                (x.answer.body_bytes + head + 19).to_string().into()
            }
            Self::TimeIso8601 => clock::iso8601().into(),
            Self::TimeLocal => clock::log_time().into(),
            Self::Msec => clock::msec().into(),
            Self::Connection => x.connection.id.to_string().into(),
            Self::ConnectionRequests => x.serial.to_string().into(),
            Self::Pid => std::process::id().to_string().into(),
            Self::Hostname => clock::hostname().into(),
            Self::ProxyAddXForwardedFor => forwarded_for(x).into(),
            Self::ProxyHost => {
                x.route_site().and_then(|r| r.proxy.as_ref()).map_or("".into(), |p| p.host_name(x))
            }
            Self::ProxyPort => match x.route_site().and_then(|r| r.proxy.as_ref()) {
                Some(proxy) => proxy.port(x).into(),
                None => "".into(),
            },
            Self::UpstreamAddr => each_attempt(x, |a| a.address.to_string()),
            Self::UpstreamStatus => {
                each_attempt(x, |a| if a.status == 0 { "502".to_owned() } else { a.status.to_string() })
            }
            Self::UpstreamConnectTime => each_attempt(x, |a| seconds(a.connect)),
            Self::UpstreamHeaderTime => each_attempt(x, |a| seconds(a.header)),
            Self::UpstreamResponseTime => each_attempt(x, |a| seconds(a.started.elapsed())),
            Self::UpstreamResponseLength => each_attempt(x, |a| a.bytes.to_string()),
            Self::DocumentRoot => match x.route_site().and_then(|r| r.files.as_ref()) {
                Some(files) => files.document_root(x).into(),
                None => "".into(),
            },
            Self::RequestFilename => match x.route_site().and_then(|r| r.files.as_ref()) {
                Some(files) => files.file_name(x, x.path()).into(),
                None => "".into(),
            },
            Self::Code => x.answer.code.map_or("", |code| code.id).into(),
            Self::Tls(variable) => variable.value(x),
            Self::Capture(_) | Self::Slot(_) | Self::Named(_) => match self.path_value(x) {
                Cow::Borrowed(text) => path::shown(text),
                owned => owned,
            },
            Self::Map(number) => x.site().maps.value(*number, x),
            Self::Fixed(text) => (*text).into(),
        }
    }
}

/// `HTTP/1.1` and so on, with nginx's `HTTP/2.0`.
pub fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2.0",
        http::Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// Seconds with milliseconds.
pub fn seconds(span: std::time::Duration) -> String {
    format!("{}.{:03}", span.as_secs(), span.subsec_millis())
}

/// `X-Forwarded-For` as it came, with the client's address added.
pub fn forwarded_for(x: &Exchange) -> String {
    let address = Variable::RemoteAddr.value(x);
    let before = joined(&x.request.headers, &HeaderName::from_static("x-forwarded-for"));
    if before.is_empty() { address.into_owned() } else { format!("{before}, {address}") }
}

/// The value of a query's argument, raw, as nginx's `$arg_NAME`.
pub fn argument<'a>(query: &'a str, name: &str) -> &'a str {
    query
        .split('&')
        .find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
        .unwrap_or("")
}

fn request_header<'a>(x: &'a Exchange, name: &HeaderName) -> Cow<'a, str> {
    // HTTP/2 has the host in `:authority`; applications and logs look for it in Host.
    if name == header::HOST && !x.request.headers.contains_key(header::HOST) {
        return x.request.uri.authority().map_or("".into(), |a| a.as_str().into());
    }
    joined(&x.request.headers, name)
}

fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Cow<'a, str> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return "".into() };
    let mut text = String::from_utf8_lossy(first.as_bytes());
    let separator = if name == header::COOKIE { "; " } else { ", " };
    for value in values {
        let text = text.to_mut();
        text.push_str(separator);
        text.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Cow<'a, str> {
    for value in headers.get_all(header::COOKIE) {
        let Ok(text) = value.to_str() else { continue };
        for pair in text.split(';') {
            if let Some((key, value)) = pair.trim().split_once('=')
                && key.eq_ignore_ascii_case(name)
            {
                return value.to_owned().into();
            }
        }
    }
    "".into()
}

fn each_attempt<'a>(x: &Exchange, show: impl Fn(&Attempt) -> String) -> Cow<'a, str> {
    x.answer.attempts.iter().map(show).collect::<Vec<_>>().join(", ").into()
}

fn headers_length(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

fn request_length(x: &Exchange) -> u64 {
    let line = x.request.method.as_str().len() + x.request_target().len() + 12;
    line as u64 + headers_length(&x.request.headers) + 2 + x.answer.request_body_bytes
}

/// 32 hexadecimal digits that name one request: the connection's and its own place in time, hashed with a
/// secret of this process so that they cannot be guessed.
fn request_id(x: &Exchange) -> String {
    use std::hash::BuildHasher as _;
    use std::sync::OnceLock;
    static SECRETS: OnceLock<[std::hash::RandomState; 2]> = OnceLock::new();
    let secrets = SECRETS.get_or_init(|| [std::hash::RandomState::new(), std::hash::RandomState::new()]);
    let own = (x.connection.id, x.started, x.serial);
    format!("{:016x}{:016x}", secrets[0].hash_one(own), secrets[1].hash_one(own))
}
