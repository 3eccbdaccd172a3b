//! What a client speaks, from its first bytes: TLS (and to whom), plain HTTP, or something else. [`peek`] is
//! pure, for fuzzing; it looks at the ClientHello and decides nothing: the TLS library reads it again.

use std::io;

use tokio::io::AsyncReadExt as _;

use crate::transport::Transport;

#[cfg(test)]
mod tests;

/// What the ClientHello says that decides where the connection goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The server name, in lower case; none where it is missing or no DNS name.
    pub server_name: Option<Box<str>>,
    /// The signature schemes that the client can verify, as they stand on the wire.
    pub signature_schemes: Vec<u16>,
    /// The cipher suites that the client offers, as they stand on the wire.
    pub cipher_suites: Vec<u16>,
    /// The highest version offered: 0x0303 is TLS 1.2, 0x0304 is TLS 1.3.
    pub version: u16,
}

/// What the first bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// More are needed.
    Incomplete,
    /// A whole ClientHello.
    Tls(ClientHello),
    /// TLS by its first bytes, but the ClientHello is malformed. The TLS library says what is wrong with it.
    MalformedTls,
    /// An HTTP/1 request, or the preface of HTTP/2.
    Http,
    /// None of these.
    Other,
}

/// Looks at the first bytes of a connection.
pub fn peek(bytes: &[u8]) -> Peeked {
    match bytes.first() {
        None => return Peeked::Incomplete,
        Some(0x16) => {}
        Some(_) => return peek_http(bytes),
    }
    // A record may hold a part of the message only (RFC 8446, section 5.1): the parts are joined.
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        let Some((header, tail)) = rest.split_first_chunk::<5>() else { return Peeked::Incomplete };
        let [kind, major, _, high, low] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != 0x16 || major != 3 || length == 0 || length > (1 << 14) + 256 {
            return Peeked::MalformedTls;
        }
        let part = tail.get(..length).unwrap_or(tail);
        message.extend_from_slice(part);
        if let Some(&[kind, a, b, c]) = message.first_chunk::<4>() {
            if kind != 1 {
                return Peeked::MalformedTls;
            }
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if let Some(body) = message.get(4..4 + length) {
                return parse(body).map_or(Peeked::MalformedTls, Peeked::Tls);
            }
        }
        match tail.get(length..) {
            Some(next) => rest = next,
            None => return Peeked::Incomplete,
        }
    }
}

/// The longest method that is registered has 17 letters (UPDATEREDIRECTREF).
const LONGEST_METHOD: usize = 24;

/// Whether these bytes begin an HTTP/1 request or the preface of HTTP/2: a method in capital letters, a space.
fn peek_http(bytes: &[u8]) -> Peeked {
    let letters = bytes.iter().take_while(|b| b.is_ascii_uppercase() || **b == b'-').count();
    match bytes.get(letters) {
        Some(b' ') if (1..=LONGEST_METHOD).contains(&letters) => Peeked::Http,
        None if letters <= LONGEST_METHOD => Peeked::Incomplete,
        _ => Peeked::Other,
    }
}

/// Reads until it is known what a client speaks; gives the bytes with it. `most` bounds them.
pub(crate) async fn read(transport: &mut Transport, most: usize) -> io::Result<(Peeked, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if transport.read_buf(&mut bytes).await? == 0 {
            return Ok((Peeked::Incomplete, bytes));
        }
        match peek(&bytes) {
            Peeked::Incomplete if bytes.len() >= most => {
                return Err(io::Error::other(crate::transport::TooLarge));
            }
            Peeked::Incomplete => {}
            known => return Ok((known, bytes)),
        }
    }
}

/// A cursor over a message; every step may find that it is cut off.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<usize> {
        self.take(1).map(|b| usize::from(b[0]))
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn vec8(&mut self) -> Option<Self> {
        let length = self.u8()?;
        self.take(length).map(Self)
    }

    fn vec16(&mut self) -> Option<Self> {
        let length = self.u16()?;
        self.take(length.into()).map(Self)
    }
}

/// The body of a ClientHello (RFC 8446, section 4.1.2).
fn parse(body: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader(body);
    let mut hello = ClientHello { version: reader.u16()?, ..ClientHello::default() };
    reader.take(32)?; // random
    reader.vec8()?; // session id
    let mut suites = reader.vec16()?;
    while !suites.0.is_empty() {
        hello.cipher_suites.push(suites.u16()?);
    }
    reader.vec8()?; // compression
    if reader.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = reader.vec16()?;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let mut data = extensions.vec16()?;
        match kind {
            0 => hello.server_name = server_name(&mut data)?,
            13 => {
                let mut schemes = data.vec16()?;
                while !schemes.0.is_empty() {
                    hello.signature_schemes.push(schemes.u16()?);
                }
            }
            43 => {
                let mut versions = data.vec8()?;
                while !versions.0.is_empty() {
                    let version = versions.u16()?;
                    // Values of GREASE (RFC 8701) are no versions.
                    if (0x0300..=0x0304).contains(&version) {
                        hello.version = hello.version.max(version);
                    }
                }
            }
            _ => {}
        }
    }
    Some(hello)
}

/// RFC 6066, section 3. A name that is no DNS name counts as none.
fn server_name(data: &mut Reader<'_>) -> Option<Option<Box<str>>> {
    let mut list = data.vec16()?;
    let mut found = None;
    while !list.0.is_empty() {
        let kind = list.u8()?;
        let name = list.vec16()?.0;
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if kind == 0 && !name.is_empty() && name.len() <= 253 && name.iter().all(allowed) {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            found = Some(name.trim_end_matches('.').into());
        }
    }
    Some(found)
}
