//! A connection to an endpoint: plain or TLS, over TCP or a socket file, behind one type.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use model::peer::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::connection::Alpn;
use crate::transport::Transport;

/// A connection to an endpoint, ready for the application's bytes.
pub struct UpstreamStream {
    io: Io,
    /// The application protocol that TLS agreed on.
    pub alpn: Option<Alpn>,
    /// The server's certificate.
    pub peer: Option<Arc<Peer>>,
}

enum Io {
    Plain(Transport),
    Tls(Box<TlsStream<Transport>>),
}

impl UpstreamStream {
    pub(super) fn plain(transport: Transport) -> Self {
        Self { io: Io::Plain(transport), alpn: None, peer: None }
    }

    pub(super) fn tls(stream: TlsStream<Transport>, peer: Option<Arc<Peer>>) -> Self {
        let alpn = stream.get_ref().1.alpn_protocol().map(Alpn::from);
        Self { io: Io::Tls(Box::new(stream)), alpn, peer }
    }

    /// When it is dropped the service gets a reset, not an end that could be taken for an orderly one.
    pub fn reset_on_close(&self) {
        match &self.io {
            Io::Plain(io) => io.reset_on_close(),
            Io::Tls(io) => io.get_ref().0.reset_on_close(),
        }
    }

    /// Whether it is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
