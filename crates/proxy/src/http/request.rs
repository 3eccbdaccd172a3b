//! Whether a request may be taken at all: what is ambiguous is refused before anything else looks at it.

use std::sync::atomic::Ordering::Relaxed;

use http::request::Parts;
use http::{Method, Version, header};
use model::codes::{Code, refusals};

use super::hosts::split_authority;
use super::path::{self, Normalized};
use super::pulse::Pulse;

#[cfg(test)]
mod tests;

/// What was found out about a request that may be taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The host it names, lower case, without port; empty where it names none (HTTP/1.0).
    pub authority: String,
    /// The path in its one form, where that is not the raw one.
    pub path: Option<String>,
    /// Dot segments were resolved: the raw target must not go upstream.
    pub dotted: bool,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// The stable code.
    pub code: &'static Code,
    /// One sentence.
    pub detail: &'static str,
}

fn refused(status: u16, detail: &'static str) -> Refused {
    Refused { status, code: &refusals::REQUEST_INVALID, detail }
}

/// Checks a request. `most` is the number of headers that it may have.
pub fn check(request: &Parts, pulse: &Pulse, most: usize) -> Result<Accepted, Refused> {
    let headers = &request.headers;
    if headers.len() > most {
        return Err(Refused { status: 431, code: &refusals::HEADERS_TOO_LARGE, detail: "too many headers" });
    }
    if let Some(encoding) = headers.get(header::TRANSFER_ENCODING) {
        // Its connection is closed after the answer: see `Parts` of HTTP/1 in serve.
        if pulse.ambiguous.load(Relaxed) {
            return Err(refused(400, "both Content-Length and Transfer-Encoding"));
        }
        let single = headers.get_all(header::TRANSFER_ENCODING).iter().count() == 1;
        if !single || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(refused(501, "a transfer coding other than chunked"));
        }
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err(refused(400, "both Content-Length and Transfer-Encoding"));
        }
    }
    if request.method == Method::CONNECT || request.method == Method::TRACE {
        return Err(refused(405, "this method is not taken here"));
    }
    let authority = authority(request)?;
    let raw = request.uri.path();
    if raw == "*" && request.method == Method::OPTIONS {
        return Ok(Accepted { authority, path: Some("/".to_owned()), dotted: false });
    }
    let Normalized { path, dotted } = path::normalize(raw).map_err(|error| {
        refused(
            400,
            match error {
                path::PathError::Escapes => "the path leaves the root",
                path::PathError::Ambiguous => "the path has an ambiguous dot segment",
                path::PathError::Nul => "the path has a NUL byte",
                path::PathError::Escape => "the path has a broken escape",
                path::PathError::Relative => "the path does not begin with /",
            },
        )
    })?;
    let path = match path {
        std::borrow::Cow::Borrowed(_) => None,
        std::borrow::Cow::Owned(path) => Some(path),
    };
    Ok(Accepted { authority, path, dotted })
}

/// The one host that a request names: in Host, in its target, or in both alike.
fn authority(request: &Parts) -> Result<String, Refused> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(refused(400, "several Host headers"));
    }
    let host = match host {
        Some(value) => Some(value.to_str().map_err(|_| refused(400, "the Host header is malformed"))?),
        None => None,
    };
    let target = request.uri.authority().map(|authority| authority.as_str());
    let named = match (host, target) {
        (Some(host), Some(target)) => {
            let malformed = |_| refused(400, "the host is malformed");
            let (a, b) =
                (split_authority(host).map_err(malformed)?, split_authority(target).map_err(malformed)?);
            if a != b {
                return Err(refused(400, "the Host header and the target name two hosts"));
            }
            host
        }
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) if request.version == Version::HTTP_11 => {
            return Err(refused(400, "no Host header"));
        }
        (None, None) => return Ok(String::new()),
    };
    let (name, _) = split_authority(named).map_err(|_| refused(400, "the host is malformed"))?;
    Ok(name.into_owned())
}
