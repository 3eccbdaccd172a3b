//! What the application speaks, for the record of a connection: as its Service declares it, as its first bytes tell, or
//! as it was before at the same place. Nothing waits for it and nothing is decided by it, so that a server that speaks
//! first is heard at once: the first bytes are those that have come while the way to the destination was made, and they
//! stay in the kernel's queue. What is declared to be `tcp` is not looked into.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use model::mesh::AppProtocol;
use rustix::net::{RecvFlags, recv};

use crate::detect::{self, Peeked};

/// Places that are remembered. Beyond that, none is added: it is a help for people, and callers choose the places.
const MOST: usize = 1024;

/// The preface of HTTP/2 (RFC 9113, section 3.4), as far as it tells it from HTTP/1.
const HTTP2: &[u8] = b"PRI * HTTP/2";

/// What was spoken at which place.
#[derive(Default)]
pub(super) struct Spoken {
    seen: Mutex<HashMap<SocketAddr, &'static str>>,
}

impl Spoken {
    /// The word for it, as ALPN has it where it does (RFC 7301); empty where it is not known.
    pub(super) fn name(&self, declared: AppProtocol, to: SocketAddr, client: &impl AsFd) -> &'static str {
        match declared {
            AppProtocol::Http11 => return "http/1.1",
            AppProtocol::Http2 => return "h2c",
            AppProtocol::Grpc => return "grpc",
            AppProtocol::Tls => return "tls",
            AppProtocol::Tcp => return "tcp",
            AppProtocol::Unknown => {}
        }
        let mut bytes = [0; 32];
        // Of a broken connection is said why when it is carried.
        let came =
            recv(client, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT).map_or(0, |(_, came)| came);
        let now = told_by(bytes.get(..came).unwrap_or_default());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now.is_empty() {
            return seen.get(&to).copied().unwrap_or_default();
        }
        if seen.len() < MOST || seen.contains_key(&to) {
            seen.insert(to, now);
        }
        now
    }
}

/// What begins so.
fn told_by(bytes: &[u8]) -> &'static str {
    match detect::peek(bytes) {
        _ if bytes.is_empty() => "",
        // A ClientHello is longer than what is looked at.
        _ if bytes.starts_with(&[22, 3]) => "tls",
        Peeked::Http if bytes.starts_with(HTTP2) => "h2c",
        Peeked::Http => "http/1.1",
        // The beginning of a word, as far as can be told.
        Peeked::Incomplete => "",
        _ => "tcp",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    fn ends() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn place(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    /// What is said of a client that has sent this.
    fn said(spoken: &Spoken, declared: AppProtocol, to: SocketAddr, bytes: &[u8]) -> &'static str {
        let (mut client, taken) = ends();
        client.write_all(bytes).unwrap();
        if !bytes.is_empty() {
            // Until it has come.
            taken.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            assert!(taken.peek(&mut [0]).unwrap() > 0);
        }
        let name = spoken.name(declared, to, &taken);
        if !bytes.is_empty() {
            assert_eq!(taken.peek(&mut [0; 64]).unwrap(), bytes.len().min(64), "nothing was taken away");
        }
        name
    }

    #[test]
    fn first_bytes_tell_and_what_was_seen_is_known_of_who_waits_for_the_server() {
        let spoken = Spoken::default();
        let unknown = AppProtocol::Unknown;
        for (port, bytes, name) in [
            (80, &b"GET / HTTP/1.1\r\nhost: web\r\n\r\n and more than is looked at"[..], "http/1.1"),
            (81, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "h2c"),
            (443, b"\x16\x03\x01\x02\x00\x01", "tls"),
            (5432, b"\x00\x00\x00\x08\x04\xd2\x16\x2f", "tcp"),
        ] {
            assert_eq!(said(&spoken, unknown, place(port), b""), "", "nothing was seen there yet");
            assert_eq!(said(&spoken, unknown, place(port), bytes), name);
            assert_eq!(said(&spoken, unknown, place(port), b""), name, "as before");
        }
        assert_eq!(said(&spoken, unknown, place(80), b"GE"), "http/1.1", "as before");
        assert_eq!(said(&spoken, unknown, place(80), b"EHLO me\n"), "http/1.1", "a word and a space");
    }

    #[test]
    fn what_is_declared_counts_whatever_comes() {
        let spoken = Spoken::default();
        for (declared, name) in
            [(AppProtocol::Tcp, "tcp"), (AppProtocol::Grpc, "grpc"), (AppProtocol::Http2, "h2c")]
        {
            assert_eq!(said(&spoken, declared, place(1), b"GET / HTTP/1.1\r\n"), name);
        }
        assert_eq!(said(&spoken, AppProtocol::Unknown, place(1), b""), "", "nothing was learnt by that");
    }

    #[test]
    fn no_more_places_are_remembered_than_a_bounded_number() {
        let spoken = Spoken::default();
        let mut seen = spoken.seen.lock().unwrap();
        seen.extend((0..u16::try_from(MOST).unwrap()).map(|port| (place(port), "tcp")));
        drop(seen);
        assert_eq!(said(&spoken, AppProtocol::Unknown, place(9999), b"GET / "), "http/1.1");
        assert_eq!(spoken.seen.lock().unwrap().len(), MOST);
        assert_eq!(said(&spoken, AppProtocol::Unknown, place(5), b"GET / "), "http/1.1");
        assert_eq!(
            said(&spoken, AppProtocol::Unknown, place(5), b""),
            "http/1.1",
            "one that is there is kept up"
        );
    }
}
