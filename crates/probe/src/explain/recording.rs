//! A TCP stream that keeps a copy of what goes over it, so that the records can be shown.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::wire::record::MOST;

/// What went over the wire, up to 256 KiB each way.
#[derive(Debug, Default)]
pub struct Tape {
    /// What we sent.
    pub sent: Vec<u8>,
    /// What the server sent.
    pub received: Vec<u8>,
    /// When our first byte went out.
    pub first_sent: Option<Instant>,
    /// When the server's first byte came.
    pub first_received: Option<Instant>,
    /// When the server's last byte came.
    pub last_received: Option<Instant>,
    /// Whether the server has closed its side.
    pub closed: bool,
}

/// The stream and its tape.
pub struct Recording {
    inner: TcpStream,
    tape: Arc<Mutex<Tape>>,
}

impl Recording {
    /// Records on `tape`.
    pub fn new(inner: TcpStream, tape: Arc<Mutex<Tape>>) -> Self {
        Self { inner, tape }
    }
}

fn keep(list: &mut Vec<u8>, bytes: &[u8]) {
    let room = MOST.saturating_sub(list.len()).min(bytes.len());
    list.extend_from_slice(bytes.get(..room).unwrap_or_default());
}

impl AsyncRead for Recording {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let (Poll::Ready(Ok(())), Ok(mut tape)) = (&result, self.tape.lock()) {
            let new = buffer.filled().get(before..).unwrap_or_default();
            if new.is_empty() {
                tape.closed = true;
            } else {
                let now = Instant::now();
                tape.first_received.get_or_insert(now);
                tape.last_received = Some(now);
                keep(&mut tape.received, new);
            }
        }
        result
    }
}

impl AsyncWrite for Recording {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let (Poll::Ready(Ok(count)), Ok(mut tape)) = (&result, self.tape.lock()) {
            tape.first_sent.get_or_insert_with(Instant::now);
            keep(&mut tape.sent, bytes.get(..*count).unwrap_or_default());
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
