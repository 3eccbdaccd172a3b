//! An application calls: by explicit proxy or mapped port, through the tunnel or not at all.

use std::net::SocketAddr;

use model::codes::{Coded as _, mesh as codes};
use model::mesh::{Change, Mode, Tunnel};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::mesh::{Direction, Secured};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_calls_a_service_by_every_explicit_way_and_it_is_mutual_tls() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let _ledger = machine.join("ledger", 3);
    let application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let http = format!("http://{}", web.proxy());
    let socks = format!("socks5h://{}", web.proxy());
    let mapped = format!("http://{}/way", web.mapped());
    let ways: [&[&str]; 5] = [
        &["-x", &http, "http://ledger/way"],
        &["-x", &http, "-p", "http://ledger.bank.svc.cluster.local:80/way"],
        &["-x", &socks, "http://ledger.bank/way"],
        &["-x", &socks, &format!("http://{}/way", machine.ip(103))],
        &[&mapped],
    ];
    for way in ways {
        let (code, body, error) = curl(way).await;
        assert!(
            code == Some(0) && body.starts_with("hello from the application"),
            "{way:?} {code:?} {body} {error}"
        );
        assert!(body.contains("GET /way HTTP/1.1"), "{body}");
        let records = machine.records(2).await;
        for record in &records {
            assert_eq!(record.secured, Secured::Hbone, "{record:?}");
            assert_eq!(record.source, "spiffe://cluster.local/ns/bank/sa/web");
            assert_eq!(record.destination, "spiffe://cluster.local/ns/bank/sa/ledger");
            assert!(record.code.is_none() && record.sent > 10 && record.received > 20, "{record:?}");
            assert!(record.service.ends_with("ledger.bank.svc.cluster.local"), "{record:?}");
        }
        let directions: Vec<_> = records.iter().map(|record| record.direction).collect();
        assert!(directions.contains(&Direction::Inbound) && directions.contains(&Direction::Outbound));
    }
    assert_eq!(application.count(), ways.len());
    assert_eq!(machine.mesh.shared.pool.len(), 1, "one connection carried all of them");
}

