//! How a connection ends, in the words of a refusal or an answer.

use std::fmt;
use std::io;

use crate::alert::Alert;

/// What came from the application once TLS stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP status, and the sentence of the body where it is short.
    Http(u16, Option<String>),
    /// Bytes that are not HTTP/1.
    Bytes,
    /// Nothing yet, but the connection stays open.
    Open,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The application answered.
    Answered(Answer),
    /// The server sent a fatal alert.
    Alert(Alert),
    /// The server closed without a word.
    Closed,
    /// The server reset the connection.
    Reset,
    /// Nothing came in time.
    Silent,
    /// The server speaks, but not TLS.
    NotTls(String),
    /// There was no TCP connection.
    Unreachable(String),
    /// This client gave up, with the reason.
    Local(String),
}

impl End {
    /// Whether the server let the client in: it answered, and not with a status that may refuse.
    pub fn is_accepted(&self) -> bool {
        matches!(self, End::Answered(_)) && !self.may_refuse()
    }

    /// Whether TLS ended it: an alert, or a connection that was closed without an answer.
    pub fn is_cut(&self) -> bool {
        matches!(self, End::Alert(_) | End::Closed | End::Reset)
    }

    /// Whether it is an HTTP status with which servers refuse a certificate. Applications answer so for reasons
    /// of their own: alone it proves nothing (see [`crate::test`]).
    pub fn may_refuse(&self) -> bool {
        self.status().is_some_and(|status| REFUSING.contains(&status))
    }

    /// Whether the answer itself says that it is about the certificate: nginx's own statuses and sentences.
    pub fn names_the_certificate(&self) -> bool {
        match self {
            End::Answered(Answer::Http(495 | 496, _)) => true,
            End::Answered(Answer::Http(400, Some(text))) => text.contains("SSL certificate"),
            _ => false,
        }
    }

    /// The alert, if it ended so.
    pub fn alert(&self) -> Option<Alert> {
        match self {
            End::Alert(alert) => Some(*alert),
            _ => None,
        }
    }

    /// The HTTP status, if one came.
    pub fn status(&self) -> Option<u16> {
        match self {
            End::Answered(Answer::Http(status, _)) => Some(*status),
            _ => None,
        }
    }
}

/// Statuses that may refuse a certificate: 400 and 495-497 by nginx, 403 and 421 by policy.
const REFUSING: [u16; 6] = [400, 403, 421, 495, 496, 497];

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Answered(Answer::Http(status, sentence)) => {
                let word = if self.may_refuse() { "refused" } else { "accepted" };
                write!(f, "{word}, HTTP {status}")?;
                match sentence {
                    Some(text) if self.may_refuse() => write!(f, " ({text})"),
                    _ => Ok(()),
                }
            }
            End::Answered(Answer::Bytes) => f.write_str("accepted, the application sent data"),
            End::Answered(Answer::Open) => f.write_str("accepted, the connection stays open"),
            End::Alert(alert) => write!(f, "refused, {alert}"),
            End::Closed => f.write_str("refused, closed without an alert"),
            End::Reset => f.write_str("refused, connection reset"),
            End::Silent => f.write_str("no answer in time"),
            End::NotTls(what) => write!(f, "the server does not speak TLS: {what}"),
            End::Unreachable(why) | End::Local(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return match tls {
                rustls::Error::AlertReceived(alert) => End::Alert(Alert(u8::from(*alert))),
                rustls::Error::InvalidMessage(message) => End::NotTls(format!("{message:?}")),
                other => End::Local(format!("this client gave up: {other}")),
            };
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => End::Closed,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                End::Reset
            }
            _ => End::Local(error.to_string()),
        }
    }
}

/// Judges what was read after the handshake; an HTTP answer counts even when an error followed it.
pub(super) fn of_bytes(seen: &[u8], error: Option<io::Error>) -> End {
    if let Some(status) = status(seen) {
        return End::Answered(Answer::Http(status, sentence(seen)));
    }
    match error {
        Some(error) if seen.is_empty() => End::from(error),
        _ if seen.is_empty() => End::Closed,
        _ => End::Answered(Answer::Bytes),
    }
}

/// Whether the head and (for an error page) some of the body are there.
pub(super) fn is_whole(seen: &[u8]) -> bool {
    let head = seen.windows(4).position(|window| window == b"\r\n\r\n");
    match (head, status(seen)) {
        (Some(at), Some(status)) if REFUSING.contains(&status) => seen.len() > at + 64,
        (Some(_), Some(_)) => true,
        _ => false,
    }
}

/// The status of an HTTP/1 answer.
pub(crate) fn status(seen: &[u8]) -> Option<u16> {
    let line = seen.strip_prefix(b"HTTP/1.")?;
    let digits = line.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

/// The words of a short error page: its markup taken out, one line, at most 90 characters.
pub(crate) fn sentence(seen: &[u8]) -> Option<String> {
    let at = seen.windows(4).position(|window| window == b"\r\n\r\n")?;
    let body = String::from_utf8_lossy(seen.get(at + 4..)?);
    // nginx says the reason in the title, after the status.
    let body = match (body.find("<title>"), body.find("</title>")) {
        (Some(start), Some(end)) if start < end => body.get(start + 7..end)?.to_owned(),
        _ => body.into_owned(),
    };
    let mut text = String::new();
    let mut in_tag = false;
    for c in body.chars() {
        match c {
            '<' => in_tag = true,
            '>' => in_tag = false,
            c if in_tag || (c.is_control() && !c.is_whitespace()) => {}
            c => text.push(c),
        }
    }
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(90).collect();
    (!text.is_empty()).then_some(text)
}
