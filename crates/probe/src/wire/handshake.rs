//! Handshake messages as they are on the wire (RFC 8446 section 4, RFC 5246 section 7.4).

use super::cursor::Cursor;

/// An offer: what a ClientHello says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Versions offered, from `supported_versions` or the legacy field.
    pub versions: Vec<u16>,
    /// Cipher suites.
    pub suites: Vec<u16>,
    /// Key exchange groups.
    pub groups: Vec<u16>,
    /// Groups for which a key share came along.
    pub shares: Vec<u16>,
    /// Signature schemes.
    pub schemes: Vec<u16>,
    /// Application protocols.
    pub alpn: Vec<String>,
    /// The server name.
    pub name: Option<String>,
    /// Whether a session is offered for resumption (a pre-shared key or a ticket).
    pub resumes: bool,
    /// Whether early data is announced.
    pub early_data: bool,
}

/// A choice: what a ServerHello (or HelloRetryRequest) says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// The version chosen.
    pub version: u16,
    /// The cipher suite chosen.
    pub suite: u16,
    /// The group of the key share (TLS 1.3).
    pub group: Option<u16>,
    /// The application protocol (TLS 1.2 only: it is encrypted in TLS 1.3).
    pub alpn: Option<String>,
    /// Whether this is a HelloRetryRequest.
    pub retry: bool,
    /// Whether a pre-shared key was accepted.
    pub resumed: bool,
}

/// The request for a client certificate in TLS 1.2 (RFC 5246 section 7.4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Signature schemes.
    pub schemes: Vec<u16>,
    /// Distinguished names of authorities, DER.
    pub authorities: Vec<Vec<u8>>,
}

/// The random that marks a HelloRetryRequest (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Parses the body of a ClientHello.
pub fn client_hello(body: &[u8]) -> Option<ClientHello> {
    let mut cursor = Cursor::new(body);
    let legacy = cursor.u16()?;
    cursor.bytes(32)?;
    cursor.vector(1)?;
    let mut hello =
        ClientHello { versions: vec![legacy], suites: cursor.vector(2)?.u16s(), ..ClientHello::default() };
    cursor.vector(1)?;
    let Some(mut extensions) = cursor.vector(2) else { return Some(hello) };
    while let Some((id, mut value)) = extension(&mut extensions) {
        match id {
            0 => hello.name = server_name(value),
            10 => hello.groups = value.vector(2)?.u16s(),
            13 => hello.schemes = value.vector(2)?.u16s(),
            16 => hello.alpn = protocols(value.vector(2)?),
            35 => hello.resumes |= !value.is_empty(),
            41 => hello.resumes = true,
            42 => hello.early_data = true,
            43 => hello.versions = value.vector(1)?.u16s(),
            51 => {
                let mut shares = value.vector(2)?;
                while let (Some(group), Some(_)) = (shares.u16(), shares.vector(2)) {
                    hello.shares.push(group);
                }
            }
            _ => {}
        }
    }
    Some(hello)
}

/// Parses the body of a ServerHello.
pub fn server_hello(body: &[u8]) -> Option<ServerHello> {
    let mut cursor = Cursor::new(body);
    let mut hello = ServerHello { version: cursor.u16()?, ..ServerHello::default() };
    hello.retry = cursor.bytes(32)? == RETRY;
    cursor.vector(1)?;
    hello.suite = cursor.u16()?;
    cursor.u8()?;
    let Some(mut extensions) = cursor.vector(2) else { return Some(hello) };
    while let Some((id, mut value)) = extension(&mut extensions) {
        match id {
            16 => hello.alpn = protocols(value.vector(2)?).into_iter().next(),
            41 => hello.resumed = true,
            43 => hello.version = value.u16()?,
            51 => hello.group = Some(value.u16()?),
            _ => {}
        }
    }
    Some(hello)
}

/// Parses the body of a TLS 1.2 Certificate message: DER certificates, leaf first, at most 32.
pub fn certificate(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut list = Cursor::new(body).vector(3)?;
    let mut out = Vec::new();
    while let Some(der) = list.vector(3) {
        out.push(der.rest().to_vec());
        if out.len() == 32 {
            break;
        }
    }
    Some(out)
}

/// Parses the body of a TLS 1.2 CertificateRequest.
pub fn certificate_request(body: &[u8]) -> Option<CertificateRequest> {
    let mut cursor = Cursor::new(body);
    cursor.vector(1)?;
    let schemes = cursor.vector(2)?.u16s();
    let mut names = cursor.vector(2)?;
    let mut authorities = Vec::new();
    while let Some(name) = names.vector(2) {
        authorities.push(name.rest().to_vec());
        if authorities.len() == 256 {
            break;
        }
    }
    Some(CertificateRequest { schemes, authorities })
}

/// The named curve of a TLS 1.2 ServerKeyExchange (RFC 8422 section 5.4).
pub fn key_exchange_group(body: &[u8]) -> Option<u16> {
    let mut cursor = Cursor::new(body);
    (cursor.u8()? == 3).then(|| cursor.u16()).flatten()
}

fn extension<'a>(extensions: &mut Cursor<'a>) -> Option<(u16, Cursor<'a>)> {
    Some((extensions.u16()?, extensions.vector(2)?))
}

fn server_name(mut value: Cursor<'_>) -> Option<String> {
    let mut list = value.vector(2)?;
    let kind = list.u8()?;
    let name = list.vector(2)?;
    (kind == 0).then(|| String::from_utf8_lossy(name.rest()).into_owned())
}

fn protocols(mut list: Cursor<'_>) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(name) = list.vector(1) {
        out.push(String::from_utf8_lossy(name.rest()).into_owned());
        if out.len() == 64 {
            break;
        }
    }
    out
}
