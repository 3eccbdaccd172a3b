//! A bare HTTP/1.1 client connection: one write and one read per small request, nothing allocated on the way.

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Length of the small answer that the backend gives.
pub const SMALL: u64 = 1024;
/// One read or write of a bulk transfer.
pub const CHUNK: usize = 64 * 1024;
const HEAD_LIMIT: usize = 16 * 1024;

/// A connection with what was read ahead.
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
    filled: usize,
    get: Vec<u8>,
    host: String,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Content-Length; an answer without one is refused.
    pub length: u64,
    /// The server wants to close after this answer.
    pub close: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Wraps an open stream.
    pub fn new(stream: S, host: &str) -> Self {
        let get = format!("GET /small HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n");
        Self { stream, buffer: vec![0; 4096], filled: 0, get: get.into_bytes(), host: host.to_owned() }
    }

    /// The stream beneath.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Ends the TLS session and the connection.
    pub async fn close(&mut self) -> anyhow::Result<()> {
        self.stream.shutdown().await.context("close")
    }

    /// One small request, checked to be answered 200 with 1 KB.
    pub async fn small(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.get).await.context("write")?;
        let head = self.head().await?;
        let read = self.body(head.length).await?;
        ensure!(head.status == 200 && read == SMALL, "expected 200 and {SMALL} bytes: {head:?}");
        ensure!(!head.close, "the server closes a keep-alive connection");
        Ok(())
    }

    /// Downloads `bytes` in one answer.
    pub async fn download(&mut self, bytes: u64) -> anyhow::Result<()> {
        self.large_buffer();
        let request =
            format!("GET /bulk/{bytes} HTTP/1.1\r\nHost: {}\r\nUser-Agent: bench\r\n\r\n", self.host);
        self.stream.write_all(request.as_bytes()).await.context("write")?;
        let head = self.head().await?;
        let read = self.body(head.length).await?;
        ensure!(head.status == 200 && read == bytes, "expected 200 and {bytes} bytes: {head:?}");
        Ok(())
    }

    /// Uploads `bytes` in one request; the backend's answer must say that it got them all.
    pub async fn upload(&mut self, bytes: u64) -> anyhow::Result<()> {
        let head = format!(
            "POST /sink HTTP/1.1\r\nHost: {}\r\nUser-Agent: bench\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {bytes}\r\n\r\n",
            self.host
        );
        self.stream.write_all(head.as_bytes()).await.context("write")?;
        let block = vec![b'x'; CHUNK];
        let mut left = bytes;
        while left > 0 {
            let part = block.get(..usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)).unwrap_or_default();
            self.stream.write_all(part).await.context("write")?;
            left -= part.len() as u64;
        }
        self.stream.flush().await.context("write")?;
        let head = self.head().await?;
        ensure!(head.status == 200 && head.length <= 4096, "expected 200 and a number: {head:?}");
        let length = usize::try_from(head.length)?;
        while self.filled < length {
            self.fill().await?;
        }
        let text = String::from_utf8_lossy(self.buffer.get(..length).unwrap_or_default()).into_owned();
        self.consume(length);
        ensure!(text.trim() == bytes.to_string(), "the backend got {text} of {bytes} bytes");
        Ok(())
    }

    fn large_buffer(&mut self) {
        if self.buffer.len() < CHUNK {
            self.buffer.resize(CHUNK, 0);
        }
    }

    async fn head(&mut self) -> anyhow::Result<Head> {
        loop {
            let read = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some((head, length)) = parse_head(read)? {
                self.consume(length);
                return Ok(head);
            }
            ensure!(self.filled < HEAD_LIMIT, "the answer's head is too long");
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            self.fill().await?;
        }
    }

    /// Reads and drops `length` bytes of body; bytes beyond it mean that the framing is wrong.
    async fn body(&mut self, length: u64) -> anyhow::Result<u64> {
        let mut left = length.checked_sub(self.filled as u64).context("bytes after the answer")?;
        self.filled = 0;
        while left > 0 {
            let read = self.stream.read(&mut self.buffer).await.context("read")?;
            ensure!(read > 0, "closed with {left} bytes of the body missing");
            left = left.checked_sub(read as u64).context("bytes after the answer")?;
        }
        Ok(length)
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let read = self.stream.read(room).await.context("read")?;
        ensure!(read > 0, "closed before the answer");
        self.filled += read;
        Ok(())
    }

    fn consume(&mut self, length: usize) {
        self.buffer.copy_within(length..self.filled, 0);
        self.filled -= length;
    }
}

/// Reads the head of an answer: nothing yet, or the head and its length in bytes.
pub fn parse_head(read: &[u8]) -> anyhow::Result<Option<(Head, usize)>> {
    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let mut lines = read.get(..end).unwrap_or_default().split(|&byte| byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let status = match first.split(' ').collect::<Vec<_>>().as_slice() {
        ["HTTP/1.1", status, ..] => status.trim().parse().with_context(|| format!("status {first:?}"))?,
        _ => bail!("not an HTTP/1.1 answer: {first:?}"),
    };
    let mut length = None;
    let mut close = false;
    for line in lines {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            bail!("a header without a colon")
        };
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            length = Some(std::str::from_utf8(value)?.parse().context("content-length")?);
        } else if name.eq_ignore_ascii_case(b"connection") {
            close = value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            bail!("the answer's length was lost on the way: transfer-encoding");
        }
    }
    let length = length.context("an answer without content-length")?;
    Ok(Some((Head { status, length, close }, end + 4)))
}
