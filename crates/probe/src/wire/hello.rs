//! ClientHellos made by hand: older versions, unknown ciphers, whatever rustls would never offer.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{handshake, record};
use crate::alert::Alert;
use crate::attempt::End;
use crate::dial::Endpoint;

/// SSL 3.0's successors by their number on the wire.
pub const TLS10: u16 = 0x0301;
/// TLS 1.1.
pub const TLS11: u16 = 0x0302;
/// TLS 1.2.
pub const TLS12: u16 = 0x0303;
/// TLS 1.3.
pub const TLS13: u16 = 0x0304;

/// What the hello offers.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The highest version offered.
    pub version: u16,
    /// The cipher suites, by number.
    pub suites: Vec<u16>,
    /// The key exchange groups, by number.
    pub groups: Vec<u16>,
    /// The server name; an empty one or an address sends none.
    pub name: String,
}

impl Hello {
    /// What a client of 2010 offers: CBC suites with ECDHE, plain RSA and 3DES.
    pub fn legacy(version: u16, name: &str) -> Self {
        let suites = vec![0xc009, 0xc00a, 0xc013, 0xc014, 0x0033, 0x0039, 0x002f, 0x0035, 0x000a];
        Self { version, suites, groups: vec![23, 24, 25, 29], name: name.into() }
    }

    /// Whatever any server may still speak, the suites of today first.
    pub fn broad(version: u16, name: &str) -> Self {
        let mut suites = vec![0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0x009e, 0x009f];
        suites.extend([0xc023, 0xc027, 0xc024, 0xc028, 0x009c, 0x009d, 0x003c, 0x003d, 0x0067, 0x006b]);
        suites.extend([0xc009, 0xc00a, 0xc013, 0xc014, 0x0033, 0x0039, 0x002f, 0x0035]);
        suites.extend([0xc008, 0xc012, 0x0016, 0x000a, 0x0005, 0x0004]);
        Self { version, suites, groups: vec![29, 23, 24, 25], name: name.into() }
    }

    /// The record with the ClientHello (RFC 8446 section 4.1.2).
    pub fn encode(&self) -> Vec<u8> {
        let mut random = [0u8; 32];
        // A fixed random would do: no handshake is ever finished with it.
        let _ = aws_lc_rs::rand::fill(&mut random);
        let list = |numbers: &[u16]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
        let mut extensions = Vec::new();
        let mut add = |id: u16, content: Vec<u8>| {
            extensions.extend(id.to_be_bytes());
            extensions.extend(vector(2, &content));
        };
        if !self.name.is_empty() && self.name.parse::<std::net::IpAddr>().is_err() {
            let entry = [&[0u8][..], &vector(2, self.name.as_bytes())].concat();
            add(0, vector(2, &entry));
        }
        add(10, vector(2, &list(&self.groups)));
        add(11, vec![1, 0]);
        if self.version >= TLS12 {
            let schemes = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0203, 0x0201];
            add(13, vector(2, &list(&schemes)));
        }
        if self.version >= TLS13 {
            add(43, vector(1, &list(&[TLS13])));
            // No key share: the server answers with HelloRetryRequest when it finds a group.
            add(51, vector(2, &[]));
        }
        add(0xff01, vec![0]);
        let session: &[u8] = if self.version >= TLS13 { &random } else { &[] };
        let body = [
            &self.version.min(TLS12).to_be_bytes()[..],
            &random,
            &vector(1, session),
            &vector(2, &list(&self.suites)),
            &[1, 0],
            &vector(2, &extensions),
        ]
        .concat();
        let message = [&[1u8][..], &vector(3, &body)].concat();
        [&[22u8][..], &self.version.min(TLS10).to_be_bytes(), &vector(2, &message)].concat()
    }

    /// Sends the hello and reads the server's first answer.
    pub async fn send(&self, endpoint: &Endpoint, timeout: Duration) -> Reply {
        let work = self.exchange(endpoint, timeout, Reply::read);
        tokio::time::timeout(timeout, work).await.unwrap_or(Err(End::Silent)).unwrap_or_else(Reply::Ended)
    }

    /// As [`Hello::send`], and reads on to the server's chain (DER, leaf first), which TLS 1.2 and older show.
    pub async fn send_for_chain(&self, endpoint: &Endpoint, timeout: Duration) -> (Reply, Vec<Vec<u8>>) {
        let work = self.exchange(endpoint, timeout, |seen| match Reply::read(seen)? {
            ended @ Reply::Ended(_) => Some((ended, Vec::new())),
            chosen => {
                let messages = record::clear(seen, false).messages;
                let (_, body) = messages.iter().find(|(kind, _)| matches!(kind, 11 | 14))?;
                Some((chosen, handshake::certificate(body).unwrap_or_default()))
            }
        });
        let ended = tokio::time::timeout(timeout, work).await.unwrap_or(Err(End::Silent));
        ended.unwrap_or_else(|end| (Reply::Ended(end), Vec::new()))
    }

    /// Sends the hello and reads until `done` finds what it looks for.
    async fn exchange<T>(
        &self,
        endpoint: &Endpoint,
        timeout: Duration,
        done: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, End> {
        let mut tcp = endpoint.connect(timeout).await?;
        tcp.write_all(&self.encode()).await?;
        let mut seen = Vec::new();
        let mut buffer = [0u8; 4096];
        loop {
            match tcp.read(&mut buffer).await? {
                0 => return Err(End::Closed),
                count => seen.extend_from_slice(&buffer[..count]),
            }
            if let Some(found) = done(&seen) {
                return Ok(found);
            }
            if seen.len() > record::MOST {
                return Err(End::NotTls("too many bytes".into()));
            }
        }
    }
}

/// The server's first answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It chose a version and a cipher suite.
    Chosen {
        /// The version, after `supported_versions` is taken into account.
        version: u16,
        /// The cipher suite.
        suite: u16,
    },
    /// It refused or went away.
    Ended(End),
}

impl Reply {
    /// The answer in these bytes; `None` when more are needed.
    pub fn read(bytes: &[u8]) -> Option<Reply> {
        if let Err(broken) = record::next(bytes) {
            let start: String = String::from_utf8_lossy(bytes).chars().take(32).collect();
            return Some(Reply::Ended(End::NotTls(format!("{broken:?}: {start:?}"))));
        }
        let clear = record::clear(bytes, false);
        if let Some((_, alert)) = clear.alert.filter(|(level, alert)| *level == 2 || *alert == Alert(0)) {
            return Some(Reply::Ended(End::Alert(alert)));
        }
        let (kind, body) = clear.messages.first()?;
        let hello = (*kind == 2).then(|| handshake::server_hello(body)).flatten();
        Some(match hello {
            Some(hello) => Reply::Chosen { version: hello.version, suite: hello.suite },
            None => Reply::Ended(End::NotTls("the first message is no ServerHello".into())),
        })
    }
}

fn vector(prefix: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let mut out = length.get(length.len() - prefix..).unwrap_or_default().to_vec();
    out.extend_from_slice(content);
    out
}
