//! The plainer framing between two proxies of ours: when it is used, and what a caller who speaks it may not do.

use std::net::SocketAddr;

use bytes::Bytes;
use model::codes::{Code, mesh as codes};
use model::mesh::Change;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::mesh::{Direction, Secured};
use crate::tunnel::direct;
use crate::tunnel::direct::message::{HEAD, Head, Open, answer};

/// A connection on which the messages can be written by hand.
pub(super) async fn dial(machine: &Machine, from: &Joined, to: &Joined) -> TlsStream<TcpStream> {
    let identity = "spiffe://cluster.local/ns/bank/sa/ledger".parse().unwrap();
    let config = from.renew.borrow().client(&identity, true).unwrap();
    let socket = TcpStream::connect(to.attached.hbone()).await.unwrap();
    let name = ServerName::IpAddress(machine.ip(3).into());
    let stream = TlsConnector::from(config).connect(name, socket).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(direct::ALPN));
    stream
}

pub(super) fn open(authority: &str) -> Vec<u8> {
    Open { authority: authority.into(), headers: http::HeaderMap::new() }.message().unwrap()
}

pub(super) async fn say(stream: &mut TlsStream<TcpStream>, message: &[u8]) {
    stream.write_all(message).await.unwrap();
    stream.flush().await.unwrap();
}

