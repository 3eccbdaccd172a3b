//! A socket, TCP or file, with what was read ahead of its turn, and a bound on what a handshake may read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A socket. What detection or the PROXY protocol read too far comes first.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    ahead: Option<Box<Ahead>>,
    /// How many bytes may still be read; see [`Transport::bound`].
    budget: usize,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[derive(Debug)]
struct Ahead {
    bytes: Vec<u8>,
    taken: usize,
}

/// The error of a read beyond the bound, as the source of an [`io::Error`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("more bytes than a handshake may have")]
pub struct TooLarge;

impl From<TcpStream> for Transport {
    fn from(socket: TcpStream) -> Self {
        Self { socket: Socket::Tcp(socket), ahead: None, budget: usize::MAX }
    }
}

impl From<UnixStream> for Transport {
    fn from(socket: UnixStream) -> Self {
        Self { socket: Socket::Unix(socket), ahead: None, budget: usize::MAX }
    }
}

impl Transport {
    /// Puts bytes back: they are read again before those of the socket.
    pub fn put_back(&mut self, mut bytes: Vec<u8>) {
        if let Some(ahead) = self.ahead.take() {
            bytes.extend_from_slice(ahead.bytes.get(ahead.taken..).unwrap_or_default());
        }
        if !bytes.is_empty() {
            self.ahead = Some(Box::new(Ahead { bytes, taken: 0 }));
        }
    }

    /// From now on at most so many bytes are read, then reads fail with [`TooLarge`]; `usize::MAX` for no bound.
    pub fn bound(&mut self, bytes: usize) {
        self.budget = bytes;
    }

    /// When it is dropped the peer gets a reset, not an end that could be taken for an orderly one.
    pub fn reset_on_close(&self) {
        if let Socket::Tcp(socket) = &self.socket {
            // The connection is over either way.
            let _ = socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(ahead) = &mut this.ahead {
            let rest = ahead.bytes.get(ahead.taken..).unwrap_or_default();
            let n = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..n]);
            ahead.taken += n;
            if ahead.taken >= ahead.bytes.len() {
                this.ahead = None;
            }
            return Poll::Ready(Ok(()));
        }
        if this.budget == 0 {
            return Poll::Ready(Err(io::Error::other(TooLarge)));
        }
        let before = buf.filled().len();
        let done = match &mut this.socket {
            Socket::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Socket::Unix(io) => Pin::new(io).poll_read(cx, buf),
        };
        if this.budget != usize::MAX {
            this.budget = this.budget.saturating_sub(buf.filled().len() - before);
        }
        done
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            Socket::Unix(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Socket::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets have no buffer of ours.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Socket::Unix(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
