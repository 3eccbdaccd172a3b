//! Things change while connections are open: policies, certificates, roots, the proxy itself.

use std::net::SocketAddr;
use std::time::Instant;

use model::codes::mesh as codes;
use model::mesh::Change;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::mesh::Direction;

async fn echo(socket: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    socket.write_all(text).await?;
    let mut back = vec![0; text.len()];
    socket.read_exact(&mut back).await?;
    Ok(back)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_no_longer_allowed_is_closed_and_others_are_not() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let batch = machine.join("batch", 4);
    let _ledger = machine.join("ledger", 3);
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let mut kept = TcpStream::connect(web.mapped()).await.unwrap();
    let mut lost = TcpStream::connect(batch.mapped()).await.unwrap();
    assert_eq!(echo(&mut kept, b"one").await.unwrap(), b"one");
    assert_eq!(echo(&mut lost, b"one").await.unwrap(), b"one");
    let begun = Instant::now();
    machine.change(Change::Policy(allow("web-only", &["web"])));
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), lost.read_to_end(&mut rest)).await;
    let error = ended.expect("within five seconds").expect_err("a reset, no orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(echo(&mut kept, b"two").await.unwrap(), b"two");
    let records = machine.records(2).await;
    let inbound = records.iter().find(|record| record.direction == Direction::Inbound).unwrap();
    assert_eq!(inbound.code, Some(&codes::REVOKED_BY_CHANGE));
    assert_eq!(inbound.source, "spiffe://cluster.local/ns/bank/sa/batch");
    assert_eq!(inbound.detail, "1 rule of bank/web-only considered, none matched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_and_certificates_change_under_open_connections_and_nothing_breaks() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let ledger = machine.join("ledger", 3);
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let mut open = TcpStream::connect(web.mapped()).await.unwrap();
    assert_eq!(echo(&mut open, b"old").await.unwrap(), b"old");
    let next = Ca::new();
    let both = format!("{}{}", machine.ca.root, next.root);
    let steps: [(&Ca, &str); 3] = [(&machine.ca, &both), (&next, &both), (&next, &next.root)];
    for (issuer, roots) in steps {
        for (joined, account) in [(&web, "web"), (&ledger, "ledger")] {
            joined.renew.send_replace(issuer.credential_that_trusts(account, roots));
            let mut new = TcpStream::connect(web.mapped()).await.unwrap();
            assert_eq!(echo(&mut new, b"new").await.unwrap(), b"new");
            assert_eq!(echo(&mut open, b"old").await.unwrap(), b"old");
        }
    }
    // Who still has the old root's certificate is a stranger now.
    web.renew.send_replace(machine.ca.credential_that_trusts("web", &both));
    if let Ok(mut refused) = TcpStream::connect(web.mapped()).await {
        assert!(echo(&mut refused, b"new").await.is_err());
    }
}

/// Every change says goodbye to all connections at once, and calls come all the time: each of them has to be carried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_change_again_and_again_under_load_and_no_call_fails() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let ledger = machine.join("ledger", 3);
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let next = Ca::new();
    let both = format!("{}{}", machine.ca.root, next.root);
    for (joined, account) in [(&web, "web"), (&ledger, "ledger")] {
        joined.renew.send_replace(machine.ca.credential_that_trusts(account, &both));
    }
    let (to, end) = (web.mapped(), Instant::now() + Duration::from_secs(4));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn(async move {
                let mut calls = 0;
                while Instant::now() < end {
                    let mut socket = TcpStream::connect(to).await.unwrap();
                    for text in [b"one", b"two"] {
                        let said = echo(&mut socket, text).await;
                        assert!(said.as_deref().is_ok_and(|said| said == text), "call {calls}: {said:?}");
                    }
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut changes = 0;
    while Instant::now() < end {
        for (joined, account) in [(&ledger, "ledger"), (&web, "web")] {
            let issuer = if changes % 2 == 0 { &next } else { &machine.ca };
            joined.renew.send_replace(issuer.credential_that_trusts(account, &both));
            changes += 1;
            tokio::time::sleep(Duration::from_millis(17)).await;
        }
    }
    let mut calls = 0;
    for caller in callers {
        match caller.await {
            Ok(more) => calls += more,
            Err(error) => panic!("{error} {:#?}", machine.records(0).await.last()),
        }
    }
    assert!(calls > 100 && changes > 20, "{calls} calls, {changes} changes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_what_is_open_finish_and_takes_nothing_new() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let ledger = machine.join("ledger", 3);
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let mut open = TcpStream::connect(web.mapped()).await.unwrap();
    let first = echo(&mut open, b"one").await;
    assert!(first.is_ok(), "{first:?} {:#?}", machine.records(0).await);
    let draining = tokio::spawn(ledger.attached.drain(Duration::from_secs(20)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = echo(&mut open, b"two").await;
    assert!(second.as_deref().is_ok_and(|text| text == b"two"), "{second:?} {:#?}", machine.records(0).await);
    // The reset may come before connect() has returned.
    if let Ok(mut late) = TcpStream::connect(web.mapped()).await {
        assert!(echo(&mut late, b"new").await.is_err());
    }
    assert!(!draining.is_finished());
    open.shutdown().await.unwrap();
    let mut rest = Vec::new();
    open.read_to_end(&mut rest).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), draining).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_becomes_strict_keeps_no_connection_in_plain_text() {
    let machine = Machine::new();
    let web = machine.join("web", 2);
    let _ledger = machine.join("ledger", 3);
    let mut old = machine.workload("ledger", 3);
    old.tunnel = model::mesh::Tunnel::None;
    machine.change(Change::Workload(old));
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let mut plain = TcpStream::connect(web.mapped()).await.unwrap();
    assert_eq!(echo(&mut plain, b"one").await.unwrap(), b"one");
    // What does not concern it changes nothing.
    machine.change(Change::Policy(allow("web-only", &["web"])));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(echo(&mut plain, b"two").await.unwrap(), b"two");
    let mut strict = machine.workload("web", 2);
    strict.modes.outbound = model::mesh::Mode::Strict.into();
    machine.change(Change::Workload(strict));
    let ended = tokio::time::timeout(Duration::from_secs(5), plain.read(&mut [0; 8])).await;
    let error = ended.expect("within five seconds").expect_err("a reset, no orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let records = machine.records(1).await;
    assert_eq!(records[0].code, Some(&codes::REVOKED_BY_CHANGE));
    assert_eq!(
        (records[0].secured, records[0].sent),
        (crate::mesh::Secured::Plain("destination_not_in_mesh"), 6)
    );
}
