//! A hyper client for HTTP/2 and for trailers.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::Served;

pub(crate) type Sender = hyper::client::conn::http2::SendRequest<ClientBody>;
pub(crate) type ClientBody = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

/// Whole answers: parts, body and trailers.
pub(crate) struct Whole {
    pub(crate) parts: http::response::Parts,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) async fn h2(served: &Served) -> Sender {
    let socket = tokio::net::TcpStream::connect(served.addr).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> ClientBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body of frames that are there already, trailers among them.
pub(crate) fn frames(frames: Vec<Frame<Bytes>>) -> ClientBody {
    http_body_util::BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok))))
}

pub(crate) fn request(method: &str, path: &str, body: ClientBody) -> Request<ClientBody> {
    Request::builder().method(method).uri(format!("http://localhost{path}")).body(body).unwrap()
}

pub(crate) async fn whole(response: Response<hyper::body::Incoming>) -> Result<Whole, hyper::Error> {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    Ok(Whole { parts, body: collected.to_bytes(), trailers })
}
