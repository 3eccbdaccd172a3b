//! Taking tunnels: one connection of another proxy, and the streams that it opens.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, Reason, RecvStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{CONNECTION_WINDOW, FRAME, HEADERS, Patience, STREAM_WINDOW, TunnelStream};

/// Streams of a connection at one time. Foreign proxies open a hundred, ours no more either.
const STREAMS: u32 = 200;
/// Streams that a peer opened and reset before anybody looked: more is an attack (CVE-2023-44487).
const RESET: usize = 100;

/// A connection of another proxy.
pub(crate) struct Tunnels {
    connection: Connection<TlsStream<TcpStream>, Bytes>,
}

/// A request for a tunnel.
pub(crate) struct Asked {
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
}

impl Tunnels {
    /// Speaks HTTP/2 within a finished handshake.
    pub(crate) async fn accept(stream: TlsStream<TcpStream>) -> Result<Self, h2::Error> {
        let connection = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_header_list_size(HEADERS)
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(RESET)
            .max_concurrent_reset_streams(RESET)
            .handshake(stream)
            .await?;
        Ok(Self { connection })
    }

    /// Gives each request to `take`, until the connection ends. From `drain` on none is taken, and those that are
    /// there may finish. A peer that does not answer pings is gone.
    ///
    /// # Errors
    ///
    /// What the peer did that HTTP/2 forbids, or too often.
    pub(crate) async fn run(
        mut self,
        patience: Patience,
        drain: impl Future<Output = ()>,
        mut take: impl FnMut(Asked),
    ) -> Result<(), h2::Error> {
        let pings = self.connection.ping_pong();
        let alive = async {
            let Some(mut pings) = pings else { return std::future::pending().await };
            loop {
                tokio::time::sleep(patience.ping_every).await;
                match tokio::time::timeout(patience.ping, pings.ping(Ping::opaque())).await {
                    Ok(Ok(_)) => {}
                    _ => return,
                }
            }
        };
        let (mut alive, mut drain) = (std::pin::pin!(alive), std::pin::pin!(drain));
        let mut drains = false;
        loop {
            tokio::select! {
                next = self.connection.accept() => match next {
                    Some(Ok((request, respond))) => take(Asked { request, respond }),
                    // A socket that ends is an end like any other.
                    Some(Err(error)) if error.is_io() => return Ok(()),
                    Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => return Ok(()),
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                },
                () = &mut drain, if !drains => {
                    drains = true;
                    self.connection.graceful_shutdown();
                }
                () = &mut alive => return Ok(()),
            }
        }
    }
}

impl Asked {
    /// The address that is asked for, or why the request is malformed.
    pub(crate) fn target(&self) -> Result<SocketAddr, String> {
        if self.request.method() != Method::CONNECT {
            return Err(format!("the method is {}", self.request.method()));
        }
        let authority =
            self.request.uri().authority().map(|authority| authority.as_str()).unwrap_or_default();
        authority.parse().map_err(|_| format!("{authority:?} is no address and port"))
    }

    /// Its headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Says yes. None: the peer has gone.
    pub(crate) fn grant(mut self) -> Option<TunnelStream> {
        let send = self.respond.send_response(answer(StatusCode::OK), false).ok()?;
        Some(TunnelStream::new(send, self.request.into_body(), None))
    }

    /// Says no.
    pub(crate) fn refuse(mut self, status: StatusCode) {
        // A peer that has gone needs no answer.
        let _ = self.respond.send_response(answer(status), true);
    }
}

fn answer(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}
