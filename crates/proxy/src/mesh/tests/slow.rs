//! Slow clients: who says nothing, who says one byte at a time, and who never reads. Each is cut off or bounded, and a good
//! caller is served all the while. What is waited for is set shorter than in use; no test measures it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};

use model::codes::refusals;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::arriving::Anyone;
use super::*;
use crate::mesh::attached::OF_ONE_ADDRESS;
use crate::tunnel::Patience;

/// Nothing takes as long as this.
const SOON: Duration = Duration::from_secs(20);
/// What is waited for.
const SHORT: Patience = Patience {
    handshake: Duration::from_secs(2),
    ping_every: Duration::from_millis(200),
    ping: Duration::from_secs(2),
};
/// Between two bytes of a slow client: the 24 of HTTP/2's beginning alone take longer than the proxy waits.
const DRIP: Duration = Duration::from_millis(100);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const WEB: &str = "spiffe://cluster.local/ns/bank/sa/web";

/// A client that the proxy believes, with its pair.
fn config(machine: &Machine) -> Arc<ClientConfig> {
    let (chain, key) = machine.ca.pair(&[WEB], |_| ());
    let mut config = ClientConfig::builder_with_provider(crate::tls::provider::default_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_auth_cert(
            CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn from(source: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source, 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// Writes one byte after the other, from the beginning again and again, until it is cut off.
async fn drip(mut socket: impl AsyncRead + AsyncWrite + Unpin, words: &[u8]) {
    let work = async {
        let mut space = [0; 256];
        for byte in words.iter().cycle() {
            let pause = tokio::time::sleep(DRIP);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    // Whatever the other side says; its end is an error or nothing.
                    read = socket.read(&mut space) => match read {
                        Ok(1..) => {}
                        _ => return,
                    },
                    () = &mut pause => break,
                }
            }
            if socket.write_all(&[*byte]).await.is_err() || socket.flush().await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, work).await.expect("the slow client is cut off");
}

/// Calls through the mesh, again and again, until it is told to stop; says how often it was served.
fn good(web: &Joined) -> (Arc<AtomicBool>, tokio::task::JoinHandle<usize>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (until, mapped) = (Arc::clone(&stop), web.mapped());
    let served = tokio::spawn(async move {
        let mut served = 0;
        while !until.load(Ordering::SeqCst) || served < 3 {
            let mut socket = TcpStream::connect(mapped).await.unwrap();
            echo(&mut socket).await;
            served += 1;
        }
        served
    });
    (stop, served)
}

async fn echo(socket: &mut TcpStream) {
    let mut back = [0; 5];
    let work = async {
        socket.write_all(b"hello").await.unwrap();
        socket.read_exact(&mut back).await.unwrap();
    };
    tokio::time::timeout(SOON, work).await.expect("a good caller is served");
    assert_eq!(&back, b"hello");
}

/// The first bytes of a client's TLS: its whole ClientHello.
fn client_hello(config: Arc<ClientConfig>, to: SocketAddr) -> Vec<u8> {
    let mut client = ClientConnection::new(config, ServerName::IpAddress(to.ip().into())).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_slowly_is_cut_off_with_a_record_and_a_good_caller_is_served_meanwhile() {
    let machine = Machine::with_patience(SHORT);
    let (web, ledger) = (machine.join("web", 2), machine.join("ledger", 3));
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let to = ledger.attached.hbone();
    let (stop, served) = good(&web);
    let config = config(&machine);
    let silent = async {
        let mut silent = from(machine.ip(9), to).await;
        let read =
            tokio::time::timeout(SOON, silent.read(&mut [0])).await.expect("the silent one is cut off");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    };
    // TLS, byte by byte: a ClientHello of some hundred bytes.
    let hello = client_hello(Arc::clone(&config), to);
    let handshake = async { drip(from(machine.ip(9), to).await, &hello).await };
    // HTTP/2, byte by byte, within a good handshake.
    let preface = async {
        let connector = TlsConnector::from(Arc::clone(&config));
        let name = ServerName::IpAddress(to.ip().into());
        drip(connector.connect(name, from(machine.ip(9), to).await).await.unwrap(), PREFACE).await;
    };
    tokio::join!(silent, handshake, preface);
    stop.store(true, Ordering::SeqCst);
    assert!(served.await.unwrap() >= 3);
    let mut late = Vec::new();
    while late.len() < 3 {
        let timeout = |record: &Record| record.code == Some(&refusals::HANDSHAKE_TIMEOUT);
        late.extend(machine.records(1).await.into_iter().filter(timeout));
    }
    assert!(late.iter().all(|record| record.source_address.ip() == machine.ip(9)), "{late:#?}");
    assert!(late.iter().all(|record| record.direction == super::super::Direction::Inbound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_a_request_byte_by_byte_is_cut_off_for_it_cannot_answer_meanwhile() {
    let machine = Machine::with_patience(SHORT);
    let (web, ledger) = (machine.join("web", 2), machine.join("ledger", 3));
    let application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let to = ledger.attached.hbone();
    let (stop, served) = good(&web);
    let connector = TlsConnector::from(config(&machine));
    let name = ServerName::IpAddress(to.ip().into());
    let mut stream = connector.connect(name, from(machine.ip(9), to).await).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    // SETTINGS, empty (RFC 9113, section 6.5); then a HEADERS frame of 16 KiB, of which one byte comes at a time.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    stream.write_all(&[0, 0x3f, 0xff, 1, 4, 0, 0, 0, 1]).await.unwrap();
    drip(stream, &[0]).await;
    stop.store(true, Ordering::SeqCst);
    let served = served.await.unwrap();
    assert_eq!(application.count(), served, "nobody else reached the application");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_holds_a_few_connections_and_keeps_nobody_else_out() {
    // Nobody is cut off by time here.
    let machine = Machine::new();
    let (web, ledger) = (machine.join("web", 2), machine.join("ledger", 3));
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let mut silent = Vec::new();
    for _ in 0..OF_ONE_ADDRESS + 8 {
        silent.push(from(machine.ip(9), ledger.attached.hbone()).await);
    }
    // Eight are turned away, by an end or a reset; the others stay.
    let mut turned_away = 0;
    let gone = async {
        while turned_away < 8 {
            tokio::time::sleep(DRIP).await;
            let before = silent.len();
            silent.retain(|socket| match socket.try_read(&mut [0]) {
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                Ok(_) => false,
            });
            turned_away += before - silent.len();
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("who is above the limit is turned away");
    assert_eq!((turned_away, silent.len()), (8, OF_ONE_ADDRESS));
    let mut socket = TcpStream::connect(web.mapped()).await.unwrap();
    echo(&mut socket).await;
    // Places that are given back are there for the same address again.
    drop(silent.split_off(16));
    let mut again = from(machine.ip(9), ledger.attached.hbone()).await;
    let hello = client_hello(config(&machine), ledger.attached.hbone());
    let answered = async {
        loop {
            again.write_all(&hello).await.unwrap();
            if let Ok(1..) = again.read(&mut [0; 64]).await {
                return;
            }
            again = from(machine.ip(9), ledger.attached.hbone()).await;
        }
    };
    tokio::time::timeout(SOON, answered).await.expect("the address may come again");
}

/// An application that sends without end, and counts what was taken of it.
async fn endless(address: SocketAddr) -> Arc<AtomicU64> {
    let listener = TcpListener::bind(address).await.unwrap();
    let sent: Arc<AtomicU64> = Arc::default();
    let counter = Arc::clone(&sent);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let part = vec![7; 64 << 10];
                while let Ok(n) = socket.write(&part).await {
                    counter.fetch_add(n as u64, Ordering::SeqCst);
                    if counter.load(Ordering::SeqCst) > 4 * MOST {
                        return;
                    }
                }
            });
        }
    });
    sent
}

/// What may be under way of one download that nobody reads: windows and buffers of two proxies, and what the kernel keeps
/// of four sockets.
const MOST: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_nobody_reads_takes_bounded_memory_and_others_of_its_tunnel_go_on() {
    let machine = Machine::new();
    let (web, ledger) = (machine.join("web", 2), machine.join("ledger", 3));
    // As where very many call it, and with proxies of others: flows share connections.
    let places = u32::try_from(ledger.attached.direct.available_permits()).unwrap();
    let _others = ledger.attached.direct.acquire_many(places).await.unwrap();
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let sent = endless(SocketAddr::new(machine.ip(3), 8081)).await;
    let mut other = TcpStream::connect(web.mapped()).await.unwrap();
    echo(&mut other).await;
    assert_eq!(machine.mesh.shared.pool.len(), 1);
    let mut stuck = TcpStream::connect(web.proxy()).await.unwrap();
    let target = SocketAddr::new(machine.ip(3), 8081);
    let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
    stuck.write_all(request.as_bytes()).await.unwrap();
    stuck.readable().await.unwrap();
    // Until nothing moves any more, or it is far too much.
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = sent.load(Ordering::SeqCst);
        if (now == last && now > 0) || now > MOST {
            break;
        }
        last = now;
    }
    let taken = sent.load(Ordering::SeqCst);
    assert!(taken < MOST, "{taken} bytes were taken for somebody who reads none");
    // The same tunnel carries both.
    assert_eq!(machine.mesh.shared.pool.len(), 1);
    for _ in 0..20 {
        echo(&mut other).await;
    }
    let mut new = TcpStream::connect(web.mapped()).await.unwrap();
    echo(&mut new).await;
    // And it ends with its client.
    drop(stuck);
    machine.records(1).await;
}
