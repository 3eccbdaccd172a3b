//! Watches the bytes of an HTTP/1 client for one thing that the parser behind it does not tell: a request with
//! both Content-Length and Transfer-Encoding, which two servers may cut at different places (RFC 9112,
//! section 6.1). The parser drops the length silently; here such a request is reported, whatever their order,
//! and then refused.

#[cfg(test)]
mod tests;

/// Follows requests through a stream of bytes.
#[derive(Debug)]
pub struct Framing {
    state: State,
    line: Line,
    length: Option<u64>,
    chunked: bool,
    lines: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    Trailers,
    /// Nothing more is looked at: an error that the parser refuses, or another protocol.
    Off,
}

/// The beginning of a line that came in pieces.
#[derive(Debug)]
struct Line {
    bytes: [u8; 64],
    length: usize,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            state: State::Head,
            line: Line { bytes: [0; 64], length: 0 },
            length: None,
            chunked: false,
            lines: 0,
        }
    }
}

impl Framing {
    /// Takes the next bytes. True when a request with both was found; nothing is looked at any more then.
    pub fn see(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self.state {
                State::Off => return false,
                State::Body(left) | State::Chunk(left) => {
                    let taken = left.min(bytes.len() as u64);
                    bytes = bytes.get(usize::try_from(taken).unwrap_or(bytes.len())..).unwrap_or_default();
                    let left = left - taken;
                    self.state = match (self.state, left) {
                        (State::Body(_), 0) => State::Head,
                        (State::Body(_), left) => State::Body(left),
                        (_, 0) => State::ChunkSize,
                        (_, left) => State::Chunk(left),
                    };
                }
                State::Head | State::ChunkSize | State::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.line.push(bytes);
                        return false;
                    };
                    let (piece, rest) = bytes.split_at(end);
                    bytes = rest.get(1..).unwrap_or_default();
                    let found = if self.line.length == 0 {
                        self.take_line(piece)
                    } else {
                        self.line.push(piece);
                        let whole = self.line.bytes;
                        let length = std::mem::take(&mut self.line.length);
                        self.take_line(whole.get(..length).unwrap_or_default())
                    };
                    if found {
                        self.state = State::Off;
                        return true;
                    }
                }
            }
        }
        false
    }

    fn take_line(&mut self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.state {
            State::Head if line.is_empty() => {
                if self.lines > 0 {
                    return self.end_head();
                }
            }
            State::Head => {
                self.lines += 1;
                match line.first().map(u8::to_ascii_lowercase) {
                    Some(b'c') => {
                        if let Some(value) = value_of(line, b"content-length") {
                            self.length = Some(number(value, 10).unwrap_or(u64::MAX));
                        }
                    }
                    Some(b't') => self.chunked |= value_of(line, b"transfer-encoding").is_some(),
                    _ => {}
                }
            }
            State::ChunkSize => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                self.state = match number(digits, 16) {
                    Some(0) => State::Trailers,
                    Some(size) => State::Chunk(size.saturating_add(2)),
                    None => State::Off,
                };
            }
            State::Trailers => {
                if line.is_empty() {
                    self.state = State::Head;
                }
            }
            State::Body(_) | State::Chunk(_) | State::Off => {}
        }
        false
    }

    fn end_head(&mut self) -> bool {
        let (length, chunked) = (self.length.take(), std::mem::take(&mut self.chunked));
        self.lines = 0;
        match (length, chunked) {
            (Some(_), true) => return true,
            (None, true) => self.state = State::ChunkSize,
            (Some(length), false) if length > 0 => self.state = State::Body(length),
            _ => {}
        }
        false
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.len() - self.length;
        let taken = bytes.len().min(room);
        self.bytes[self.length..self.length + taken].copy_from_slice(&bytes[..taken]);
        // A line that begins here is not empty, however long it is.
        self.length += taken;
    }
}

/// The value of a header line of this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = line.split_at_checked(name.len())?;
    if !head.eq_ignore_ascii_case(name) {
        return None;
    }
    rest.trim_ascii_start().strip_prefix(b":")
}

fn number(text: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text.trim_ascii()).ok()?, radix).ok()
}
