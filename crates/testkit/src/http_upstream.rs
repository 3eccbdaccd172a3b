//! An HTTP application on hyper: HTTP/1.1, HTTP/2 (by prior knowledge, or ALPN), plain or TLS. It counts like
//! [`crate::echo::Echo`], keeps what it was asked, and behaves as its path says:
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | N bytes of a repeating pattern, with a length |
//! | `/stream/N/MS` | N chunks of 1 KiB, one each MS milliseconds, without a length |
//! | `/slow/MS` | `ok` after MS milliseconds |
//! | `/status/N` | that status, with the body `status N` |
//! | `/truncate` | announces 1000 bytes, sends 500 and cuts the connection |
//! | `/upgrade` | 101, then echoes raw bytes |
//! | `/grpc...` | the request's body as `application/grpc`, then the trailers `grpc-status: 0` |
//! | `/body` | the request's body as it came |
//! | else | JSON of [`Asked`] |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::echo::Counters;

/// One request as the application saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// `GET` and so on.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Header names in lower case, in their order; the authority of HTTP/2 stands as `:authority`.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Serial-free proof of the peer: how many certificates it showed (0 without TLS or without a certificate).
    pub peer_certificates: usize,
}

impl Asked {
    /// All values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }
}

/// The application. Dropping it ends it with all of its connections.
pub struct HttpUpstream {
    addr: SocketAddr,
    counters: Arc<Counters>,
    asked: Arc<Mutex<Vec<Asked>>>,
    // Dropped last: its end is the end of the tasks.
    _runtime: tokio::runtime::Runtime,
}

impl HttpUpstream {
    /// Plain HTTP on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::with(None)
    }

    /// HTTPS with this configuration.
    pub fn tls(config: rustls::ServerConfig) -> Self {
        Self::with(Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn with(tls: Option<TlsAcceptor>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let counters = Arc::new(Counters::default());
        let asked = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(accept(listener, tls, Arc::clone(&counters), Arc::clone(&asked)));
        Self { addr, counters, asked, _runtime: runtime }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What reached it.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The requests so far, in their order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    counters: Arc<Counters>,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        counters.accepted();
        let stream = Counted { stream, counters: Arc::clone(&counters) };
        let (tls, asked) = (tls.clone(), Arc::clone(&asked));
        tokio::spawn(async move {
            let Some(tls) = tls else {
                let mut start = [0; 16];
                // Peeking waits for the first bytes; HTTP/2's preface is known by its first sixteen.
                let n = stream.stream.peek(&mut start).await.unwrap_or(0);
                return serve(stream, start[..n].starts_with(b"PRI * HTTP/2.0"), 0, asked).await;
            };
            if let Ok(stream) = tls.accept(stream).await {
                let session = stream.get_ref().1;
                let h2 = session.alpn_protocol() == Some(b"h2");
                let shown = session.peer_certificates().map_or(0, <[_]>::len);
                serve(stream, h2, shown, asked).await;
            }
        });
    }
}

async fn serve<S>(stream: S, h2: bool, shown: usize, asked: Arc<Mutex<Vec<Asked>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let asked = Arc::clone(&asked);
        async move { Ok::<_, Infallible>(answer(request, shown, &asked).await) }
    });
    // How a connection ends is the client's business.
    let _ = if h2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
    } else {
        hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await
    };
}

async fn answer(mut request: Request<Incoming>, shown: usize, asked: &Mutex<Vec<Asked>>) -> Response<Body> {
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let mut headers: Vec<(String, String)> = Vec::new();
    headers
        .extend(request.uri().authority().map(|authority| (":authority".to_owned(), authority.to_string())));
    headers.extend(
        request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())),
    );
    let mut seen = Asked {
        method: request.method().to_string(),
        path: path.clone(),
        version: format!("{:?}", request.version()),
        headers,
        body_bytes: 0,
        peer_certificates: shown,
    };
    let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let number = |n: usize| words.get(n).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    if words[0] == "upgrade" {
        asked.lock().unwrap().push(seen);
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            if let Ok(stream) = upgrade.await {
                let (mut from, mut to) = tokio::io::split(TokioIo::new(stream));
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            }
        });
        return Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "echo")
            .body(text(""))
            .unwrap();
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    seen.body_bytes = body.len();
    let json = serde_json::to_string(&seen).unwrap();
    asked.lock().unwrap().push(seen);
    match words[0] {
        "bytes" => Response::new(text(pattern(number(1) as usize))),
        "stream" => {
            let (chunks, pause) = (number(1), Duration::from_millis(number(2)));
            Response::new(channel(move |sender| async move {
                for _ in 0..chunks {
                    if sender.send(Ok(Frame::data(pattern(1024).into()))).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
            }))
        }
        "slow" => {
            tokio::time::sleep(Duration::from_millis(number(1))).await;
            Response::new(text("ok\n"))
        }
        "status" => Response::builder()
            .status(StatusCode::from_u16(number(1) as u16).unwrap())
            .body(text(format!("status {}\n", number(1))))
            .unwrap(),
        "truncate" => Response::builder()
            .header("content-length", 1000)
            .body(channel(|sender| async move {
                let _ = sender.send(Ok(Frame::data(pattern(500).into()))).await;
                // The first part must be on its way before the connection is cut.
                tokio::time::sleep(Duration::from_millis(100)).await;
                let _ = sender.send(Err(std::io::Error::other("cut on purpose"))).await;
            }))
            .unwrap(),
        grpc if grpc.starts_with("grpc") => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("grpc-message", "done".parse().unwrap());
            let body = Full::new(body).map_err(|never| match never {});
            Response::builder()
                .header("content-type", "application/grpc")
                .body(body.with_trailers(async move { Some(Ok(trailers)) }).boxed())
                .unwrap()
        }
        "body" => Response::new(text(body)),
        _ => Response::builder().header("content-type", "application/json").body(text(json)).unwrap(),
    }
}

fn text(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

/// Bytes that show when one is missing or twice there.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| b'a' + (n % 23) as u8).collect()
}

type Sender = tokio::sync::mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>;

/// A body that a task writes, one frame ahead at most.
fn channel<F: Future<Output = ()> + Send + 'static>(write: impl FnOnce(Sender) -> F) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(write(sender));
    Receiver(receiver).boxed()
}

struct Receiver(tokio::sync::mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>);

impl http_body::Body for Receiver {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context)
    }
}

/// A stream whose received bytes are counted.
struct Counted {
    stream: tokio::net::TcpStream,
    counters: Arc<Counters>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.counters.received(buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
