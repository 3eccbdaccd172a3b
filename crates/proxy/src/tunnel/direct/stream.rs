//! One flow as bytes in and out, on a connection that it has for itself and gives back after a clean end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::malformed;
use super::message::{HEAD, Head, Malformed};
use crate::tls::stream::{RECORD_BYTES, Side, Sink, Stream, WRITE_RECORDS};

/// Most bytes of a flow in one message: with its head they go out at once.
const CHUNK: usize = (WRITE_RECORDS - 1) * RECORD_BYTES;

type Connection<S> = Stream<TcpStream, S>;

/// A flow.
pub(crate) struct DirectStream<S: Side> {
    /// None only while it is dropped.
    connection: Option<Box<Connection<S>>>,
    incoming: Incoming,
    outgoing: Outgoing,
    /// It was broken off, or the peer did what it may not.
    is_broken: bool,
    /// Where the connection goes after a clean end.
    home: Option<Home<S>>,
}

/// Takes a connection back that is free for the next flow.
pub(crate) type Home<S> = Box<dyn FnOnce(Box<Connection<S>>) + Send>;

/// How far the peer's direction is.
#[derive(Default)]
struct Incoming {
    head: [u8; HEAD],
    of_head: usize,
    /// Bytes that are left of a message of data.
    left: usize,
    is_over: bool,
    error: Option<Malformed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outgoing {
    Open,
    /// The end is said, and may not have left yet.
    Said,
    Over,
}

/// Takes messages apart into the reader's buffer.
struct Unframed<'a, 'b> {
    incoming: &'a mut Incoming,
    buffer: &'a mut ReadBuf<'b>,
    before: usize,
}

impl Sink for Unframed<'_, '_> {
    fn room(&self) -> usize {
        self.buffer.remaining()
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && !self.incoming.is_over && self.incoming.error.is_none() {
            if self.incoming.left > 0 {
                let fits = rest.len().min(self.incoming.left).min(self.buffer.remaining());
                if fits == 0 {
                    break;
                }
                self.buffer.put_slice(&rest[..fits]);
                self.incoming.left -= fits;
                rest = &rest[fits..];
                continue;
            }
            let incoming = &mut *self.incoming;
            let fits = rest.len().min(HEAD - incoming.of_head);
            incoming.head[incoming.of_head..incoming.of_head + fits].copy_from_slice(&rest[..fits]);
            incoming.of_head += fits;
            rest = &rest[fits..];
            if incoming.of_head == HEAD {
                incoming.of_head = 0;
                match Head::parse(incoming.head) {
                    Ok(Head::Data(length)) => incoming.left = length,
                    Ok(Head::End) => incoming.is_over = true,
                    Ok(_) => incoming.error = Some(Malformed::OUT_OF_TURN),
                    Err(error) => incoming.error = Some(error),
                }
            }
        }
        bytes.len() - rest.len()
    }

    fn is_satisfied(&self) -> bool {
        self.buffer.filled().len() > self.before || self.incoming.is_over || self.incoming.error.is_some()
    }
}

impl<S: Side> DirectStream<S> {
    pub(crate) fn new(connection: Box<Connection<S>>, home: Home<S>) -> Self {
        Self {
            connection: Some(connection),
            incoming: Incoming::default(),
            outgoing: Outgoing::Open,
            is_broken: false,
            home: Some(home),
        }
    }

    /// Ends the flow such that the peer cannot take it for a clean end.
    pub(crate) fn reset(&mut self) {
        self.is_broken = true;
        if let Some(connection) = &self.connection {
            // What is on its way is lost with it, as with any reset.
            let _ = socket2::SockRef::from(connection.io()).set_linger(Some(Duration::ZERO));
        }
    }

    fn connection(&mut self) -> io::Result<&mut Connection<S>> {
        self.connection.as_deref_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn failed<T>(&mut self, error: io::Error) -> Poll<io::Result<T>> {
        self.is_broken = true;
        // Both directions go over this connection: without it there is nothing to wait for.
        Poll::Ready(Err(match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::ConnectionReset, error),
            _ => error,
        }))
    }
}

impl<S: Side> Drop for DirectStream<S> {
    fn drop(&mut self) {
        let is_free = self.incoming.is_over && self.outgoing == Outgoing::Over && !self.is_broken;
        if !is_free {
            return self.reset();
        }
        if let (Some(connection), Some(home)) = (self.connection.take(), self.home.take()) {
            home(connection);
        }
    }
}

impl<S: Side> AsyncRead for DirectStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.incoming.is_over || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let Some(connection) = &mut this.connection else { return Poll::Ready(Ok(())) };
        let before = buf.filled().len();
        let mut sink = Unframed { incoming: &mut this.incoming, buffer: buf, before };
        match ready!(connection.poll_read_into(cx, &mut sink)) {
            Err(error) => this.failed(error),
            Ok(()) => match this.incoming.error {
                Some(error) => this.failed(malformed(error)),
                None if buf.filled().len() == before && !this.incoming.is_over => {
                    this.failed(io::ErrorKind::ConnectionReset.into())
                }
                None => Poll::Ready(Ok(())),
            },
        }
    }
}

impl<S: Side> AsyncWrite for DirectStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let chunk = buf.get(..CHUNK).unwrap_or(buf);
        if chunk.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.outgoing != Outgoing::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let head = Head::Data(chunk.len()).bytes();
        let slices = [IoSlice::new(&head), IoSlice::new(chunk)];
        match ready!(Pin::new(this.connection()?).poll_write_vectored(cx, &slices)) {
            // All of it is taken at once, for it fits.
            Ok(taken) if taken == HEAD + chunk.len() => Poll::Ready(Ok(chunk.len())),
            Ok(_) => this.failed(io::ErrorKind::WriteZero.into()),
            Err(error) => this.failed(error),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.connection()?).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.outgoing == Outgoing::Open {
            // The connection goes on, so this is no close_notify.
            let end = Head::End.bytes();
            match ready!(Pin::new(this.connection()?).poll_write(cx, &end)) {
                Ok(HEAD) => this.outgoing = Outgoing::Said,
                Ok(_) => return this.failed(io::ErrorKind::WriteZero.into()),
                Err(error) => return this.failed(error),
            }
        }
        if this.outgoing == Outgoing::Said {
            match ready!(Pin::new(this.connection()?).poll_flush(cx)) {
                Ok(()) => this.outgoing = Outgoing::Over,
                Err(error) => return this.failed(error),
            }
        }
        Poll::Ready(Ok(()))
    }
}
