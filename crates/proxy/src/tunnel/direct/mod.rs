//! The plainer framing between two proxies of ours: a TLS connection carries one flow at a time and is used again for
//! the next. Nothing is multiplexed, so nothing but TCP has windows, and a flow's bytes go from socket to socket within
//! one task.
//!
//! It is agreed on by ALPN and offered beside `h2` only; who does not know it speaks HBONE. [`message`] is what goes
//! over the wire, [`DirectStream`] is a flow at either end.

pub mod message;
pub(crate) mod stream;

#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use message::{HEAD, Head, Malformed};
pub(crate) use stream::DirectStream;

/// Its name (RFC 7301), with the version of the messages.
pub(crate) const ALPN: &[u8] = b"handfast-direct/1";

/// A connection on which nobody speaks asks so often whether the other end is still there: the kernel does.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// And believes it gone when so many questions in a row had no answer.
const QUESTIONS: u32 = 3;

/// Has the kernel look whether a silent peer is still there. HTTP/2 has its pings for that.
pub(crate) fn keep_alive(socket: &TcpStream) {
    let often = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(QUESTIONS);
    // Without it a silent peer is noticed later, by the next write.
    let _ = SockRef::from(socket).set_tcp_keepalive(&often);
}

/// Sends one whole message.
pub(crate) async fn send(tls: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    tls.write_all(message).await?;
    tls.flush().await
}

/// Receives a message that is no data: its head, and what it says. None: the peer ended the connection in order before
/// it began one.
pub(crate) async fn receive(tls: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Head, Vec<u8>)>> {
    let mut first = [0; 1];
    if tls.read(&mut first).await? == 0 {
        return Ok(None);
    }
    rest(tls, first[0]).await.map(Some)
}

/// Receives what follows the first byte of a message that is no data.
pub(crate) async fn rest(tls: &mut (impl AsyncRead + Unpin), first: u8) -> io::Result<(Head, Vec<u8>)> {
    let mut head = [first; HEAD];
    tls.read_exact(&mut head[1..]).await?;
    let head = Head::parse(head).map_err(malformed)?;
    let mut said = vec![0; head.text()];
    tls.read_exact(&mut said).await?;
    Ok((head, said))
}

fn malformed(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
