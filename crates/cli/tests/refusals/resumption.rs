//! Rows about resumption: after a revocation, after a change of trust, and at another virtual host, a ticket is
//! worth a full handshake, no more.

use std::time::Duration;

use model::codes::refusals;
use testkit::clients::{GoClient, Round};
use testkit::program::Program;

use crate::server::{At, Server};

/// Opens one connection, runs `between`, opens the next with the first one's ticket.
fn two_rounds(
    server: &Server,
    at: At,
    version: &str,
    names: &str,
    between: impl FnOnce(),
) -> Option<Vec<Round>> {
    let (pki, go) = (&server.pki, GoClient::find()?);
    let mut program = Program::start(go.command().args([
        "-addr",
        &server.addr(at).to_string(),
        "-servername",
        names,
        "-rounds",
        "2",
        "-wait",
        "-min",
        version,
        "-max",
        version,
        "-cert",
        pki.good.chain.to_str().unwrap(),
        "-key",
        pki.good.key.to_str().unwrap(),
        "-send",
        "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
    ]));
    program.wait_for("the first round", Duration::from_secs(15), |p| p.stdout().lines().count() == 1);
    between();
    program.write(b"\n");
    let finished = program.finish(Duration::from_secs(15));
    Some(testkit::clients::rounds(&finished.out()))
}

#[test]
fn a_session_is_resumed_where_nothing_changed() {
    let server = Server::start();
    for version in ["1.2", "1.3"] {
        let Some(rounds) = two_rounds(&server, At::Strict, version, "app.test", || {}) else {
            return testkit::skipped("go is not installed");
        };
        assert!(rounds[0].read.starts_with("HTTP/1.1 200"), "{rounds:?}");
        assert!(!rounds[0].resumed && rounds[1].resumed, "{rounds:?}");
        // Invariant 6: the resumed session's identity is known and passes the same gate.
        assert!(rounds[1].read.starts_with("HTTP/1.1 200"), "{rounds:?}");
    }
}

#[test]
fn resumption_after_revocation_is_refused_as_revoked() {
    for (version, alert) in [("1.2", 44), ("1.3", 44)] {
        let server = Server::start();
        let (reason, code) = (refusals::CERTIFICATE_REVOKED.label, refusals::CERTIFICATE_REVOKED.id);
        let asked = std::cell::Cell::new(0);
        let rounds = two_rounds(&server, At::Strict, version, "app.test", || {
            let now = time::OffsetDateTime::now_utc();
            let week = (now - time::Duration::HOUR, now + time::Duration::WEEK);
            let pki = &server.pki;
            let crl = pki.clients.crl(&[], week) + &pki.issuing.crl(&[&pki.good.serial], week);
            pki.save("clients.crl", &crl);
            server.handfast.program.signal("HUP");
            server.wait_for_reload(1.0);
            asked.set(server.app.asked().len());
        });
        let Some(rounds) = rounds else { return testkit::skipped("go is not installed") };
        assert!(rounds[0].read.starts_with("HTTP/1.1 200"), "{rounds:?}");
        assert_eq!(rounds[1].alert, Some(alert), "{rounds:?}\n{}", server.handfast.program.output());
        assert!(!rounds[1].resumed && rounds[1].read.is_empty(), "{rounds:?}");
        assert_eq!(server.new_lines(code, 0).len(), 1, "{}", server.handfast.program.output());
        assert_eq!(server.failures(reason), 1.0);
        assert_eq!(server.app.asked().len(), asked.get(), "nothing reached the application");
    }
}

#[test]
fn resumption_after_a_change_of_trust_is_refused_as_unknown() {
    let server = Server::start();
    let rounds = two_rounds(&server, At::Strict, "1.3", "app.test", || {
        // The same file, now with another authority.
        let other = std::fs::read_to_string(server.pki.file("other.pem")).unwrap();
        server.pki.save("clients.pem", &other);
        server.handfast.program.signal("HUP");
        server.wait_for_reload(1.0);
    });
    let Some(rounds) = rounds else { return testkit::skipped("go is not installed") };
    assert!(rounds[0].read.starts_with("HTTP/1.1 200"), "{rounds:?}");
    assert_eq!(rounds[1].alert, Some(48), "{rounds:?}\n{}", server.handfast.program.output());
    assert!(!rounds[1].resumed, "{rounds:?}");
}

#[test]
fn a_ticket_of_one_host_is_a_full_handshake_at_another() {
    let server = Server::start();
    for version in ["1.2", "1.3"] {
        // The open host gives a ticket; the host that requires certificates must not take it (CVE-2025-23419).
        let Some(rounds) = two_rounds(&server, At::Hosts, version, "other.test,app.test", || {}) else {
            return testkit::skipped("go is not installed");
        };
        assert!(rounds[1].handshake && !rounds[1].resumed, "{rounds:?}");
        assert!(rounds[1].asked, "the second host asks for its certificate: {rounds:?}");
    }
}

#[test]
fn a_ticket_of_one_listener_is_a_full_handshake_at_another() {
    let server = Server::start();
    let Some(go) = GoClient::find() else { return testkit::skipped("go is not installed") };
    let pki = &server.pki;
    let (first, second) = (server.addr(At::Names).to_string(), server.addr(At::Strict).to_string());
    for version in ["1.2", "1.3"] {
        let rounds = go.run(&[
            "-addr",
            &format!("{first},{second}"),
            "-servername",
            "app.test",
            "-rounds",
            "2",
            "-min",
            version,
            "-max",
            version,
            "-cert",
            pki.good.chain.to_str().unwrap(),
            "-key",
            pki.good.key.to_str().unwrap(),
            "-send",
            "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
        ]);
        assert!(rounds[0].handshake && rounds[1].handshake, "{rounds:?}");
        assert!(!rounds[1].resumed && rounds[1].asked, "{rounds:?}");
    }
}