/// Waits for what another task does next.
pub(super) async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_have_one_connection_after_another_and_a_broken_one_takes_its_own_with_it() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let _ledger = machine.join("ledger", 3);
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let pool = &machine.mesh.shared.pool;
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n * 31 % 251) as u8).collect();
    let mut callers = Vec::new();
    for _ in 0..5 {
        let mut flow = TcpStream::connect(web.mapped()).await.unwrap();
        let (mut read, mut write) = flow.split();
        let writing = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(writing, read.read_to_end(&mut got));
        assert!(read.is_ok() && got == sent, "{} bytes came back", got.len());
        until("a connection is free", || pool.spares() == 1).await;
        let records = machine.records(2).await;
        assert!(records.iter().all(|record| record.secured == Secured::Hbone && record.code.is_none()));
        let inbound = records.iter().find(|record| record.direction == Direction::Inbound).unwrap();
        assert_eq!((inbound.sent, inbound.received), (300_000, 300_000));
        callers.push(inbound.source_address);
    }
    callers.dedup();
    assert_eq!((callers.len(), pool.len()), (1, 1), "{callers:?}");

    let listener = TcpListener::bind(SocketAddr::new(machine.ip(3), 8081)).await.unwrap();
    let mut flow = TcpStream::connect(web.proxy()).await.unwrap();
    let request = format!("CONNECT {0}:8081 HTTP/1.1\r\nhost: {0}:8081\r\n\r\n", machine.ip(3));
    flow.write_all(request.as_bytes()).await.unwrap();
    let (mut application, _) = listener.accept().await.unwrap();
    flow.write_all(b"partial").await.unwrap();
    let mut partial = [0; 7];
    application.read_exact(&mut partial).await.unwrap();
    socket2::SockRef::from(&flow).set_linger(Some(Duration::ZERO)).unwrap();
    drop(flow);
    let error = application.read(&mut partial).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    until("the connection is gone", || pool.len() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_are_many_flows_the_last_ones_share_a_connection() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let _ledger = machine.join("ledger", 3);
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let mut flows = Vec::new();
    for n in 0..70_u8 {
        let mut flow = TcpStream::connect(web.mapped()).await.unwrap();
        flow.write_all(&[n]).await.unwrap();
        assert_eq!(flow.read_u8().await.unwrap(), n);
        flows.push(flow);
    }
    assert_eq!(machine.mesh.shared.pool.len(), 64 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_that_very_many_call_shares_connections_instead_of_refusing() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let ledger = machine.join("ledger", 3);
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let places = ledger.attached.direct.available_permits();
    let others = ledger.attached.direct.acquire_many(u32::try_from(places).unwrap()).await.unwrap();
    let mut flows = Vec::new();
    for n in 0..3_u8 {
        let mut flow = TcpStream::connect(web.mapped()).await.unwrap();
        flow.write_all(&[n]).await.unwrap();
        assert_eq!(flow.read_u8().await.unwrap(), n);
        flows.push(flow);
    }
    let pool = &machine.mesh.shared.pool;
    assert_eq!((pool.len(), ledger.attached.direct.available_permits()), (1, 0));
    drop(others);
    assert_eq!(ledger.attached.direct.available_permits(), places, "what is shared holds none of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_know_it_gets_hbone() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    machine.join("ledger", 3).attached.drain(Duration::from_secs(5)).await;
    let mut config = (*machine.ca.credential("ledger").server(false)).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind((machine.ip(3), HBONE_PORT)).await.unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.method(), http::Method::CONNECT);
            let mut send = respond.send_response(http::Response::new(()), false).unwrap();
            send.send_data(Bytes::from_static(b"foreign"), true).unwrap();
        }
    });
    for _ in 0..2 {
        let mut flow = TcpStream::connect(web.mapped()).await.unwrap();
        let mut said = [0; 7];
        flow.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"foreign");
    }
    assert_eq!(machine.mesh.shared.pool.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_is_refused_by_its_words_by_policy_and_by_an_application_that_is_away() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let ledger = machine.join("ledger", 3);
    let application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let own = machine.ip(3);

    // What is no request ends the connection.
    for bad in
        [&[4, 0, 0, 0][..], &[0, 0, 0, 1, 7], &[1, 0, 0, 0], &[3, 0, 0, 2, 0, 200], &[2, 0, 0, 3, 0, 9, 7]]
    {
        let mut stream = dial(&machine, &web, &ledger).await;
        say(&mut stream, bad).await;
        let mut rest = Vec::new();
        // With what was not read yet an end is a reset.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{bad:?}: {rest:?}");
        let records = machine.records(1).await;
        assert_eq!((records.len(), records[0].code), (1, Some(&codes::TUNNEL_INVALID)), "{bad:?}");
    }

    // What is refused leaves it to the next.
    let mut stream = dial(&machine, &web, &ledger).await;
    let refused: [(String, u16, &Code); 4] = [
        ("ledger:8080".into(), 400, &codes::TUNNEL_INVALID),
        (format!("{}:8080", machine.ip(2)), 400, &codes::TUNNEL_INVALID),
        (ledger.proxy().to_string(), 400, &codes::LOOP),
        (format!("{own}:8081"), 503, &codes::APPLICATION_UNREACHABLE),
    ];
    for (authority, status, code) in refused {
        say(&mut stream, &open(&authority)).await;
        let mut said = [0; 6];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(said, answer(status), "{authority}");
        assert_eq!(machine.records(1).await[0].code, Some(code), "{authority}");
    }
    machine.change(Change::Policy(allow("only-batch", &["batch"])));
    say(&mut stream, &open(&format!("{own}:8080"))).await;
    let mut said = [0; 6];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(said, answer(401));
    assert_eq!(machine.records(1).await[0].code, Some(&codes::NOT_ALLOWED));
    assert_eq!(application.count(), 0, "a refused connection sends nothing upstream");

    // Two flows, the second of which forgets what may be said within one.
    machine.change(Change::PolicyGone("bank/only-batch".into()));
    for is_last in [false, true] {
        say(&mut stream, &open(&format!("{own}:8080"))).await;
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(said, answer(200));
        say(&mut stream, &[&Head::Data(2).bytes()[..], b"ab"].concat()).await;
        let mut echo = [0; HEAD + 2];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, [0, 0, 0, 2, b'a', b'b']);
        if is_last {
            say(&mut stream, &open("127.0.0.1:1")).await;
            assert!(stream.read(&mut echo).await.is_err(), "broken off");
        } else {
            say(&mut stream, &Head::End.bytes()).await;
            stream.read_exact(&mut echo[..HEAD]).await.unwrap();
            assert_eq!(echo[..HEAD], Head::End.bytes());
        }
        let records = machine.records(1).await;
        assert_eq!((records[0].sent, records[0].received, records[0].ending.is_empty()), (2, 2, !is_last));
    }
    assert_eq!(application.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_credential_ends_what_carries_nothing_and_the_next_call_comes_again() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let ledger = machine.join("ledger", 3);
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let pool = &machine.mesh.shared.pool;
    for turn in 0..2 {
        let mut flow = TcpStream::connect(web.mapped()).await.unwrap();
        flow.write_all(b"one").await.unwrap();
        flow.shutdown().await.unwrap();
        let mut got = Vec::new();
        flow.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"one");
        until("a connection is free", || pool.spares() == 1).await;
        if turn == 0 {
            let before = machine.records(2).await;
            assert!(before.iter().all(|record| record.code.is_none()), "{before:#?}");
            // Of the called one: it says goodbye to whoever has a connection.
            ledger.renew.send_replace(machine.ca.credential("ledger"));
        }
    }
    web.renew.send_replace(machine.ca.credential("web"));
    let mut flow = TcpStream::connect(web.mapped()).await.unwrap();
    flow.write_all(b"two").await.unwrap();
    let mut two = [0; 3];
    flow.read_exact(&mut two).await.unwrap();
    assert_eq!((&two, pool.len()), (b"two", 1), "none of the old credential is left");
    let records = machine.records(2).await;
    assert!(records.iter().all(|record| record.code.is_none()), "{records:#?}");
}

