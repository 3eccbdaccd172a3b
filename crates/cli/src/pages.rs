//! `/metrics`, `/livez`, `/readyz` and the like. Plain HTTP: the kubelet and Prometheus ask, and nothing that is answered
//! is secret.
//!
//! Every pod of the cluster may reach these ports, and the kubelet kills what does not answer its probes. So nobody holds
//! more than a few connections, and none holds one for long.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

#[cfg(test)]
mod tests;

/// What one listener gives to whom.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time.
    most: usize,
    /// Of them, from one address.
    most_each: usize,
    /// A request has to be there after so long.
    header: Duration,
    /// A connection ends after so long, whatever it does.
    whole: Duration,
}

/// For the kubelet, whose requests come at once.
pub const PROBES: Limits =
    Limits { most: 512, most_each: 8, header: Duration::from_secs(2), whole: Duration::from_secs(5) };
/// For Prometheus.
pub const METRICS: Limits =
    Limits { most: 128, most_each: 8, header: Duration::from_secs(5), whole: Duration::from_secs(30) };

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Page {
    /// A few words.
    pub fn text(body: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, kind: "text/plain; charset=utf-8", body: body.into() }
    }

    /// Whether something is ready.
    pub fn ready(ready: bool) -> Self {
        match ready {
            true => Self::text("ready\n"),
            false => Self { status: StatusCode::SERVICE_UNAVAILABLE, ..Self::text("not ready\n") },
        }
    }

    /// Metrics.
    pub fn metrics(body: String) -> Self {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        Self { status: StatusCode::OK, kind, body }
    }

    /// A JSON document.
    pub fn json(body: String) -> Self {
        Self { status: StatusCode::OK, kind: "application/json", body }
    }
}

/// Gives the page of a path; `None` where there is none.
pub type Pages = Arc<dyn Fn(&str) -> Option<Page> + Send + Sync>;

/// Answers until it is dropped.
pub async fn serve(socket: TcpListener, limits: Limits, pages: Pages) {
    let seats = Seats::new(limits.most, limits.most_each);
    loop {
        let Ok((stream, peer)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Who has no seat is turned away at once: the next one may be the kubelet.
        let Some(seat) = Seats::take(&seats, peer.ip()) else { continue };
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let answer = answer(&request, &pages);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), answer);
            // Who breaks off is no news, and nobody keeps a seat for ever.
            let _ = tokio::time::timeout(limits.whole, served).await;
            drop(seat);
        });
    }
}

/// The connections of a listener, by address.
pub struct Seats {
    most: usize,
    most_each: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them. Dropping it gives it back.
pub struct Seat {
    seats: Arc<Seats>,
    peer: IpAddr,
}

impl Seats {
    /// So many in all, and so many for one address.
    pub fn new(most: usize, most_each: usize) -> Arc<Self> {
        Arc::new(Self { most, most_each, taken: Mutex::default() })
    }

    /// A seat, if there is one.
    pub fn take(seats: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let peer = peer.to_canonical();
        let mut taken = seats.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(&peer).copied().unwrap_or_default();
        if all >= seats.most || own >= seats.most_each {
            return None;
        }
        taken.insert(peer, own + 1);
        Some(Seat { seats: Arc::clone(seats), peer })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        match taken.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.peer);
            }
        }
    }
}

fn answer(request: &Request<Incoming>, pages: &Pages) -> Response<Full<Bytes>> {
    let page = match *request.method() {
        Method::GET | Method::HEAD => pages(request.uri().path()),
        _ => Some(Page { status: StatusCode::METHOD_NOT_ALLOWED, ..Page::text("only GET\n") }),
    };
    let page = page
        .unwrap_or_else(|| Page { status: StatusCode::NOT_FOUND, ..Page::text("there is no such page\n") });
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = page.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page.kind));
    response
}
