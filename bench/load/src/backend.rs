//! The backend that all servers forward to: plain HTTP/1.1 with as little work per request as can be.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::http1::{CHUNK, SMALL};

const HEAD_LIMIT: usize = 16 * 1024;

/// How a request's body is framed.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// Content-Length, or none.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// What the backend needs of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes to answer with; nothing for the small answer.
    pub bulk: Option<u64>,
    /// Whether the answer is the length of what was uploaded.
    pub sink: bool,
    /// The body's framing.
    pub body: Body,
    /// Whether the client wants the connection closed afterwards.
    pub close: bool,
}

/// Listens, prints `{"listening":"ADDRESS"}` and serves until it is killed.
pub async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    println!("{{\"listening\":\"{}\"}}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await.context("accept")?;
        tokio::spawn(async move {
            if let Err(error) = connection(stream).await {
                eprintln!("backend: {error:#}");
            }
        });
    }
}

/// Serves one connection until the peer closes it.
pub async fn connection(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let small = answer("text/plain", &vec![b'h'; usize::try_from(SMALL)?]);
    let mut buffer = vec![0; 4096];
    let mut filled = 0;
    loop {
        let (request, head) = loop {
            if let Some(found) = parse_request(buffer.get(..filled).unwrap_or_default())? {
                break found;
            }
            ensure!(filled < HEAD_LIMIT, "the request's head is too long");
            if filled == buffer.len() {
                buffer.resize(buffer.len() * 2, 0);
            }
            match stream.read(buffer.get_mut(filled..).unwrap_or_default()).await {
                Ok(0) if filled == 0 => return Ok(()),
                Ok(0) => bail!("closed in the middle of a request"),
                // A proxy that ends resets its pooled connections.
                Err(_) if filled == 0 => return Ok(()),
                Err(error) => return Err(error).context("read"),
                Ok(read) => filled += read,
            }
        };
        buffer.copy_within(head..filled, 0);
        filled -= head;
        let received = match request.body {
            Body::Length(0) => 0,
            Body::Length(length) => sized(&mut stream, &mut buffer, &mut filled, length).await?,
            Body::Chunked => chunked(&mut stream, &mut buffer, &mut filled).await?,
        };
        if let Some(bytes) = request.bulk {
            download(&mut stream, bytes).await?;
        } else if request.sink {
            stream.write_all(&answer("text/plain", received.to_string().as_bytes())).await?;
        } else {
            stream.write_all(&small).await?;
        }
        if request.close {
            return Ok(stream.shutdown().await?);
        }
    }
}

fn answer(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn download(stream: &mut TcpStream, bytes: u64) -> anyhow::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let block = vec![b'b'; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = block.get(..usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)).unwrap_or_default();
        stream.write_all(part).await.context("write")?;
        left -= part.len() as u64;
    }
    Ok(())
}

/// Reads a body of known length.
async fn sized(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    filled: &mut usize,
    length: u64,
) -> anyhow::Result<u64> {
    let ahead = usize::try_from(length).unwrap_or(usize::MAX).min(*filled);
    buffer.copy_within(ahead..*filled, 0);
    *filled -= ahead;
    let mut left = length - ahead as u64;
    buffer.resize(CHUNK, 0);
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = stream.read(buffer.get_mut(..room).unwrap_or_default()).await.context("read")?;
        ensure!(read > 0, "closed in the middle of a body");
        left -= read as u64;
    }
    Ok(length)
}

/// Reads a chunked body, whose extensions and trailers are dropped.
async fn chunked(stream: &mut TcpStream, buffer: &mut Vec<u8>, filled: &mut usize) -> anyhow::Result<u64> {
    let mut total = 0;
    loop {
        let line = line(stream, buffer, filled).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).with_context(|| format!("chunk size {line:?}"))?;
        if size == 0 {
            while !self::line(stream, buffer, filled).await?.is_empty() {}
            return Ok(total);
        }
        total += sized(stream, buffer, filled, size).await?;
        ensure!(self::line(stream, buffer, filled).await?.is_empty(), "no end of line after a chunk");
    }
}

async fn line(stream: &mut TcpStream, buffer: &mut Vec<u8>, filled: &mut usize) -> anyhow::Result<String> {
    loop {
        let read = buffer.get(..*filled).unwrap_or_default();
        if let Some(end) = read.windows(2).position(|window| window == b"\r\n") {
            let line = String::from_utf8_lossy(read.get(..end).unwrap_or_default()).into_owned();
            buffer.copy_within(end + 2..*filled, 0);
            *filled -= end + 2;
            return Ok(line);
        }
        ensure!(*filled < HEAD_LIMIT, "a chunk's line is too long");
        if *filled == buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
        let read = stream.read(buffer.get_mut(*filled..).unwrap_or_default()).await.context("read")?;
        ensure!(read > 0, "closed in the middle of a body");
        *filled += read;
    }
}

/// Reads the head of a request: nothing yet, or what matters of it and its length in bytes.
pub fn parse_request(read: &[u8]) -> anyhow::Result<Option<(Request, usize)>> {
    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let mut lines = read.get(..end).unwrap_or_default().split(|&byte| byte == b'\n');
    let first = std::str::from_utf8(lines.next().unwrap_or_default())?.trim_end();
    let [_method, path, version @ ("HTTP/1.1" | "HTTP/1.0")] = first.split(' ').collect::<Vec<_>>()[..]
    else {
        bail!("not a request line: {first:?}");
    };
    let bulk = match path.strip_prefix("/bulk/") {
        Some(bytes) => Some(bytes.parse().with_context(|| format!("bytes in {path:?}"))?),
        None => None,
    };
    let mut request =
        Request { bulk, sink: path == "/sink", body: Body::Length(0), close: version == "HTTP/1.0" };
    for line in lines {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            bail!("a header without a colon")
        };
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            request.body = Body::Length(std::str::from_utf8(value)?.parse().context("content-length")?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            request.body = Body::Chunked;
        } else if name.eq_ignore_ascii_case(b"connection") {
            request.close = value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some((request, end + 4)))
}
