//! Who wants to reach an application past its proxy, or leave past it, by packets that no ordinary client sends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use handfast_sys::{Namespace, Redirection, listen};
use socket2::{Domain, Protocol, Socket, Type};
use testkit::network::{Network, Place};

const PORT: u16 = 45_000;
/// Flags (ACK; with PSH; with FIN; with SYN), and whether it is signed.
const STRAYS: [(u8, bool); 6] =
    [(0x10, false), (0x18, false), (0x11, false), (0x12, false), (0x10, true), (0x18, true)];

fn enter(place: &Place) -> Namespace {
    Namespace::open(&place.path()).unwrap()
}

fn listener(namespace: &Namespace, port: u16) -> TcpListener {
    let listener = namespace.run(move || listen(port)).unwrap().unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// A segment that belongs to no connection: whoever tracks them takes it for one that is open already. With a
/// signature (RFC 2385) that nobody asked for, the kernel drops it where it would otherwise answer with a reset, and
/// the tracking goes on believing in that connection.
fn stray(namespace: &Namespace, from: SocketAddrV4, to: SocketAddrV4, flags: u8, signed: bool) {
    let length: u8 = if signed { 40 } else { 20 };
    let mut segment = vec![0; length.into()];
    if signed {
        segment[20..22].copy_from_slice(&[19, 18]);
    }
    segment[..2].copy_from_slice(&from.port().to_be_bytes());
    segment[2..4].copy_from_slice(&to.port().to_be_bytes());
    segment[4..8].copy_from_slice(&1_000_u32.to_be_bytes());
    segment[8..12].copy_from_slice(&2_000_u32.to_be_bytes());
    (segment[12], segment[13]) = ((length / 4) << 4, flags);
    segment[14..16].copy_from_slice(&1024_u16.to_be_bytes());
    // RFC 9293, section 3.1: over the addresses, the protocol, the length and the segment.
    let mut summed = [from.ip().octets(), to.ip().octets()].concat();
    summed.extend([0, 6, 0, length]);
    summed.extend(&segment);
    let mut sum: u32 = summed.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    segment[16..18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    let sent = namespace.run(move || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))?;
        socket.send_to(&segment, &SocketAddr::from(to).into())
    });
    assert_eq!(sent.unwrap().unwrap(), usize::from(length));
    std::thread::sleep(Duration::from_millis(100));
}

/// An ordinary connection, from a port of one's choice.
fn connect(namespace: &Namespace, from: SocketAddrV4, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    namespace
        .run(move || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from(from).into())?;
            socket.connect_timeout(&SocketAddr::from(to).into(), Duration::from_millis(1500))?;
            Ok(socket.into())
        })
        .unwrap()
}

fn ends(from: &Place, to: &Place, port: u16) -> (SocketAddrV4, SocketAddrV4) {
    (SocketAddrV4::new(from.v4, port), SocketAddrV4::new(to.v4, 8080))
}

#[test]
fn nobody_reaches_an_application_by_a_connection_that_is_pretended_to_be_open() {
    let Some(network) = Network::start() else { return };
    let (pod, other) = (network.pod(2), network.pod(3));
    let (inside, outside) = (enter(&pod), enter(&other));
    inside.run(|| Redirection::default().apply()).unwrap().unwrap();
    let (proxy, application) = (listener(&inside, 15006), listener(&inside, 8080));
    for (n, (flags, signed)) in STRAYS.into_iter().enumerate() {
        let (from, to) = ends(&other, &pod, PORT + n as u16);
        stray(&outside, from, to, flags, signed);
        let connected = connect(&outside, from, to);
        let taken = application.accept();
        assert!(taken.is_err(), "flags {flags:#x}: the application took {taken:?}");
        assert_eq!(connected.is_ok(), proxy.accept().is_ok(), "flags {flags:#x}");
    }
    // An ordinary one goes to the proxy as ever.
    let (from, to) = ends(&other, &pod, PORT + 9);
    let _client = connect(&outside, from, to).unwrap();
    proxy.accept().unwrap();
}

#[test]
fn nothing_leaves_by_a_connection_that_is_pretended_to_be_open() {
    let Some(network) = Network::start() else { return };
    let (pod, other) = (network.pod(2), network.pod(3));
    let (inside, outside) = (enter(&pod), enter(&other));
    inside.run(|| Redirection::default().apply()).unwrap().unwrap();
    let (_proxy, server) = (listener(&inside, 15001), listener(&outside, 8080));
    for (n, (flags, signed)) in STRAYS.into_iter().enumerate() {
        let (from, to) = ends(&pod, &other, PORT + n as u16);
        stray(&inside, from, to, flags, signed);
        let _ = connect(&inside, from, to);
        let taken = server.accept();
        assert!(taken.is_err(), "flags {flags:#x}: it went out by itself: {taken:?}");
    }
}
