//! The admission webhook: HTTPS, one path. The API server verifies our certificate; what it sends is no secret, and
//! whoever else asks gets nothing but the patch of a pod of his own words.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use controller::inject::{self, Settings};
use controller::install::mesh::INJECT_PATH;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pages::Seats;

/// The API server's own limit of a request is 3 MiB.
const LARGEST: usize = 4 << 20;
/// Connections at one time: an API server keeps a few. Of them, those of one address, so that no pod keeps the API server
/// out.
const CONNECTIONS: usize = 256;
const OF_ONE_ADDRESS: usize = 16;
/// Bodies that are read and answered at one time: each may be as large as the largest.
const BODIES: usize = 8;
/// How long TLS and the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long connections may go on at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// Answers until `ending`.
pub async fn serve(
    socket: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    settings: Arc<Settings>,
    ending: CancellationToken,
) {
    let seats = Seats::new(CONNECTIONS, OF_ONE_ADDRESS);
    let bodies = Arc::new(Semaphore::new(BODIES));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = ending.cancelled() => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Who has no seat is turned away at once: the next one may be the API server.
        let Some(seat) = Seats::take(&seats, peer.ip()) else { continue };
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        let shared = Shared { settings: Arc::clone(&settings), bodies: Arc::clone(&bodies) };
        let ending = ending.clone();
        connections.spawn(async move {
            connection(stream, acceptor, shared, ending).await;
            drop(seat);
        });
    }
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    settings: Arc<Settings>,
    bodies: Arc<Semaphore>,
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Shared, ending: CancellationToken) {
    let stream = match tokio::time::timeout(HEAD, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!("the webhook's caller ends in TLS: {error}"),
        Err(_) => return,
    };
    let service = service_fn(|request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        // Who breaks off is no news.
        _ = served.as_mut() => {}
        () = ending.cancelled() => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let text = |status, body: String| {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != INJECT_PATH {
        return text(StatusCode::NOT_FOUND, format!("there is {INJECT_PATH} only\n"));
    }
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n".to_owned());
    }
    let Ok(Ok(_body)) = tokio::time::timeout(HEAD, shared.bodies.acquire()).await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "there are too many requests\n".to_owned());
    };
    let body = tokio::time::timeout(HEAD / 2, Limited::new(request.into_body(), LARGEST).collect()).await;
    let Ok(Ok(body)) = body else {
        return text(StatusCode::BAD_REQUEST, "the body is too long, too slow, or broken off\n".to_owned());
    };
    match inject::answer(&body.to_bytes(), &shared.settings) {
        Ok(review) => {
            let mut response = Response::new(Full::new(Bytes::from(review)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(why) => text(StatusCode::BAD_REQUEST, why + "\n"),
    }
}
