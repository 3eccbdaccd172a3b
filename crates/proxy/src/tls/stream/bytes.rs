//! Reading and writing a [`Stream`]: between the socket, the worker's scratch memory and the caller.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    GATHERED, INCOMING, Incoming, LEAST_READ_BYTES, MOST_READ_BYTES, OUTGOING, READ_BYTES, Side, Sink,
    Stream, invalid,
};

impl<IO: AsyncRead + AsyncWrite + Unpin, S: Side> AsyncRead for Stream<IO, S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        self.get_mut().poll_read_into(cx, &mut Filling { buffer: buf, before })
    }
}

/// A reader's buffer as a sink.
struct Filling<'a, 'b> {
    buffer: &'a mut ReadBuf<'b>,
    before: usize,
}

impl Sink for Filling<'_, '_> {
    fn room(&self) -> usize {
        // What does not fit is kept: one read of the socket serves several small ones.
        READ_BYTES
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        let fits = bytes.len().min(self.buffer.remaining());
        self.buffer.put_slice(&bytes[..fits]);
        fits
    }

    fn is_satisfied(&self) -> bool {
        self.buffer.filled().len() > self.before
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, S: Side> Stream<IO, S> {
    /// Reads into a sink until it is satisfied or the peer has ended its direction in order.
    pub(crate) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
    ) -> Poll<io::Result<()>> {
        let this = self;
        loop {
            if this.read_at < this.plaintext.len() {
                this.read_at += sink.take(&this.plaintext[this.read_at..]);
                if this.read_at == this.plaintext.len() {
                    (this.plaintext, this.read_at) = (Vec::new(), 0);
                }
                if sink.is_satisfied() {
                    return Poll::Ready(Ok(()));
                }
            }
            if this.incoming == Incoming::Closed {
                return Poll::Ready(Ok(()));
            }
            if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            // Whole records are done with as they come. Only of a handshake message in many records all of them are kept until
            // the last one has come, and after the handshake no message that may come is larger than this.
            if this.ciphertext.len() >= LEAST_READ_BYTES {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "more than a record came that is not finished",
                )));
            }
            let mut scratch = INCOMING.take();
            // Not much more than the sink can take: the rest would be copied once more. What is kept fits, and leaves room.
            let most = sink.room().clamp(LEAST_READ_BYTES, MOST_READ_BYTES);
            if scratch.len() < most {
                scratch.resize(most, 0);
            }
            let result = this.poll_receive(cx, sink, &mut scratch[..most]);
            INCOMING.set(scratch);
            ready!(result)?;
            // What TLS answers to a key update goes out as far as the socket takes it.
            if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            if sink.is_satisfied() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// One read from the socket, into the scratch memory behind what is left of the last one.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn Sink,
        scratch: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let held = self.ciphertext.len();
        scratch[..held].copy_from_slice(&self.ciphertext);
        let mut fresh = ReadBuf::new(&mut scratch[held..]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh))?;
        let received = fresh.filled().len();
        if received == 0 {
            // Without close_notify the end may be an attacker's (RFC 8446, section 6.1).
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the peer closed the connection without close_notify",
            )));
        }
        let end = held + received;
        match self.process_slice(&mut scratch[..end], Some(sink)) {
            Ok(done) => {
                self.ciphertext.clear();
                if done < end {
                    self.ciphertext.extend_from_slice(&scratch[done..end]);
                } else if self.ciphertext.capacity() > 0 {
                    self.ciphertext = Vec::new();
                }
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                let _ = self.poll_send(cx);
                Poll::Ready(Err(invalid(error)))
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin, S: Side> AsyncWrite for Stream<IO, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.close_notify_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(this.poll_send(cx))?;
        let mut out = OUTGOING.take();
        let mut gathered = GATHERED.take();
        let result = match slices.iter().all(|slice| slice.is_empty()) {
            true => Ok(0),
            false => this.send_records(cx, slices, &mut gathered, &mut out),
        };
        OUTGOING.set(out);
        gathered.clear();
        GATHERED.set(gathered);
        Poll::Ready(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.close_notify_sent {
            this.close_notify_sent = true;
            let mut out = [0u8; 256];
            let length = this.seal(&mut out, |traffic, out| traffic.queue_close_notify(out))?;
            this.unsent.extend_from_slice(&out[..length]);
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
