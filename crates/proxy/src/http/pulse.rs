//! The times of one client connection: idle, slow headers, a client that does not read. One timer watches
//! them all and is set anew only when it fires, so that a request costs no timer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use model::snapshot::Timeouts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Framing;
use crate::upstream::health::now_ms;

/// What is going on on a connection. Times are those of [`now_ms`]; 0 for not now.
#[derive(Debug)]
pub struct Pulse {
    /// Requests under way.
    busy: AtomicU32,
    /// Since when there is none.
    idle_since: AtomicU64,
    /// Since when a request's headers are arriving.
    head_since: AtomicU64,
    /// Since when the client takes no bytes.
    stalled_since: AtomicU64,
    /// A request with two lengths was seen (see [`Framing`]).
    pub ambiguous: AtomicBool,
    /// Bodies that are ready to be sent and wait for the client to take them, and when any of them last moved.
    /// In HTTP/2 a client can hold answers back without the socket ever being full (RFC 9113, section 6.9).
    owed: AtomicU32,
    served_at: AtomicU64,
    /// An answer was given although not all of the request was read.
    pub unread: AtomicBool,
    /// Requests so far, and those that ended before their answer was complete.
    pub requests: AtomicU64,
    cancelled: AtomicU64,
    /// Wakes the watch before its time.
    alarm: tokio::sync::Notify,
}

/// What the watch found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// Nothing happens: close, as agreed.
    Idle,
    /// For a moment nothing happens: memory may be given back.
    Quiet,
    /// Headers do not arrive.
    Head,
    /// The client does not read.
    Stalled,
    /// The client cancels what it asks for (HTTP/2 rapid reset).
    Cancelling,
}

/// After so long without a request, buffers are given back.
const QUIET: u64 = 1_000;
/// How long, in milliseconds, until a connection that was busy is looked at again: its buffers should not be kept
/// much longer than [`QUIET`], and a timer a second is nothing beside the requests.
const LOOK_AGAIN: u64 = 1_000;
/// How long, and for how many bytes, a closed connection is still read.
const LINGER: Duration = Duration::from_secs(2);
const MOST_LINGERING: usize = 1 << 20;
/// Cancelled requests of one connection that are normal.
const PATIENCE_WITH_CANCELS: u64 = 200;

impl Default for Pulse {
    fn default() -> Self {
        let now = now_ms();
        Self {
            busy: AtomicU32::new(0),
            idle_since: AtomicU64::new(now),
            // The first request's headers are due from the beginning.
            head_since: AtomicU64::new(now),
            stalled_since: AtomicU64::new(0),
            owed: AtomicU32::new(0),
            served_at: AtomicU64::new(0),
            ambiguous: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            alarm: tokio::sync::Notify::new(),
        }
    }
}

impl Pulse {
    /// A request's headers have arrived. Gives its number, from 1.
    pub fn begin(&self) -> u64 {
        self.busy.fetch_add(1, Relaxed);
        self.head_since.store(0, Relaxed);
        self.requests.fetch_add(1, Relaxed) + 1
    }

    /// A request has ended; whether its answer was complete.
    pub fn end(&self, complete: bool) {
        if !complete && self.cancelled.fetch_add(1, Relaxed) == PATIENCE_WITH_CANCELS {
            self.alarm.notify_one();
        }
        self.idle_since.store(now_ms(), Relaxed);
        self.busy.fetch_sub(1, Relaxed);
    }

    /// An answer's body waits for its turn from now on.
    pub fn owe(&self) {
        self.served_at.store(now_ms(), Relaxed);
        self.owed.fetch_add(1, Relaxed);
    }

    /// A body was asked for bytes: the client takes them. `waits`: whether it now waits for its service.
    pub fn served(&self, waited: bool, waits: bool) {
        self.served_at.store(now_ms(), Relaxed);
        match (waited, waits) {
            (false, true) => drop(self.owed.fetch_sub(1, Relaxed)),
            (true, false) => drop(self.owed.fetch_add(1, Relaxed)),
            _ => {}
        }
    }

    /// A body is gone; `waited`: it was waiting for its service.
    pub fn settle(&self, waited: bool) {
        if !waited {
            self.owed.fetch_sub(1, Relaxed);
        }
    }

    fn read(&self, bytes: usize) {
        if bytes > 0 && self.busy.load(Relaxed) == 0 && self.head_since.load(Relaxed) == 0 {
            self.head_since.store(now_ms(), Relaxed);
        }
    }

    fn wrote(&self, pending: bool) {
        let since = self.stalled_since.load(Relaxed);
        if pending != (since != 0) {
            self.stalled_since.store(if pending { now_ms() } else { 0 }, Relaxed);
        }
    }

