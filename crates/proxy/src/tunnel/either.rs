//! One tunnelled connection, by whichever framing its two proxies agreed on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::TunnelStream;
use super::direct::DirectStream;
use crate::tls::stream::Side;

/// A tunnel at the end that `S` is of its TLS connection.
pub(crate) enum Tunnel<S: Side> {
    /// A stream of a connection that others share.
    Shared(TunnelStream),
    /// A flow with a connection for itself.
    Direct(Box<DirectStream<S>>),
}

impl<S: Side> Tunnel<S> {
    /// A label for logs and metrics.
    pub(crate) fn framing(&self) -> &'static str {
        match self {
            Self::Shared(_) => "h2",
            Self::Direct(_) => "direct",
        }
    }

    /// Ends it such that the peer cannot take it for a clean end.
    pub(crate) fn reset(&mut self) {
        match self {
            Self::Shared(stream) => stream.reset(),
            Self::Direct(stream) => stream.reset(),
        }
    }
}

impl<S: Side> AsyncRead for Tunnel<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Shared(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Direct(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl<S: Side> AsyncWrite for Tunnel<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Shared(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Direct(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Shared(stream) => Pin::new(stream).poll_flush(cx),
            Self::Direct(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Shared(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Direct(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
