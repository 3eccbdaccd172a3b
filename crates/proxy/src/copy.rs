//! Bytes both ways between two streams: each direction ends by itself (half-close), buffers belong to the
//! worker and are held only while bytes wait in them, and nothing for too long ends it all.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

#[cfg(test)]
mod tests;

/// How long the other direction may be silent once one was cut off: what is under way still arrives.
const DRAIN_SILENCE: Duration = Duration::from_secs(1);
/// Several TLS records fit, so that one write carries them.
const BUFFER: usize = 64 << 10;
/// Buffers that a worker keeps for the next who needs one.
const SPARE: usize = 16;
/// What a bulk flow reads at once: it wakes the other end less often.
const LARGE: usize = 256 << 10;
/// A read of more than this is one of a bulk flow: of 64 KiB of TLS three whole records are sure.
const BULK_READ: usize = BUFFER / 2;
/// Of large buffers a worker keeps so many.
const SPARE_LARGE: usize = 2;
/// Directions of flows that may use large buffers at one time. What a TLS stream could not send of one waits with it, so
/// this bounds memory.
const BULK: usize = 64;

static IN_BULK: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static LARGE_BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// How a copy ended.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// Bytes from the first stream to the second.
    pub(crate) forth: u64,
    /// Bytes from the second stream to the first.
    pub(crate) back: u64,
    pub(crate) end: End,
}

/// Why a copy ended.
#[derive(Debug, Default)]
pub(crate) enum End {
    /// Both directions were closed in order.
    #[default]
    Complete,
    /// Nothing came for too long.
    Idle,
    /// The first stream was cut off: TLS without close_notify, or a reset.
    FirstBroke(io::Error),
    /// The second one was.
    SecondBroke(io::Error),
}

/// One direction.
#[derive(Default)]
struct Direction {
    buffer: Option<Box<[u8]>>,
    filled: usize,
    written: usize,
    total: u64,
    unflushed: bool,
    /// The last read was a large one.
    bulk: Option<Bulk>,
    state: State,
}

/// The right to large buffers; dropping it gives it back.
struct Bulk;

impl Bulk {
    fn begin() -> Option<Self> {
        let more = |count| (count < BULK).then_some(count + 1);
        IN_BULK.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self)
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        IN_BULK.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Copying,
    Closing,
    Closed,
    /// The reader was cut off: nothing more comes, and the writer is not closed as if all had come.
    Cut,
}

/// Which stream failed.
enum Broke {
    Reading(io::Error),
    Writing(io::Error),
}

impl Direction {
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: Pin<&mut R>,
        mut writer: Pin<&mut W>,
        counter: &Counter,
    ) -> Poll<Result<(), Broke>>
    where
        R: AsyncRead,
        W: AsyncWrite,
    {
        loop {
            match self.state {
                State::Closed | State::Cut => return Poll::Ready(Ok(())),
                State::Closing => {
                    ready!(writer.as_mut().poll_shutdown(cx)).map_err(Broke::Writing)?;
                    self.state = State::Closed;
                    return Poll::Ready(Ok(()));
                }
                State::Copying => {}
            }
            if self.written < self.filled {
                let waiting = self.buffer.as_deref().and_then(|buffer| buffer.get(self.written..self.filled));
                let n = ready!(writer.as_mut().poll_write(cx, waiting.unwrap_or_default()))
                    .map_err(Broke::Writing)?;
                if n == 0 {
                    return Poll::Ready(Err(Broke::Writing(io::ErrorKind::WriteZero.into())));
                }
                self.written += n;
                self.total += n as u64;
                self.unflushed = true;
                counter.inc_by(n as u64);
                continue;
            }
            let fits = if self.bulk.is_some() { LARGE } else { BUFFER };
            let mut buffer = match self.buffer.take() {
                Some(buffer) if buffer.len() == fits => buffer,
                other => {
                    if let Some(other) = other {
                        give_back(other);
                    }
                    borrow(fits)
                }
            };
            let mut read = ReadBuf::new(&mut buffer);
            match reader.as_mut().poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) => {
                    (self.filled, self.written) = (read.filled().len(), 0);
                    if self.filled <= BULK_READ {
                        self.bulk = None;
                    } else if self.bulk.is_none() {
                        self.bulk = Bulk::begin();
                    }
                    if self.filled == 0 {
                        give_back(buffer);
                        self.state = State::Closing;
                    } else {
                        self.buffer = Some(buffer);
                    }
                }
                Poll::Ready(Err(error)) => {
                    give_back(buffer);
                    self.state = State::Cut;
                    return Poll::Ready(Err(Broke::Reading(error)));
                }
                Poll::Pending => {
                    give_back(buffer);
                    if self.unflushed {
                        ready!(writer.as_mut().poll_flush(cx)).map_err(Broke::Writing)?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            give_back(buffer);
        }
    }
}

