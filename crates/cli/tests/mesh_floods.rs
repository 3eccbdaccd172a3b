//! A caller with a good certificate, whom no policy allows, attacks the tunnels of a real proxy: resets, CONTINUATION,
//! pings, streams without end, requests that are none, and the same of the framing between two of our proxies. The proxy's memory stays below 256 MiB, and the others are served.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test stops where something is not as expected"
)]

#[path = "up/place.rs"]
mod place;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use testkit::program::Program;

use place::{Place, SOON, address, turn};

/// What a proxy may take at most.
const MOST: u64 = 256 << 20;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A connection of the attacker, who is the gossip by his certificate.
type Attack = StreamOwned<ClientConnection, TcpStream>;

/// Takes any server: the attacker does not care.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection by which requests are framed as `protocol` says.
fn dial(place: &Place, ledger: SocketAddr, protocol: &[u8]) -> Attack {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain =
        CertificateDer::pem_file_iter(place.path("attacker.crt")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(place.path("attacker.key")).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    let mut socket = TcpStream::connect_timeout(&ledger, Duration::from_secs(5)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), ServerName::from(ledger.ip())).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    StreamOwned::new(connection, socket)
}

fn attack(place: &Place, ledger: SocketAddr) -> Attack {
    let mut attack = dial(place, ledger, b"h2");
    attack.write_all(PREFACE).unwrap();
    attack.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    attack
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A literal field, neither indexed nor in Huffman's code (RFC 7541, section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

fn connect(authority: &str) -> Vec<u8> {
    [field(":method", "CONNECT"), field(":authority", authority)].concat()
}

/// A request of the framing between two of our proxies, as long as one may be.
fn open(authority: &str) -> Vec<u8> {
    let mut said = u16::try_from(authority.len()).unwrap().to_be_bytes().to_vec();
    said.extend(authority.as_bytes());
    said.extend(b"\x07baggage");
    let rest = (16 << 10) - said.len() - 2;
    said.extend(u16::try_from(rest).unwrap().to_be_bytes());
    said.resize(16 << 10, b'a');
    [&[2, 0, 0x40, 0][..], &said].concat()
}

/// Writes until it is done or is not let any more.
fn write(attack: &mut Attack, parts: impl Iterator<Item = Vec<u8>>) {
    let mut gathered = Vec::new();
    for part in parts {
        gathered.extend(part);
        if gathered.len() > 16 << 10 && attack.write_all(&std::mem::take(&mut gathered)).is_err() {
            return;
        }
    }
    let _ = attack.write_all(&gathered).and_then(|()| attack.flush());
}

/// Whether the other side has ended the connection.
fn is_ended(attack: &mut Attack) -> bool {
    let mut space = [0; 4096];
    for _ in 0..200 {
        match attack.read(&mut space) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                return false;
            }
            Err(_) => return true,
        }
    }
    false
}

/// The most memory that a process has had (VmHWM), bytes.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// How many calls of the teller the ledger's proxy has carried.
fn carried(place: &Place) -> usize {
    let log = std::fs::read_to_string(place.path(".handfast/up.log")).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let good = |line: &serde_json::Value| {
        line["direction"] == "inbound"
            && line["source"] == "spiffe://cluster.local/ns/bank/sa/teller"
            && line["secured"] == "hbone"
            && line["code"].is_null()
    };
    lines.filter(good).count()
}

