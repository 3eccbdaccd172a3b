//! Messages of the plainer framing: four bytes of head, of which the first says what it is and the others how many bytes
//! follow (big-endian). Pure: bytes in, values out.
//!
//! | first byte | message | what follows |
//! |---|---|---|
//! | 0 | data | 1 to 2^24-1 bytes of the flow |
//! | 1 | end | nothing: the sender's direction of the flow is over, as a TCP FIN says it |
//! | 2 | open | whom the caller wants: authority (two bytes of length), then headers (one byte of length, name, two bytes of length, value) |
//! | 3 | answer | two bytes: a status of HTTP |
//!
//! A flow is an open from the caller, an answer, and after 200 data and an end from either side. After both ends, or after
//! another answer, the connection is free for the next open. A flow that is broken off takes its connection with it.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;

/// Length of a head, in bytes.
pub const HEAD: usize = 4;
/// Most bytes of an open: the same as all headers of a CONNECT may have.
pub const OPEN: usize = 16 << 10;
/// Most headers of an open; ours have three.
const HEADERS: usize = 32;
/// Length of an answer, in bytes.
const ANSWER: usize = 2;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// So many bytes of the flow.
    Data(usize),
    /// The sender says no more.
    End,
    /// A flow is asked for, in so many bytes.
    Open(usize),
    /// What becomes of it.
    Answer,
}

/// What the peer may not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed message: {0}")]
pub struct Malformed(&'static str);

impl Malformed {
    /// A message that has its place elsewhere.
    pub(super) const OUT_OF_TURN: Self = Self("out of turn");
}

impl Head {
    /// Reads a head.
    ///
    /// # Errors
    ///
    /// When there is no such message, or its length is none that it may have.
    pub fn parse(bytes: [u8; HEAD]) -> Result<Self, Malformed> {
        let [kind, a, b, c] = bytes;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        match (kind, length) {
            (0, 1..) => Ok(Self::Data(length)),
            (1, 0) => Ok(Self::End),
            (2, 1..=OPEN) => Ok(Self::Open(length)),
            (3, ANSWER) => Ok(Self::Answer),
            (0..=3, _) => Err(Malformed("its length")),
            _ => Err(Malformed("there is no such kind")),
        }
    }

    /// Writes it. What is longer than a message can be becomes the longest.
    pub fn bytes(self) -> [u8; HEAD] {
        let (kind, length) = match self {
            Self::Data(length) => (0, length),
            Self::End => (1, 0),
            Self::Open(length) => (2, length),
            Self::Answer => (3, ANSWER),
        };
        let [.., a, b, c] = length.min((1 << 24) - 1).to_be_bytes();
        [kind, a, b, c]
    }

    /// How many bytes follow that are no data.
    pub fn text(self) -> usize {
        match self {
            Self::Data(_) | Self::End => 0,
            Self::Open(length) => length,
            Self::Answer => ANSWER,
        }
    }
}

/// Whom a caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The application's address and port.
    pub authority: String,
    /// The same that a CONNECT has.
    pub headers: HeaderMap,
}

impl Open {
    /// The whole message, or none where it would be too long.
    pub fn message(&self) -> Option<Vec<u8>> {
        let mut message = vec![0; HEAD];
        let length = |length: usize| u16::try_from(length).ok().map(u16::to_be_bytes);
        message.extend(length(self.authority.len())?);
        message.extend(self.authority.as_bytes());
        for (name, value) in &self.headers {
            message.push(u8::try_from(name.as_str().len()).ok()?);
            message.extend(name.as_str().as_bytes());
            message.extend(length(value.len())?);
            message.extend(value.as_bytes());
        }
        let said = message.len() - HEAD;
        if said > OPEN || self.headers.len() > HEADERS {
            return None;
        }
        message[..HEAD].copy_from_slice(&Head::Open(said).bytes());
        Some(message)
    }

    /// Reads what follows the head.
    ///
    /// # Errors
    ///
    /// When a length goes beyond the end, or a name, a value or the authority is none of HTTP's.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        let authority = long(&mut rest)?;
        let authority = std::str::from_utf8(authority).map_err(|_| Malformed("the authority is no text"))?;
        if authority.parse::<Authority>().is_err() {
            return Err(Malformed("the authority is none"));
        }
        let mut headers = HeaderMap::new();
        while let Some((length, after)) = rest.split_first() {
            if headers.len() == HEADERS {
                return Err(Malformed("too many headers"));
            }
            rest = after;
            let name = part(&mut rest, usize::from(*length))?;
            let name = HeaderName::from_lowercase(name).map_err(|_| Malformed("a header's name"))?;
            let value = HeaderValue::from_bytes(long(&mut rest)?);
            headers.append(name, value.map_err(|_| Malformed("a header's value"))?);
        }
        Ok(Self { authority: authority.to_owned(), headers })
    }
}

/// The whole message of an answer.
pub fn answer(status: u16) -> [u8; HEAD + ANSWER] {
    let [kind, a, b, c] = Head::Answer.bytes();
    let [high, low] = status.to_be_bytes();
    [kind, a, b, c, high, low]
}

/// The status of an answer.
pub fn status(said: &[u8]) -> Option<u16> {
    <[u8; ANSWER]>::try_from(said).ok().map(u16::from_be_bytes)
}

fn part<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (part, after) = rest.split_at_checked(length).ok_or(Malformed("a length beyond the end"))?;
    *rest = after;
    Ok(part)
}

fn long<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = part(rest, 2)?;
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    part(rest, length)
}
