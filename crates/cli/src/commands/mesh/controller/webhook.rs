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

/// The API server's own limit of a request is 3 MiB.
const LARGEST: usize = 4 << 20;
/// Connections at one time: an API server keeps a few.
const CONNECTIONS: usize = 256;
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
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        // The semaphore is never closed.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = ending.cancelled() => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        let (settings, ending) = (Arc::clone(&settings), ending.clone());
        connections.spawn(async move {
            connection(stream, acceptor, settings, ending).await;
            drop(seat);
        });
    }
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    settings: Arc<Settings>,
    ending: CancellationToken,
) {
    let stream = match tokio::time::timeout(HEAD, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!("the webhook's caller ends in TLS: {error}"),
        Err(_) => return,
    };
    let service = service_fn(|request| {
        let settings = Arc::clone(&settings);
        async move { Ok::<_, Infallible>(answer(request, &settings).await) }
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

async fn answer(request: Request<Incoming>, settings: &Settings) -> Response<Full<Bytes>> {
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
    let body = tokio::time::timeout(HEAD, Limited::new(request.into_body(), LARGEST).collect()).await;
    let Ok(Ok(body)) = body else {
        return text(StatusCode::BAD_REQUEST, "the body is too long, too slow, or broken off\n".to_owned());
    };
    match inject::answer(&body.to_bytes(), settings) {
        Ok(review) => {
            let mut response = Response::new(Full::new(Bytes::from(review)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(why) => text(StatusCode::BAD_REQUEST, why + "\n"),
    }
}
