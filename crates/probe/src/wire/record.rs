//! The record layer (RFC 8446 section 5.1): headers, and handshake messages put together from fragments.

use super::cursor::Cursor;
use crate::alert::Alert;

/// The largest ciphertext of a record (RFC 5246 section 6.2.3, the larger of both versions).
pub const LARGEST: usize = 16384 + 2048;
/// The longest handshake that is put together; what is longer is cut off.
pub const MOST: usize = 256 * 1024;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// change_cipher_spec (20).
    ChangeCipherSpec,
    /// alert (21).
    Alert,
    /// handshake (22).
    Handshake,
    /// application_data (23); in TLS 1.3 also every encrypted handshake message.
    ApplicationData,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its content type.
    pub kind: Kind,
    /// The legacy version of its header.
    pub version: u16,
    /// Its payload, encrypted or not.
    pub payload: &'a [u8],
}

/// Why bytes are no TLS records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The first byte is no content type, or the version is none of TLS.
    NotTls,
    /// A record claims to be longer than any may be.
    TooLong,
}

/// The next record and what follows it; `Ok(None)` when more bytes are needed.
pub fn next(bytes: &[u8]) -> Result<Option<(Record<'_>, &[u8])>, Broken> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let kind = match first {
        20 => Kind::ChangeCipherSpec,
        21 => Kind::Alert,
        22 => Kind::Handshake,
        23 => Kind::ApplicationData,
        _ => return Err(Broken::NotTls),
    };
    if bytes.get(1).is_some_and(|major| *major != 3) {
        return Err(Broken::NotTls);
    }
    let mut cursor = Cursor::new(bytes.get(1..).unwrap_or_default());
    let (Some(version), Some(length)) = (cursor.u16(), cursor.number(2)) else { return Ok(None) };
    if length > LARGEST {
        return Err(Broken::TooLong);
    }
    Ok(cursor.bytes(length).map(|payload| (Record { kind, version, payload }, cursor.rest())))
}

/// What one side said before it began to encrypt.
#[derive(Clone, Debug, Default)]
pub struct Clear {
    /// Handshake messages: type and body.
    pub messages: Vec<(u8, Vec<u8>)>,
    /// An alert that was sent in the clear: level and description.
    pub alert: Option<(u8, Alert)>,
    /// Number of records of any kind.
    pub records: usize,
    /// Whether the side has switched to encryption.
    pub encrypted: bool,
    /// Set when the bytes are not TLS.
    pub broken: Option<Broken>,
}

/// Reads everything that one side sent. In TLS 1.2 (`tls13` false) ChangeCipherSpec starts encryption; in
/// TLS 1.3 it means nothing, and encrypted records are of the kind application_data.
pub fn clear(bytes: &[u8], tls13: bool) -> Clear {
    let mut out = Clear::default();
    let mut stream: Vec<u8> = Vec::new();
    let mut rest = bytes;
    loop {
        let (record, after) = match next(rest) {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(broken) => {
                out.broken = Some(broken);
                break;
            }
        };
        rest = after;
        out.records += 1;
        match record.kind {
            Kind::ChangeCipherSpec if !tls13 => out.encrypted = true,
            Kind::ChangeCipherSpec => {}
            Kind::ApplicationData => out.encrypted = true,
            _ if out.encrypted => {}
            Kind::Handshake => {
                let room = MOST.saturating_sub(stream.len());
                stream.extend_from_slice(record.payload.get(..room).unwrap_or(record.payload));
            }
            Kind::Alert => {
                if let [level, description] = record.payload {
                    out.alert.get_or_insert((*level, Alert(*description)));
                }
            }
        }
    }
    out.messages = messages(&stream);
    out
}

/// Splits a stream of handshake messages (type, three bytes of length, body); an unfinished one is left out.
pub fn messages(stream: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut cursor = Cursor::new(stream);
    let mut out = Vec::new();
    while let Some(kind) = cursor.u8() {
        let Some(body) = cursor.vector(3) else { break };
        out.push((kind, body.rest().to_vec()));
    }
    out
}
