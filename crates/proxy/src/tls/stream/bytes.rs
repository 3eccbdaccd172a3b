//! Reading and writing a [`ServerStream`]: between the socket, the worker's scratch memory and the caller.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    GATHER_BYTES, GATHERED, INCOMING, Incoming, OUTGOING, READ_BYTES, RECORD_BYTES, ServerStream,
    WRITE_RECORDS, invalid,
};

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for ServerStream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.read_at < this.plaintext.len() {
                let fits = (this.plaintext.len() - this.read_at).min(buf.remaining());
                buf.put_slice(&this.plaintext[this.read_at..this.read_at + fits]);
                this.read_at += fits;
                if this.read_at == this.plaintext.len() {
                    (this.plaintext, this.read_at) = (Vec::new(), 0);
                }
                return Poll::Ready(Ok(()));
            }
            if this.incoming == Incoming::Closed || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            let mut scratch = INCOMING.take();
            if scratch.len() < READ_BYTES {
                scratch.resize(READ_BYTES, 0);
            }
            let result = this.poll_receive(cx, buf, &mut scratch);
            INCOMING.set(scratch);
            ready!(result)?;
            // What TLS answers to a key update goes out as far as the socket takes it.
            if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            if !buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> ServerStream<IO> {
    /// One read from the socket, into the scratch memory behind what is left of the last one.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
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
        match self.process_slice(&mut scratch[..end], Some(buf)) {
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

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ServerStream<IO> {
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
        let result = this.write_slices(cx, slices, &mut gathered, &mut out);
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

impl<IO: AsyncRead + AsyncWrite + Unpin> ServerStream<IO> {
    /// Sends as many slices as fit into one call; small neighbours (headers and a short body) share a record.
    fn write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        gathered: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        const MOST: usize = WRITE_RECORDS * RECORD_BYTES;
        if let Some(only) = single(slices) {
            let take = only.len().min(MOST);
            if take > 0 {
                self.send_records(cx, &only[..take], out)?;
            }
            return Ok(take);
        }
        let mut taken = 0;
        for slice in slices {
            let take = slice.len().min(MOST - taken);
            if take > GATHER_BYTES && gathered.len().is_multiple_of(RECORD_BYTES) && !gathered.is_empty() {
                // Full records stand ready and a large slice follows: it needs no copy.
                break;
            }
            gathered.extend_from_slice(&slice[..take]);
            taken += take;
            if taken == MOST {
                break;
            }
        }
        if taken > 0 {
            self.send_records(cx, gathered, out)?;
        }
        Ok(taken)
    }
}

/// The one slice that is not empty, if there is only one.
fn single<'a>(slices: &'a [IoSlice<'_>]) -> Option<&'a [u8]> {
    let mut filled = slices.iter().filter(|slice| !slice.is_empty());
    match (filled.next(), filled.next()) {
        (None, _) => Some(&[]),
        (Some(only), None) => Some(only),
        _ => None,
    }
}
