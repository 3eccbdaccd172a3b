//! Taking tunnels: one connection of another proxy, and what it asks for on it.

mod asked;
mod direct;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use h2::{Ping, Reason};
use tokio::net::TcpStream;

use crate::tls::stream::ServerStream;

use super::windows::Window;
use super::{FRAME, HEADERS, Patience};

pub(crate) use asked::Asked;
pub(crate) use direct::Flows;

/// Streams of a connection at one time. Foreign proxies open a hundred, ours no more either.
const STREAMS: u32 = 200;
/// Streams that a peer opened and reset before anybody looked: more is an attack (CVE-2023-44487).
const RESET: usize = 100;

/// A connection of another proxy.
pub(crate) struct Tunnels {
    connection: Connection<ServerStream<TcpStream>, Bytes>,
    _window: Window,
}

impl Tunnels {
    /// Speaks HTTP/2 within a finished handshake.
    pub(crate) async fn accept(stream: ServerStream<TcpStream>, window: Window) -> Result<Self, h2::Error> {
        let connection = Builder::new()
            .initial_window_size(window.stream())
            .initial_connection_window_size(window.connection())
            .max_frame_size(FRAME)
            .max_header_list_size(HEADERS)
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(RESET)
            .max_concurrent_reset_streams(RESET)
            .handshake(stream)
            .await?;
        Ok(Self { connection, _window: window })
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
                    Some(Ok((request, respond))) => take(Asked::Shared(request, respond)),
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
