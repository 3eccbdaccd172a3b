//! The admin port: `/metrics`, `/livez`, `/readyz`. On loopback only, plain HTTP.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::codes::serving;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::metrics::Metrics;

/// Connections at one time.
const MOST: usize = 64;

/// Whether traffic is accepted.
#[derive(Debug, Default)]
pub(crate) struct Health {
    ready: AtomicBool,
}

impl Health {
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}

/// The open port.
pub(crate) struct Admin {
    address: SocketAddr,
    socket: Option<TcpListener>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    task: Option<AbortHandle>,
}

impl Admin {
    pub(crate) fn open(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            let what = format!("the admin port may not listen on {address}: it is for this machine only");
            return Err(Error::new(&serving::ADMIN_NOT_LOOPBACK, what));
        }
        let failed = |error: std::io::Error| {
            let code = match error.kind() {
                std::io::ErrorKind::AddrInUse => &serving::ADDRESS_IN_USE,
                _ => &serving::LISTEN_FAILED,
            };
            Error::new(code, format!("cannot listen on {address} for the admin port: {error}"))
        };
        let socket = TcpListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { address, socket: Some(socket), metrics, health, task: None })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer, on the runtime of the caller.
    pub(crate) fn serve(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        let (metrics, health) = (Arc::clone(&self.metrics), Arc::clone(&self.health));
        match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => self.task = Some(tokio::spawn(accept(socket, metrics, health)).abort_handle()),
            Err(error) => tracing::error!(code = serving::LISTEN_FAILED.id, "the admin port failed: {error}"),
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn accept(socket: tokio::net::TcpListener, metrics: Arc<Metrics>, health: Arc<Health>) {
    let slots = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (metrics, health) = (Arc::clone(&metrics), Arc::clone(&health));
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let answer = answer(&request, &metrics, &health);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), answer);
            // A client of the admin port that breaks off is no news.
            let _ = served.await;
            drop(slot);
        });
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics, health: &Health) -> Response<Full<Bytes>> {
    let text = |status, kind: &'static str, body: String| {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    };
    const PLAIN: &str = "text/plain; charset=utf-8";
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => {
            const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            text(StatusCode::OK, KIND, metrics.text())
        }
        "/livez" => text(StatusCode::OK, PLAIN, "alive\n".to_owned()),
        "/readyz" if health.ready.load(Ordering::Acquire) => {
            text(StatusCode::OK, PLAIN, "ready\n".to_owned())
        }
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "draining\n".to_owned()),
        _ => text(StatusCode::NOT_FOUND, PLAIN, "here are /metrics, /livez and /readyz\n".to_owned()),
    }
}