/// Plain HTTP through the explicit proxy, to an application that keeps its connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_told_client_use_one_connection_and_end_in_order() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let _ledger = machine.join("ledger", 3);
    let listener = TcpListener::bind(SocketAddr::new(machine.ip(3), 8080)).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                while let Ok(1..) = socket.read(&mut [0; 4096]).await {
                    let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkept").await;
                }
            });
        }
    });
    let proxy = format!("http://{}", web.proxy());
    let mut callers = std::collections::HashSet::new();
    for _ in 0..4 {
        let (_, body, error) = curl(&["-x", &proxy, "http://ledger/"]).await;
        assert_eq!(body, "kept", "{error}");
        super::direct::until("it is free", || machine.mesh.shared.pool.spares() == 1).await;
        for record in machine.records(2).await {
            assert!(record.code.is_none() && record.ending.is_empty(), "{record:#?}");
            if record.direction == Direction::Inbound {
                callers.insert(record.source_address);
            }
        }
    }
    assert_eq!((callers.len(), machine.mesh.shared.pool.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_takes_the_clients_word_for_nothing_but_where_it_wants_to_go() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let _ledger = machine.join("ledger", 3);
    let application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let mut socket = TcpStream::connect(web.proxy()).await.unwrap();
    let request = "GET http://user:secret@ledger/x HTTP/1.1\r\nHost: other\r\nProxy-Authorization: Basic eA==\r\n\
                   Connection: close, X-Own\r\nX-Own: 1\r\nX-Kept: 2\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let lower = answer.to_ascii_lowercase();
    assert!(lower.contains("host: ledger\r\n") && lower.contains("x-kept: 2"), "{answer}");
    for gone in ["host: other", "proxy-authorization", "x-own", "secret"] {
        assert!(!lower.contains(gone), "{gone}: {answer}");
    }
    assert_eq!(application.count(), 1);
    // What is no request of a proxy is refused, and said so.
    machine.records(2).await;
    let wrong = [
        "GET /relative HTTP/1.1\r\nHost: ledger\r\nConnection: close\r\n\r\n",
        "CONNECT ledger HTTP/1.1\r\nConnection: close\r\n\r\n",
        "\x00\x01\x02\r\n\r\n",
    ];
    for request in wrong {
        let mut socket = TcpStream::connect(web.proxy()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 400"), "{request:?}");
        let records = machine.records(1).await;
        assert_eq!(records[0].code, Some(&codes::PROXY_REQUEST_INVALID), "{request:?}");
    }
    assert_eq!(application.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socks_that_asks_for_what_is_not_served_gets_the_fitting_reply() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let to = |kind: &[u8], command: u8| [&[5, 1, 0, 5, command, 0], kind].concat();
    let name = |name: &str| [&[3, name.len() as u8], name.as_bytes(), &[0, 80]].concat();
    let cases: [(Vec<u8>, u8, &model::codes::Code); 6] = [
        (to(&name("nobody"), 1), 4, &codes::NAME_UNKNOWN),
        (to(&name("web"), 2), 7, &codes::PROXY_REQUEST_INVALID),
        (to(&name("web"), 3), 7, &codes::PROXY_REQUEST_INVALID),
        (to(&[9, 0, 0], 1), 8, &codes::PROXY_REQUEST_INVALID),
        (to(&name("we b"), 1), 1, &codes::PROXY_REQUEST_INVALID),
        (to(&[&[3, 3][..], b"web", &[0, 81]].concat(), 1), 5, &codes::NO_PORT),
    ];
    for (request, reply, code) in cases {
        let mut socket = TcpStream::connect(web.proxy()).await.unwrap();
        socket.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert_eq!(&answer[..2], [5, 0], "{request:?}");
        assert_eq!((answer[2], answer[3], answer.len()), (5, reply, 12), "{request:?} {answer:?}");
        assert_eq!(machine.records(1).await[0].code.unwrap().id, code.id);
    }
    let mut socket = TcpStream::connect(web.proxy()).await.unwrap();
    socket.write_all(&[5, 1, 2]).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert_eq!(answer[..2], [5, 0xff], "only a password was offered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_caller_calls_nobody_in_plain_text_and_a_permissive_one_says_that_it_did() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let mut old = machine.workload("old", 4);
    old.tunnel = Tunnel::None;
    machine.change(Change::Workload(old));
    let application = Application::start(SocketAddr::new(machine.ip(4), 8080)).await;
    let (proxy, url) = (format!("http://{}", web.proxy()), format!("http://{}:8080/", machine.ip(4)));
    let (_, body, _) = curl(&["-x", &proxy, &url]).await;
    assert!(body.starts_with("hello"), "{body}");
    assert_eq!(machine.records(1).await[0].secured, Secured::Plain("destination_not_in_mesh"));
    let mut strict = machine.workload("web", 2);
    strict.modes.outbound = Mode::Strict.into();
    machine.change(Change::Workload(strict));
    let (_, body, _) = curl(&["-x", &proxy, &url]).await;
    assert!(body.starts_with("HF8005: "), "{body}");
    let records = machine.records(1).await;
    assert_eq!((records[0].code, records[0].secured), (Some(&codes::WOULD_BE_PLAIN), Secured::Refused));
    assert_eq!(application.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_workload_calls_out_through_the_proxy_of_another_one() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let boss = machine.join("boss", 4);
    let _ledger = machine.join("ledger", 3);
    let application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    machine.change(Change::Policy(allow("boss-only", &["boss"])));
    // Web asks its own proxy for the boss's proxy, and asks that for the ledger.
    for to in [boss.proxy(), boss.mapped(), boss.attached.hbone(), web.proxy()] {
        let own = format!("http://{}", web.proxy());
        let (_, body, _) = curl(&["-x", &own, &format!("http://{to}/")]).await;
        assert!(body.starts_with("HF8015: "), "{to}: {body}");
    }
    assert_eq!(application.count(), 0);
    let (_, body, _) = curl(&["-x", &format!("http://{}", boss.proxy()), "http://ledger/"]).await;
    assert!(body.starts_with("hello"), "the boss himself may: {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_knows_the_callers_address_and_a_client_sees_a_reset_as_one() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let batch = machine.join("batch", 4);
    let _ledger = machine.join("ledger", 3);
    let application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let proxy = |joined: &Joined| format!("http://{}", joined.proxy());
    let network = Network::new(machine.ip(2), 32).unwrap();
    let part = Match { source_ips: Field { any: vec![network], none: Vec::new() }, ..Match::default() };
    let mut deny = allow("not-from-there", &[]);
    (deny.action, deny.rules[0].clauses[0].matches) = (Action::Deny, vec![part]);
    machine.change(Change::Policy(deny));
    let (_, body, _) = curl(&["-x", &proxy(&web), "http://ledger/"]).await;
    assert!(body.starts_with("HF8011: "), "{body}");
    let records = machine.records(2).await;
    let inbound = records.iter().find(|record| record.direction == Direction::Inbound).unwrap();
    assert_eq!((inbound.code, inbound.source_address.ip()), (Some(&codes::DENIED), machine.ip(2)));
    let (_, body, _) = curl(&["-x", &proxy(&batch), "http://ledger/"]).await;
    assert!(body.starts_with("hello"), "{body}");
    assert_eq!(application.count(), 1);

    // An application that breaks off in the middle: no client takes that for the end of the answer.
    let listener = TcpListener::bind(SocketAddr::new(machine.ip(3), 8081)).await.unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"partial").await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let mut client = TcpStream::connect(batch.proxy()).await.unwrap();
    let request = format!("CONNECT {0}:8081 HTTP/1.1\r\nhost: {0}:8081\r\n\r\n", machine.ip(3));
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let error = client.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(answer.ends_with(b"partial"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_the_address_but_not_the_identity_gets_nothing() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let _ledger = machine.join("ledger", 3);
    // The world says that a ledger is at 4, and thief listens there.
    let _thief = machine.join("thief", 4);
    let application = Application::start(SocketAddr::new(machine.ip(4), 8080)).await;
    let mut ledger = machine.workload("ledger", 4);
    ledger.uid = "here//Pod/bank/ledger-2".into();
    machine.change(Change::Workload(ledger));
    let (_, body, _) =
        curl(&["-x", &format!("http://{}", web.proxy()), &format!("http://{}:8080/", machine.ip(4))]).await;
    assert!(body.starts_with("HF8012: "), "{body}");
    assert!(
        body.contains(
            "it is spiffe://cluster.local/ns/bank/sa/thief, expected spiffe://cluster.local/ns/bank/sa/ledger"
        ),
        "{body}"
    );
    assert_eq!(application.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_down_is_passed_over_and_none_is_an_error() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let ledger = machine.join("ledger", 3);
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    // Another one of the service, whose proxy is not there.
    let mut down = machine.workload("ledger", 5);
    down.uid = "here//Pod/bank/ledger-down".into();
    machine.change(Change::Workload(down));
    let proxy = format!("http://{}", web.proxy());
    for _ in 0..8 {
        let (code, body, error) = curl(&["-x", &proxy, "http://ledger/"]).await;
        assert!(body.starts_with("hello"), "{code:?} {body} {error}");
    }
    ledger.attached.drain(Duration::from_secs(5)).await;
    let (_, body, _) = curl(&["-x", &proxy, "http://ledger/"]).await;
    assert!(body.starts_with("HF8010: "), "{body}");
    let records = machine.records(1).await;
    let last = records.iter().rev().find(|record| record.direction == Direction::Outbound).unwrap();
    assert_eq!(last.code, Some(&codes::PEER_UNREACHABLE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_direction_ends_by_itself_and_a_bulk_flow_has_a_connection_of_its_own() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let _ledger = machine.join("ledger", 3);
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let mut bulk = TcpStream::connect(web.mapped()).await.unwrap();
    let (mut read, mut write) = bulk.split();
    let sent: Vec<u8> = (0..9_000_000_u32).map(|n| (n * 31 % 251) as u8).collect();
    let mut got = Vec::new();
    let writing = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let halfway = async {
        let mut part = vec![0; 3_000_000];
        read.read_exact(&mut part).await.unwrap();
        // While it is open and large, another one does not share its connection.
        let mut small = TcpStream::connect(web.mapped()).await.unwrap();
        small.write_all(b"small").await.unwrap();
        let mut echo = [0; 5];
        small.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"small");
        assert_eq!(machine.mesh.shared.pool.len(), 2);
        small.shutdown().await.unwrap();
        got.extend(part);
        read.read_to_end(&mut got).await.unwrap();
    };
    tokio::join!(writing, halfway);
    assert!(got == sent, "{} bytes came back", got.len());
    let records = machine.records(4).await;
    let largest = records.iter().map(|record| (record.sent, record.received)).max().unwrap();
    assert_eq!(largest, (9_000_000, 9_000_000));
    assert!(records.iter().all(|record| record.code.is_none()), "{records:#?}");
    let pool = &machine.mesh.shared.pool;
    while pool.spares() < pool.len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pool.let_go(Duration::ZERO);
    assert_eq!(pool.len(), 0, "nothing is kept that nobody uses");
}

#[test]
fn a_credential_is_refused_where_it_is_none() {
    let ca = Ca::new();
    let (chain, key) = ca.pair(&["spiffe://cluster.local/ns/bank/sa/web"], |_| ());
    let (_, other) = ca.pair(&["spiffe://cluster.local/ns/bank/sa/web"], |_| ());
    let refused = |chain: &str, key: &str, roots: &str| {
        Credential::new(chain.as_bytes(), key.as_bytes(), roots.as_bytes()).unwrap_err().code().id
    };
    assert_eq!(refused(&chain, &other, &ca.root), "HF1012");
    assert_eq!(refused("", &key, &ca.root), "HF1100");
    assert_eq!(refused(&chain, "", &ca.root), "HF4027");
    let (two, two_key) = ca.pair(&["spiffe://a/ns/b/sa/c", "spiffe://a/ns/b/sa/d"], |_| ());
    assert_eq!(refused(&two, &two_key, &ca.root), "HF1100");
    assert!(Credential::new(chain.as_bytes(), key.as_bytes(), b"").is_err());
}