/// A caller with several kept connections to a peer that has vanished waits once, not for each of them.
#[tokio::test]
async fn a_silent_peer_is_waited_for_on_one_of_its_connections() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    machine.join("ledger", 3).attached.drain(Duration::from_secs(5)).await;
    let config = machine.ca.credential("ledger").server(true);
    let listener = TcpListener::bind((machine.ip(3), HBONE_PORT)).await.unwrap();
    let acceptor = TlsAcceptor::from(config);
    let (mut flows, mut peers) = (Vec::new(), Vec::new());
    for n in 0..3_u8 {
        let mut flow = TcpStream::connect(web.mapped()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let mut peer = acceptor.accept(socket).await.unwrap();
        let (head, _) = direct::receive(&mut peer).await.unwrap().unwrap();
        assert!(matches!(head, Head::Open(_)));
        let said = [&answer(200)[..], &Head::Data(1).bytes(), &[n], &Head::End.bytes()].concat();
        peer.write_all(&said).await.unwrap();
        peer.flush().await.unwrap();
        assert_eq!(flow.read_u8().await.unwrap(), n);
        flows.push(flow);
        peers.push(peer);
    }
    // Nobody answers any more, nor is there anybody to begin anew with.
    drop(listener);
    for (flow, peer) in flows.iter_mut().zip(&mut peers) {
        flow.shutdown().await.unwrap();
        let mut end = [0; HEAD];
        peer.read_exact(&mut end).await.unwrap();
        assert_eq!(end, Head::End.bytes());
    }
    let pool = &machine.mesh.shared.pool;
    until("they are kept", || pool.spares() == 3).await;
    tokio::time::pause();
    let mut flow = TcpStream::connect(web.mapped()).await.unwrap();
    assert!(flow.read(&mut [0; 1]).await.is_err(), "there is no answer");
    let mut asked = 0;
    for mut peer in peers {
        // One that was asked nothing and is kept says nothing.
        let said = tokio::time::timeout(Duration::from_secs(5), direct::receive(&mut peer)).await;
        asked += usize::from(matches!(said, Ok(Ok(Some((Head::Open(_), _))))));
    }
    assert_eq!((asked, pool.len()), (1, 0));
}
