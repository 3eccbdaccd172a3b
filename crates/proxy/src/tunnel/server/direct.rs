//! A connection of the plainer framing: one flow after the other.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::Asked;
use crate::tls::stream::ServerStream;
use crate::tunnel::HANDSHAKE;
use crate::tunnel::direct::message::{Head, Open};
use crate::tunnel::direct::{self, keep_alive};

/// A new connection is not ended before its first request, which is on its way, for so long. So whoever was told goodbye on
/// one that he used again, and makes another, is not told so twice.
const FIRST: Duration = Duration::from_secs(2);

/// A connection of another proxy of ours.
pub(crate) struct Flows {
    connection: Box<ServerStream<TcpStream>>,
}

impl Flows {
    pub(crate) fn accept(connection: ServerStream<TcpStream>) -> Self {
        keep_alive(connection.io());
        Self { connection: Box::new(connection) }
    }

    /// Gives one request after the other to `take`, which returns when it is over. It ends when the peer ends the
    /// connection or a flow was broken off, after `unused` without a flow, and from `drain` on with the flow that there is. Where
    /// `doubted` comes, not even the first request is waited for.
    ///
    /// # Errors
    ///
    /// What the peer said that is no request, or only in part for too long.
    pub(crate) async fn run<F: Future<Output = ()>>(
        self,
        drain: impl Future<Output = ()>,
        doubted: impl Future<Output = ()>,
        unused: Duration,
        mut take: impl FnMut(Asked) -> F,
    ) -> io::Result<()> {
        let mut connection = self.connection;
        let (mut drain, mut doubted) = (std::pin::pin!(drain), std::pin::pin!(doubted));
        let mut is_new = true;
        loop {
            let mut first = [0; 1];
            let goodbye = async {
                if is_new {
                    tokio::select! {
                        () = &mut doubted => return,
                        () = tokio::time::sleep(FIRST) => {}
                    }
                }
                (&mut drain).await;
            };
            let began = tokio::select! {
                // Who drains takes nothing new, whatever has come.
                biased;
                () = goodbye => None,
                read = tokio::time::timeout(unused, connection.read(&mut first)) => match read {
                    Ok(Ok(1..)) => Some(first[0]),
                    // Without a flow an end is an end, in order or not.
                    Ok(Ok(0) | Err(_)) => return Ok(()),
                    Err(_) => None,
                },
            };
            let Some(first) = began else {
                // A request that crosses with this is made again on another connection: nobody has heard of it.
                let _ = tokio::time::timeout(HANDSHAKE, connection.shutdown()).await;
                return Ok(());
            };
            is_new = false;
            let rest = tokio::time::timeout(HANDSHAKE, direct::rest(&mut *connection, first));
            let (head, said) = rest.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            let Head::Open(_) = head else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message out of turn"));
            };
            let open =
                Open::parse(&said).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let (home, back) = oneshot::channel();
            // Nobody waits for it any more only when everything is cut off.
            take(Asked::Direct(open, connection, Box::new(|connection| drop(home.send(connection))))).await;
            match back.await {
                Ok(free) => connection = free,
                Err(_) => return Ok(()),
            }
        }
    }
}
