//! Bodies, both ways, as plain enums: no boxed streams on the usual way. A request's body can be taken back
//! for another try as long as nothing of it was read.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::compress::Compressor;
use super::exchange::Exchange;
use super::files::FileBody;
use crate::upstream::health::now_ms;
use crate::upstream::pool::UpstreamBody;

/// Why a body ended before its end. Whoever receives it sees a cut, never a complete body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client sent more than it may.
    #[error("the request's body is larger than allowed")]
    TooLarge,
    /// The client was too slow.
    #[error("the request's body did not arrive in time")]
    Slow,
    /// The client's connection or framing failed.
    #[error("the request's body failed: {0}")]
    Client(hyper::Error),
    /// The service ended its answer early (HF4016).
    #[error("the service ended its answer early: {0}")]
    Truncated(hyper::Error),
    /// The service stopped sending.
    #[error("the service stopped sending its answer")]
    UpstreamSlow,
    /// A file could not be read any more.
    #[error("the file failed: {0}")]
    File(#[from] std::io::Error),
}

/// What the client's body did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// More than it may.
    TooLarge,
    /// Too slow.
    Slow,
    /// Its connection or framing failed.
    Broken,
}

/// A request's body on its way to a service.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// All of it, read before.
    Full(Option<Bytes>),
    /// As it comes.
    Stream(Arc<Source>),
}

/// A request's body as it comes, shared by all tries at services.
#[derive(Debug)]
pub struct Source {
    state: Mutex<State>,
    /// When bytes last came, for the timeout of the answer. In milliseconds; `u64::MAX` at the end.
    progress: AtomicU64,
    seen: AtomicU64,
}

#[derive(Debug)]
struct State {
    incoming: Incoming,
    touched: bool,
    most: u64,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    fault: Option<Fault>,
}

impl Source {
    /// A body with its limit and the longest time between two reads.
    pub fn new(incoming: Incoming, most: u64, patience: Duration) -> Arc<Self> {
        let done = incoming.is_end_stream();
        Arc::new(Self {
            state: Mutex::new(State { incoming, touched: false, most, patience, timer: None, fault: None }),
            progress: AtomicU64::new(if done { u64::MAX } else { now_ms() }),
            seen: AtomicU64::new(0),
        })
    }

    /// Sets how large it may be.
    pub fn limit(&self, most: u64) {
        self.state().most = most;
    }

    /// Whether no byte of it was asked for, so that it can still go elsewhere.
    pub fn is_untouched(&self) -> bool {
        !self.state().touched
    }

    /// Whether there is no body at all.
    pub fn is_empty(&self) -> bool {
        self.state().incoming.is_end_stream()
    }

    /// What the client did wrong.
    pub fn fault(&self) -> Option<Fault> {
        self.state().fault
    }

    /// Bytes so far.
    pub fn seen(&self) -> u64 {
        self.seen.load(Relaxed)
    }

    /// When bytes last came (see [`now_ms`]); `None` when all have.
    pub fn progress(&self) -> Option<u64> {
        Some(self.progress.load(Relaxed)).filter(|at| *at != u64::MAX)
    }

    /// Reads all of it.
    pub async fn collect(self: &Arc<Self>) -> Result<Bytes, BodyError> {
        let mut whole = bytes::BytesMut::new();
        let mut body = RequestBody::Stream(Arc::clone(self));
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            if let Ok(data) = frame?.into_data() {
                whole.extend_from_slice(&data);
            }
        }
        Ok(whole.freeze())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.state();
        let state = &mut *state;
        state.touched = true;
        match Pin::new(&mut state.incoming).poll_frame(cx) {
            // A client's trailers are not passed on, as with nginx: an application may read them as headers, and
            // none of the checks on headers was made on them (RFC 9110, section 6.5.1; invariant 7).
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                self.progress.store(u64::MAX, Relaxed);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                state.timer = None;
                if let Some(data) = frame.data_ref() {
                    let seen = self.seen.fetch_add(data.len() as u64, Relaxed) + data.len() as u64;
                    if seen > state.most {
                        state.fault = Some(Fault::TooLarge);
                        return Poll::Ready(Some(Err(BodyError::TooLarge)));
                    }
                }
                self.progress.store(now_ms(), Relaxed);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                state.fault = Some(Fault::Broken);
                Poll::Ready(Some(Err(BodyError::Client(error))))
            }
            Poll::Ready(None) => {
                self.progress.store(u64::MAX, Relaxed);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let patience = state.patience;
                let timer = state.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                ready!(timer.as_mut().poll(cx));
                state.fault = Some(Fault::Slow);
                Poll::Ready(Some(Err(BodyError::Slow)))
            }
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(source) => source.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_none(),
            Self::Stream(source) => source.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(source) => source.state().incoming.size_hint(),
        }
    }
}

