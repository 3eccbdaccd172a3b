//! Where an endpoint is, and what its name resolves to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use model::codes::usage;

use crate::error::Error;

/// How long an answer of DNS is used. When it ends, the old answer serves until a new one is there.
const FRESH: Duration = Duration::from_secs(30);

/// An endpoint's address.
#[derive(Debug)]
pub struct Target {
    text: String,
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Socket(SocketAddr),
    Unix(PathBuf),
    Name { host: String, port: u16, known: Arc<Known> },
}

/// What a name resolved to last.
#[derive(Debug, Default)]
pub(super) struct Known {
    answer: ArcSwapOption<Answer>,
    asking: AtomicBool,
}

#[derive(Debug)]
struct Answer {
    addresses: Vec<SocketAddr>,
    until: Instant,
}

impl Target {
    /// Reads `host:port`, `[::1]:port` or `unix:/path`.
    ///
    /// # Errors
    ///
    /// When the text is none of these.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::new(
                &usage::USAGE,
                format!("{text:?} is not an endpoint's address: write host:port, [::1]:port or unix:/path"),
            )
        };
        let kind = if let Some(path) = text.strip_prefix("unix:") {
            Kind::Unix(path.into())
        } else if let Ok(address) = text.parse() {
            Kind::Socket(address)
        } else {
            let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            if host.is_empty() || host.len() > 253 || !host.bytes().all(allowed) {
                return Err(wrong());
            }
            let port = port.parse().map_err(|_| wrong())?;
            Kind::Name { host: host.to_ascii_lowercase(), port, known: Arc::default() }
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host without port: the name that its certificate must have unless another is configured.
    pub fn host(&self) -> &str {
        match &self.kind {
            Kind::Name { host, .. } => host,
            Kind::Socket(_) => {
                let host = self.text.rsplit_once(':').map_or(self.text.as_str(), |(host, _)| host);
                host.trim_start_matches('[').trim_end_matches(']')
            }
            Kind::Unix(_) => "localhost",
        }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }
}

impl Known {
    /// The addresses of a name; an old answer is used while a new one is fetched.
    pub(super) async fn resolve(self: &Arc<Self>, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        if let Some(answer) = self.answer.load().as_ref() {
            let due = Instant::now() >= answer.until;
            if due && !self.asking.swap(true, Ordering::AcqRel) {
                let (known, host) = (Arc::clone(self), host.to_owned());
                tokio::spawn(async move {
                    let _ = known.ask(&host, port).await;
                    known.asking.store(false, Ordering::Release);
                });
            }
            return Ok(answer.addresses.clone());
        }
        self.ask(host, port).await
    }

    async fn ask(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        if addresses.is_empty() {
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no addresses"));
        }
        let answer = Answer { addresses: addresses.clone(), until: Instant::now() + FRESH };
        self.answer.store(Some(Arc::new(answer)));
        Ok(addresses)
    }

    /// Forgets the answer: none of its addresses could be reached.
    pub(super) fn forget(&self) {
        self.answer.store(None);
    }
}
