//! HTTP/2 client connections, by hyper.

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::http1::SMALL;
use crate::stream::Stream;

/// A connection that several streams share.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    uri: http::Uri,
}

impl Connection {
    /// Starts HTTP/2 on an open stream; a task of its own drives it.
    pub async fn new(stream: Stream, host: &str) -> anyhow::Result<Self> {
        let (sender, driver) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .context("HTTP/2 preface")?;
        tokio::spawn(async move {
            // A broken connection shows as an error of the requests on it.
            let _ = driver.await;
        });
        Ok(Self { sender, uri: format!("https://{host}/small").parse()? })
    }

    /// One small request, checked to be answered 200 with 1 KB.
    pub async fn small(&mut self) -> anyhow::Result<()> {
        let request = Request::get(self.uri.clone()).header("user-agent", "bench").body(Empty::new())?;
        let answer = self.sender.send_request(request).await.context("request")?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.context("body")?.data_ref().map_or(0, |data| data.len() as u64);
        }
        ensure!(
            status == StatusCode::OK && read == SMALL,
            "expected 200 and {SMALL} bytes: {status}, {read}"
        );
        Ok(())
    }
}
