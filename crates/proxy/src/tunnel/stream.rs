//! One tunnelled connection as bytes in and out: what is read gives its window back, an end is an end in each
//! direction, and what was cut off is not taken for one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// At most so much is copied into the connection's buffers at a time.
const WRITE: usize = 64 << 10;

/// A stream of HTTP/2 that carries a connection.
pub(crate) struct TunnelStream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// Received, and not read yet.
    ahead: Bytes,
    ended: bool,
    /// What the stream takes of its connection, and counts for it.
    used: Option<super::client::Used>,
}

impl TunnelStream {
    pub(super) fn new(
        send: SendStream<Bytes>,
        receive: RecvStream,
        used: Option<super::client::Used>,
    ) -> Self {
        Self { send, receive, ahead: Bytes::new(), ended: false, used }
    }

    /// Ends the stream such that the peer cannot take it for a clean end.
    pub(crate) fn reset(&mut self) {
        self.ended = true;
        self.send.send_reset(Reason::CANCEL);
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        if !self.ended {
            self.reset();
        }
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ahead.is_empty() {
            match ready!(this.receive.poll_data(cx)) {
                Some(Ok(data)) => this.ahead = data,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..n]);
        this.ahead.advance(n);
        if let Some(used) = &mut this.used {
            used.count(n);
        }
        // The window is given back as the application takes the bytes, not as they arrive.
        Poll::Ready(this.receive.flow_control().release_capacity(n).map_err(broken))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let wanted = buf.len().min(WRITE);
        this.send.reserve_capacity(wanted);
        let mut room = this.send.capacity();
        while room == 0 {
            room = match ready!(this.send.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let n = room.min(wanted);
        this.send.send_data(Bytes::copy_from_slice(&buf[..n]), false).map_err(broken)?;
        if let Some(used) = &mut this.used {
            used.count(n);
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's own task writes whatever it is given.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            self.ended = true;
            self.send.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
