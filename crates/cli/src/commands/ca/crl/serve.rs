//! The small HTTP server of revocation lists. It renews them in time, and picks up what another process
//! revoked, by asking the authority again every few seconds; the authority is open only while it is asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use certs::{Authority, List};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::failure::{EXIT_OK, Failure, Outcome};

/// How often the ledger is asked for news.
const PERIOD: Duration = Duration::from_secs(5);
/// How many connections are served at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// How long a connection may take to send its request.
const PATIENCE: Duration = Duration::from_secs(10);

type Shared = Arc<RwLock<Vec<List>>>;

/// Serves until Ctrl-C or SIGTERM.
pub fn run(address: SocketAddr, dir: &Path) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(&model::codes::usage::INTERNAL, format!("no runtime: {e}")))?;
    runtime.block_on(serve(address, dir.to_owned()))
}

async fn serve(address: SocketAddr, dir: PathBuf) -> Outcome {
    let failed = |e: std::io::Error| {
        Failure::new(&model::codes::usage::NOT_PERMITTED, format!("cannot listen on {address}: {e}"))
            .fix("choose another port, or stop what uses this one: ss -ltnp")
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let shared = Shared::default();
    refresh(&shared, &dir)?;
    eprintln!("serving revocation lists at http://{bound}/crl.pem");
    tokio::spawn(accept(listener, shared.clone()));
    let mut again = tokio::time::interval(PERIOD);
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(failed)?;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(EXIT_OK),
            _ = terminate.recv() => return Ok(EXIT_OK),
            _ = again.tick() => {
                let (shared, dir) = (shared.clone(), dir.clone());
                // The last good lists go on being served, and say themselves until when they may be believed.
                let result = tokio::task::spawn_blocking(move || refresh(&shared, &dir)).await;
                if let Ok(Err(failure)) = result {
                    eprint!("{failure}");
                }
            }
        }
    }
}

/// Takes a slot, then accepts: who comes beyond the limit waits in the kernel's queue.
async fn accept(listener: TcpListener, shared: Shared) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(slot) = slots.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: give those that are open the time to end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(shared.clone(), request));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 * 1024);
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(slot);
        });
    }
}

fn refresh(shared: &Shared, dir: &Path) -> Result<(), Failure> {
    let lists = Authority::open(dir)?.publish_lists(OffsetDateTime::now_utc(), false)?;
    *shared.write().unwrap_or_else(std::sync::PoisonError::into_inner) = lists;
    Ok(())
}

async fn answer(shared: Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let lists = shared.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let reply = |status: StatusCode, kind: &str, body: Vec<u8>| {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        if let Ok(kind) = kind.parse() {
            response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
        }
        Ok(response)
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", b"GET or HEAD\n".to_vec());
    }
    let path = request.uri().path();
    if path == "/crl.pem" {
        let all: String = lists.iter().map(List::to_pem).collect();
        return reply(StatusCode::OK, "application/x-pem-file", all.into_bytes());
    }
    // RFC 5280, section 4.2.1.13: DER, with the media type of RFC 2585.
    let wanted = path.rsplit('/').next().and_then(|name| name.strip_suffix(".crl"));
    match lists.iter().find(|list| Some(list.authority.as_str()) == wanted) {
        Some(list) => reply(StatusCode::OK, "application/pkix-crl", list.der.clone()),
        None => reply(StatusCode::NOT_FOUND, "text/plain", b"no such list\n".to_vec()),
    }
}
