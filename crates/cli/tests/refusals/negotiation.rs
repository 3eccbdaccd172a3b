//! Rows about what is negotiated: versions, ciphers and groups, application protocols, early data.

use model::codes::refusals;
use testkit::clients::{Attempt, Client, Narrow, Version};
use testkit::find_program;
use testkit::program::Program;

use crate::row::{Row, Sees};
use crate::server::{At, Server};

fn open(code: &'static model::codes::Code, alert: u8, edit: fn(&mut Attempt<'_>)) -> Row {
    Row {
        code,
        at: At::Names,
        sees: [Sees::Alert(alert); 2],
        credential: |_| None,
        unable: &[],
        lone: None,
        unreadable: false,
        edit,
    }
}

#[test]
fn tls_1_0_and_1_1() {
    let server = Server::start();
    for (version, edit) in [
        (Version::Tls10, (|a| a.version = Version::Tls10) as fn(&mut Attempt<'_>)),
        (Version::Tls11, |a| a.version = Version::Tls11),
    ] {
        let row = open(&refusals::PROTOCOL_VERSION, 70, edit);
        let mut tried = testkit::clients::CLIENTS.to_vec();
        tried.retain(|client| row.try_once(&server, *client, version, Sees::Alert(70)));
        assert!(tried.len() >= 2, "{version:?} was tried by {tried:?} only");
    }
    assert_eq!(server.upstream(), (0, 0));
}

#[test]
fn no_common_cipher_or_group() {
    open(&refusals::NO_COMMON_CIPHER, 40, |attempt| attempt.narrow = Narrow::NothingInCommon).check();
}

#[test]
fn no_application_protocol_in_common() {
    let server = Server::start();
    let row = open(&refusals::NO_APPLICATION_PROTOCOL, 120, |attempt| attempt.alpn = &["imap"]);
    // curl offers h2 and http/1.1 only.
    for version in [Version::Tls12, Version::Tls13] {
        let mut tried = vec![Client::OpenSsl, Client::GnuTls, Client::Go];
        tried.retain(|client| row.try_once(&server, *client, version, Sees::Alert(120)));
        assert!(tried.len() >= 2, "{version:?} was tried by {tried:?} only");
    }
    assert_eq!(server.upstream(), (0, 0));
}

#[test]
fn early_data_is_not_offered_and_never_reaches_upstream() {
    let server = Server::start();
    let Some(openssl) = find_program("openssl") else { return testkit::skipped("openssl is not installed") };
    let dir = tempfile::tempdir().unwrap();
    let (session, early) = (dir.path().join("session"), dir.path().join("early"));
    let request = "GET /early HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    std::fs::write(&early, request).unwrap();
    let connect = |more: &[&str]| {
        let mut program = Program::start(
            std::process::Command::new(&openssl)
                .args(["s_client", "-ign_eof", "-tls1_3", "-servername", "app.test", "-connect"])
                .arg(server.addr(At::Names).to_string())
                .args(more),
        );
        if !more.contains(&"-early_data") {
            program.write(request.replace("/early", "/first").as_bytes());
        }
        program.finish(std::time::Duration::from_secs(3))
    };
    let first = connect(&["-sess_out", session.to_str().unwrap()]);
    assert!(first.out().contains("200 OK"), "{}", first.all());
    // s_client prints the limit that the ticket grants.
    assert!(!first.out().contains("Max Early Data: 16384"), "{}", first.all());
    assert!(first.out().contains("Max Early Data: 0"), "{}", first.all());
    let reached = server.app.asked().len();
    let second = connect(&["-sess_in", session.to_str().unwrap(), "-early_data", early.to_str().unwrap()]);
    assert!(
        second.out().contains("Early data was not sent") || second.out().contains("Early data was rejected"),
        "{}",
        second.all()
    );
    assert!(server.app.asked()[reached..].iter().all(|asked| asked.path != "/early"));
}