    /// What is overdue, or when to look again.
    fn look(&self, timeouts: &Timeouts, quiet: bool) -> Result<Overdue, Duration> {
        let now = now_ms();
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX >> 1);
        let left = |since: u64, span: u64| (since + span).saturating_sub(now);
        let cancelled = self.cancelled.load(Relaxed);
        if cancelled > PATIENCE_WITH_CANCELS && cancelled > self.requests.load(Relaxed) / 2 {
            return Ok(Overdue::Cancelling);
        }
        let mut next = millis(timeouts.send.0);
        let stalled = self.stalled_since.load(Relaxed);
        if stalled != 0 {
            next = left(stalled, next);
            if next == 0 {
                return Ok(Overdue::Stalled);
            }
        }
        if self.owed.load(Relaxed) > 0 {
            let rest = left(self.served_at.load(Relaxed), millis(timeouts.send.0));
            if rest == 0 {
                return Ok(Overdue::Stalled);
            }
            next = next.min(rest);
        }
        if self.busy.load(Relaxed) == 0 {
            let head = self.head_since.load(Relaxed);
            if head != 0 {
                let rest = left(head, millis(timeouts.header.0));
                if rest == 0 {
                    return Ok(Overdue::Head);
                }
                next = next.min(rest);
                if quiet {
                    next = next.min(LOOK_AGAIN);
                }
            } else {
                let since = self.idle_since.load(Relaxed);
                let rest = left(since, millis(timeouts.idle.0));
                if rest == 0 {
                    return Ok(Overdue::Idle);
                }
                next = next.min(rest);
                if quiet && stalled == 0 {
                    let rest = left(since, QUIET);
                    if rest == 0 {
                        return Ok(Overdue::Quiet);
                    }
                    next = next.min(rest);
                }
            }
        } else if quiet {
            // Most requests end soon.
            next = next.min(LOOK_AGAIN);
        }
        Err(Duration::from_millis(next.clamp(10, 3_600_000)))
    }

    /// Waits until something is overdue. `quiet`: a quiet moment is of interest.
    pub async fn overdue(&self, timeouts: &Timeouts, quiet: bool) -> Overdue {
        loop {
            match self.look(timeouts, quiet) {
                Ok(overdue) => return overdue,
                Err(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.alarm.notified() => {}
                    }
                }
            }
        }
    }
}

/// A client's connection under watch, with what was read ahead of it.
#[derive(Debug)]
pub struct Watched<IO> {
    io: IO,
    ahead: Bytes,
    pulse: Arc<Pulse>,
    framing: Option<Box<Framing>>,
}

impl<IO> Watched<IO> {
    /// Puts a connection under watch; `http1`: its requests' framing too.
    pub fn new(io: IO, ahead: Bytes, pulse: Arc<Pulse>, http1: bool) -> Self {
        Self { io, ahead, pulse, framing: http1.then(Box::default) }
    }

    /// Puts back bytes that were read and not used. They were looked at already.
    pub fn put_back(&mut self, bytes: Bytes) {
        self.ahead = if self.ahead.is_empty() {
            bytes
        } else {
            let mut both = bytes::BytesMut::from(&bytes[..]);
            both.extend_from_slice(&self.ahead);
            both.freeze()
        };
        self.seen_ahead();
    }

    fn seen_ahead(&mut self) {
        if !self.ahead.is_empty() && self.framing.is_some() {
            self.pulse.read(self.ahead.len());
        }
    }
}

impl<IO: AsyncRead + Unpin> Watched<IO> {
    /// Waits for the next bytes with a small buffer, and keeps them. False at the end of the stream.
    pub async fn wait(&mut self) -> bool {
        if !self.ahead.is_empty() {
            return true;
        }
        let bytes = std::future::poll_fn(|cx| {
            let mut small = [0; 256];
            let mut buffer = ReadBuf::new(&mut small);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => Poll::Ready(Bytes::copy_from_slice(buffer.filled())),
                Poll::Ready(Err(_)) => Poll::Ready(Bytes::new()),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        if bytes.is_empty() {
            return false;
        }
        self.look_at(&bytes);
        self.ahead = bytes;
        true
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Watched<IO> {
    /// Closes a connection whose client may still be sending: closing at once would reset it, and the client
    /// could lose the answer that tells it why (RFC 9112, section 9.6).
    pub async fn linger(mut self) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let drained = async {
            let _ = self.io.shutdown().await;
            let mut small = [0; 1024];
            let mut left = MOST_LINGERING;
            while let Ok(n @ 1..) = self.io.read(&mut small).await {
                left = left.saturating_sub(n);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, drained).await;
    }
}

impl<IO> Watched<IO> {
    fn look_at(&mut self, bytes: &[u8]) {
        // In HTTP/2 bytes that come while there is no request may be a PING, which begins none.
        let Some(framing) = &mut self.framing else { return };
        self.pulse.read(bytes.len());
        if framing.see(bytes) {
            self.pulse.ambiguous.store(true, Relaxed);
        }
    }

    /// The bytes that were read ahead when the protocol was found out have to be looked at once.
    pub fn look_at_ahead(&mut self) {
        let ahead = self.ahead.clone();
        self.look_at(&ahead);
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let n = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..n]);
            this.ahead.advance(n);
            if this.ahead.is_empty() {
                this.ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = &polled {
            this.look_at(&buf.filled()[before..]);
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.pulse.wrote(polled.is_pending());
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.pulse.wrote(polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_flush(cx);
        this.pulse.wrote(polled.is_pending());
        polled
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