#[test]
fn floods_of_a_caller_with_a_good_certificate_stay_within_256_mib_and_the_others_are_served() {
    let _turn = turn();
    let place = Place::new();
    let mut up = Program::start(&mut place.handfast(&["up", "bank"]));
    up.wait_for("the proof", SOON, |up| up.stderr().contains("up until Ctrl-C"));
    let ledger: std::net::IpAddr = address(&up.stderr(), "bank/ledger-0").parse().unwrap();
    let (tunnels, application) = (SocketAddr::new(ledger, 15008), format!("{ledger}:8080"));
    let words = [
        "cert",
        "issue",
        "attacker",
        "--uri",
        "spiffe://cluster.local/ns/bank/sa/gossip",
        "--client",
        "--out",
        ".",
    ];
    let issued = Program::run(&mut place.handfast(&words), b"", SOON);
    assert_eq!(issued.code, Some(0), "{}", issued.all());
    let streams = |count: u32| (0..count).map(|n| 2 * n + 1);

    // Opened and reset at once (CVE-2023-44487).
    let mut ended = 0;
    for _ in 0..4 {
        let mut attack = attack(&place, tunnels);
        let block = connect(&application);
        let resets = streams(50_000).map(|stream| {
            [frame(HEADERS, END_HEADERS, stream, &block), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
                .concat()
        });
        write(&mut attack, resets);
        ended += usize::from(is_ended(&mut attack));
    }
    assert!(ended > 0, "nobody was ended for 50,000 resets");

    // Headers that never end (CVE-2024-27983 and its kin).
    let mut headers = attack(&place, tunnels);
    let more = field("x-a", &"a".repeat(100)).repeat(100);
    let parts = std::iter::once(frame(HEADERS, 0, 1, &connect(&application)))
        .chain(std::iter::repeat_with(|| frame(CONTINUATION, 0, 1, &more)).take(3000));
    write(&mut headers, parts);
    assert!(is_ended(&mut headers), "30 MB of headers were taken");

    // Pings and settings, each of which wants an answer that nobody reads.
    let mut pings = attack(&place, tunnels);
    let each = || [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])].concat();
    write(&mut pings, std::iter::repeat_with(each).take(300_000));

    // Streams that ask for nothing more, on many connections: 144 of one address are taken, others turned away.
    let mut idle: Vec<Attack> = (0..24).map(|_| attack(&place, tunnels)).collect();
    let more: Vec<TcpStream> = (0..170).map(|_| TcpStream::connect(tunnels).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let is_turned_away = |socket: &&TcpStream| {
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        match (&mut &**socket).read(&mut [0; 1]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    };
    let away = more.iter().filter(is_turned_away).count();
    assert!(away > 20, "{away} of 170 were turned away");
    drop(more);
    for attack in &mut idle {
        let block = connect(&application);
        write(attack, streams(2_000).map(|stream| frame(HEADERS, END_HEADERS, stream, &block)));
    }

    // Requests that are none.
    for block in [
        [field(":method", "GET"), field(":scheme", "https"), field(":authority", "a"), field(":path", "/")]
            .concat(),
        connect("ledger:8080"),
        connect(""),
        connect("127.0.0.1:22"),
        connect(&format!("{ledger}:0")),
        field(":method", "CONNECT"),
        vec![0xff; 100],
    ] {
        let mut strange = attack(&place, tunnels);
        write(&mut strange, std::iter::once(frame(HEADERS, END_HEADERS, 1, &block)));
        let _ = is_ended(&mut strange);
    }

    // By the other framing: requests without end, each as long as may be; data that nobody waits for; half a head.
    let direct = || dial(&place, tunnels, b"handfast-direct/1");
    let mut asking = direct();
    let request = open(&application);
    write(&mut asking, std::iter::repeat_with(|| request.clone()).take(1_000));
    let mut sending = direct();
    let data = [&[0, 1, 0, 0][..], &[7; 1 << 16]].concat();
    write(
        &mut sending,
        std::iter::once(request.clone()).chain(std::iter::repeat_with(|| data.clone()).take(500)),
    );
    assert!(is_ended(&mut sending), "32 MB of data were taken of who is not allowed");
    for bad in [
        &[0xff; 4][..],
        &[2, 0xff, 0xff, 0xff],
        &[2, 0, 0, 2, 0xff, 0xff],
        &[1, 0, 0, 0],
        &[3, 0, 0, 2, 0, 200],
    ] {
        let mut strange = direct();
        write(&mut strange, std::iter::once(bad.to_vec()));
        assert!(is_ended(&mut strange), "{bad:?}");
    }
    let mut slow: Vec<Attack> = (0..60).map(|_| direct()).collect();
    for attack in &mut slow {
        write(attack, std::iter::once(vec![2, 0x3f]));
    }

    let before = carried(&place);
    up.wait_for("the teller is served", SOON, |_| carried(&place) > before + 1);
    let most = peak(up.pid());
    assert!(most < MOST, "{} MiB", most >> 20);
    eprintln!("at most {} MiB", most >> 20);
    drop((pings, idle, asking, slow));
    let log = std::fs::read_to_string(place.path(".handfast/up.log")).unwrap();
    assert!(log.contains("HF8014"), "nothing was said of requests that are none");
    up.signal("TERM");
    assert_eq!(up.finish(Duration::from_secs(40)).code, Some(0));
}