/// An answer's body on its way to the client. It carries the exchange, which is logged when the body ends.
#[derive(Debug, Default)]
pub struct Body {
    kind: Kind,
    exchange: Option<Box<Exchange>>,
    /// Counted by the connection's pulse as owed to the client (HTTP/2 only).
    owed: bool,
    /// Waits for its service.
    waits: bool,
}

/// Where an answer's bytes come from.
#[derive(Debug, Default)]
pub enum Kind {
    /// Nowhere.
    #[default]
    Empty,
    /// They are here.
    Full(Bytes),
    /// A service.
    Upstream(UpstreamBody),
    /// A file.
    File(FileBody),
    /// Another body, compressed on the way.
    Compressed(Box<Compressor>),
    /// A gRPC status and nothing else: trailers.
    Trailers(Box<http::HeaderMap>),
}

impl From<Bytes> for Kind {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl From<String> for Kind {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl Kind {
    /// The next frame.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Upstream(body) => body.poll_frame(cx),
            Self::File(body) => body.poll_frame(),
            Self::Compressed(body) => body.poll_frame(cx),
            Self::Trailers(trailers) => {
                let trailers = std::mem::take(&mut **trailers);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    /// Whether nothing more will come.
    pub fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Upstream(body) => body.is_end_stream(),
            Self::File(body) => body.size() == 0,
            _ => false,
        }
    }

    /// How much will come.
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upstream(body) => body.size_hint(),
            Self::File(body) => SizeHint::with_exact(body.size()),
            Self::Compressed(_) => SizeHint::default(),
            Self::Trailers(_) => SizeHint::default(),
        }
    }
}

impl Body {
    /// A body that logs its exchange when it ends.
    pub fn new(mut kind: Kind, exchange: Box<Exchange>) -> Self {
        let shares = exchange.request.version == Version::HTTP_2;
        if shares && let Kind::File(file) = &mut kind {
            file.in_small_pieces();
        }
        // In HTTP/1 the socket itself tells of a client that takes nothing, while the body is not asked for more
        // until all of a large piece was taken, which a slow client may need long for.
        let owed = shares && !kind.is_end_stream();
        if owed {
            exchange.pulse().owe();
        }
        Self { kind, exchange: Some(exchange), owed, waits: false }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = this.kind.poll_frame(cx);
        if this.owed
            && let Some(x) = &this.exchange
        {
            let waits = polled.is_pending();
            x.pulse().served(this.waits, waits);
            this.waits = waits;
        }
        let polled = ready!(polled);
        let Some(x) = &mut this.exchange else { return Poll::Ready(polled) };
        match &polled {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    x.answer.body_bytes += data.len() as u64;
                    if let Some(attempt) = x.answer.attempts.last_mut() {
                        attempt.bytes += data.len() as u64;
                    }
                }
                if this.kind.is_end_stream() {
                    x.answer.complete = true;
                }
            }
            Some(Err(error)) => {
                super::log::body_failed(x, error);
                x.answer.failed = true;
            }
            None => x.answer.complete = true,
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.kind.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.owed
            && let Some(x) = &self.exchange
        {
            x.pulse().settle(self.waits);
        }
        // A body without bytes is dropped by hyper without being polled.
        if let Some(x) = &mut self.exchange
            && self.kind.is_end_stream()
            && !x.answer.failed
        {
            x.answer.complete = true;
        }
    }
}

/// A timer for a body that waits, made when it first has to wait.
#[derive(Debug, Default)]
pub struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Ready when the wait has lasted `span`.
    pub fn poll_waited(&mut self, span: Duration, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(span))).as_mut().poll(cx)
    }

    /// The wait is over; the timer, if there is one, is set anew at the next wait.
    pub fn moved(&mut self, span: Duration) {
        if let Some(timer) = &mut self.0 {
            timer.as_mut().reset(Instant::now() + span);
        }
    }
}
