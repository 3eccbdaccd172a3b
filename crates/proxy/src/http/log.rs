//! The line that each request leaves in the access log, and what it counts.

use std::fmt::Write as _;
use std::sync::Arc;

use model::codes::serving;
use model::snapshot::{AccessLog, LogFormat};

use super::body::BodyError;
use super::exchange::Exchange;
use super::forward::with_sources;
use super::site::Compile;
use super::text::Text;
use super::variables::{self, Variable, protocol};
use crate::access_log::Sink;
use crate::error::Error;

/// Where and how requests are logged.
pub struct RequestLog {
    sink: Option<Arc<Sink>>,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Json,
    Text,
    Template(Text),
    JsonTemplate(Text),
}

impl std::fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestLog").field("format", &self.format).finish_non_exhaustive()
    }
}

impl RequestLog {
    /// Opens a log; the snapshot's where none is given.
    pub fn new(log: Option<&AccessLog>, compile: &mut Compile<'_, '_>) -> Result<Arc<Self>, Error> {
        let snapshot = Arc::clone(compile.assembly.snapshot);
        let log = log.unwrap_or(&snapshot.access_log);
        let format = match &log.format {
            LogFormat::Json => Format::Json,
            LogFormat::Text => Format::Text,
            LogFormat::Template(template) => Format::Template(compile.text(template)),
            LogFormat::JsonTemplate(template) => Format::JsonTemplate(compile.text(template)),
        };
        Ok(Arc::new(Self { sink: compile.assembly.log(log)?, format }))
    }
}

/// A request has ended: its line is written, it is counted. Called once, when the exchange goes.
pub fn finish(x: &mut Exchange) {
    if x.answer.status == 0 {
        // The client went away before there was an answer.
        x.answer.status = 499;
    }
    let (log, metrics) = match x.route_site() {
        Some(route) => (&route.log, &route.metrics),
        None => (&x.host_site().log, &x.host_site().metrics),
    };
    metrics.request(x.answer.status, x.started.elapsed());
    let Some(sink) = &log.sink else { return };
    let mut line = String::with_capacity(512);
    match &log.format {
        Format::Json => json(x, &mut line),
        Format::Text => text(x, &mut line),
        Format::Template(text) => text.expand_with(x, &mut line, escape_nginx),
        Format::JsonTemplate(text) => text.expand_with(x, &mut line, escape_json),
    }
    sink.write(line.as_bytes());
}

/// An answer's body failed on its way: the client's connection is cut, and here is why.
pub fn body_failed(x: &mut Exchange, error: &BodyError) {
    let code = match error {
        BodyError::Truncated(_) => &serving::UPSTREAM_TRUNCATED,
        BodyError::UpstreamSlow => &serving::UPSTREAM_TIMEOUT,
        _ => &serving::FILE_FAILED,
    };
    tracing::warn!(
        code = code.id,
        reason = code.label,
        listener = &*x.connection.listener.name,
        host = x.authority,
        path = x.path(),
        upstream = x.answer.attempts.last().map(|attempt| &*attempt.address),
        sent = x.answer.body_bytes,
        detail = with_sources(error),
        "failed: {}",
        code.title
    );
    x.answer.code = Some(code);
}

fn json(x: &Exchange, out: &mut String) {
    let mut field = |name: &str, value: &str| {
        out.push_str(if out.is_empty() { "{\"" } else { ",\"" });
        out.push_str(name);
        out.push_str("\":\"");
        escape_json(value, out);
        out.push('"');
    };
    field("time", &variables::Variable::TimeIso8601.value(x));
    field("listener", &x.connection.listener.name);
    field("peer", &Variable::RemoteAddr.value(x));
    field("host", &x.authority);
    field("method", x.request.method.as_str());
    field("path", x.request_target());
    field("protocol", protocol(x.request.version));
    if let Some(tls) = &x.connection.tls {
        field("tls", variables::version_name(tls.version));
    }
    if let Some(peer) = &x.peer {
        field("identity", peer.name());
        field("serial", &peer.serial);
        field("verified", if peer.verification.is_trusted() { "yes" } else { "no" });
    }
    if let Some(user) = &x.user {
        field("user", user);
    }
    if !x.answer.attempts.is_empty() {
        field("upstream", &Variable::UpstreamAddr.value(x));
        field("upstream_status", &Variable::UpstreamStatus.value(x));
    }
    for (name, header) in [("user_agent", http::header::USER_AGENT), ("referer", http::header::REFERER)] {
        if let Some(value) = x.request.headers.get(header) {
            field(name, &String::from_utf8_lossy(value.as_bytes()));
        }
    }
    if let Some(code) = x.answer.code {
        field("code", code.id);
        field("reason", code.label);
    }
    let _ = write!(
        out,
        ",\"status\":{},\"bytes\":{},\"seconds\":{}",
        x.answer.status,
        x.answer.body_bytes,
        variables::seconds(x.started.elapsed())
    );
    if let Some(attempt) = x.answer.attempts.last() {
        let _ = write!(out, ",\"upstream_seconds\":{}", variables::seconds(attempt.header));
    }
    out.push_str(if x.answer.complete { "}" } else { ",\"complete\":false}" });
}

fn text(x: &Exchange, out: &mut String) {
    let _ = write!(
        out,
        "{} {} {} {}B {}s {} {} ",
        Variable::TimeIso8601.value(x),
        Variable::RemoteAddr.value(x),
        x.answer.status,
        x.answer.body_bytes,
        variables::seconds(x.started.elapsed()),
        x.request.method,
        if x.authority.is_empty() { "-" } else { &x.authority },
    );
    escape_nginx(x.request_target(), out);
    if let Some(peer) = &x.peer {
        out.push_str(" as ");
        escape_nginx(peer.name(), out);
    }
    if let Some(attempt) = x.answer.attempts.last() {
        let _ = write!(out, " via {}", attempt.address);
    }
    if let Some(code) = x.answer.code {
        let _ = write!(out, " {} {}", code.id, code.label);
    }
}

/// nginx's escaping: quotes, backslashes, control bytes and non-ASCII as `\xXX`; an empty value is `-`.
fn escape_nginx(value: &str, out: &mut String) {
    if value.is_empty() {
        out.push('-');
    }
    for byte in value.bytes() {
        if byte == b'"' || byte == b'\\' || !(32..127).contains(&byte) {
            let _ = write!(out, "\\x{byte:02X}");
        } else {
            out.push(byte as char);
        }
    }
}

fn escape_json(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}