fn borrow(bytes: usize) -> Box<[u8]> {
    let spares = if bytes == LARGE { &LARGE_BUFFERS } else { &BUFFERS };
    let spare = spares.try_with(|buffers| buffers.borrow_mut().pop()).ok().flatten();
    spare.unwrap_or_else(|| vec![0; bytes].into_boxed_slice())
}

fn give_back(buffer: Box<[u8]>) {
    let (spares, most) =
        if buffer.len() == LARGE { (&LARGE_BUFFERS, SPARE_LARGE) } else { (&BUFFERS, SPARE) };
    // The thread may be ending.
    let _ = spares.try_with(|buffers| {
        let mut buffers = buffers.borrow_mut();
        if buffers.len() < most {
            buffers.push(buffer);
        }
    });
}

/// Copies until both directions have ended, one of the streams breaks, or nothing came for `idle`.
pub(crate) async fn both_ways<A, B>(
    first: &mut A,
    second: &mut B,
    idle: Duration,
    (forth_counter, back_counter): (&Counter, &Counter),
) -> Copied
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut forth, mut back) = (Direction::default(), Direction::default());
    let mut timer: Pin<Box<Sleep>> = Box::pin(tokio::time::sleep(idle));
    let (mut seen, mut last, mut idle) = (0, Instant::now(), idle);
    let mut cut: Option<End> = None;
    let end = poll_fn(|cx| {
        let one = forth.poll(cx, Pin::new(&mut *first), Pin::new(&mut *second), forth_counter);
        let other = back.poll(cx, Pin::new(&mut *second), Pin::new(&mut *first), back_counter);
        let broke = |polled, first: fn(io::Error) -> End, second: fn(io::Error) -> End| match polled {
            Poll::Ready(Err(Broke::Reading(error))) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(Some(first(error)))
            }
            Poll::Ready(Err(Broke::Reading(error))) => Err(first(error)),
            Poll::Ready(Err(Broke::Writing(error))) => Err(second(error)),
            _ => Ok(None),
        };
        let ready = (one.is_ready(), other.is_ready());
        for outcome in
            [broke(one, End::FirstBroke, End::SecondBroke), broke(other, End::SecondBroke, End::FirstBroke)]
        {
            match outcome {
                // Cut off without close_notify: the other direction is carried on for what is under way.
                Ok(Some(end)) => {
                    if cut.is_none() {
                        idle = idle.min(DRAIN_SILENCE);
                        last = Instant::now();
                        timer.as_mut().reset(last + idle);
                        cut = Some(end);
                    }
                }
                Ok(None) => {}
                Err(end) => return Poll::Ready(cut.take().unwrap_or(end)),
            }
        }
        if ready == (true, true) {
            return Poll::Ready(cut.take().unwrap_or_default());
        }
        if forth.total + back.total != seen {
            seen = forth.total + back.total;
            last = Instant::now();
        }
        // The timer is set anew only when it rings: not for each byte.
        while timer.as_mut().poll(cx).is_ready() {
            let due = last + idle;
            if Instant::now() >= due {
                return Poll::Ready(cut.take().unwrap_or(End::Idle));
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    })
    .await;
    Copied { forth: forth.total, back: back.total, end }
}
