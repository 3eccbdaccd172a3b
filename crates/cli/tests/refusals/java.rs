//! A fourth TLS library: Java's own. Its start is slow, so that it tries the few rows that differ by library:
//! how a refusal reaches a client that believes itself connected.

use std::process::Command;
use std::time::Duration;

use model::codes::refusals;
use testkit::find_program;
use testkit::pki::Credential;
use testkit::program::Program;

use crate::server::{At, Server};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/java/Client.java");

fn store(server: &Server, credential: &Credential) -> String {
    let file = server.pki.file(&format!("{}.p12", credential.name));
    let finished = Program::run(
        Command::new("openssl")
            .args(["pkcs12", "-export", "-passout", "pass:changeit", "-name", "client", "-in"])
            .arg(&credential.chain)
            .arg("-inkey")
            .arg(&credential.key)
            .arg("-out")
            .arg(&file),
        b"",
        Duration::from_secs(10),
    );
    assert_eq!(finished.code, Some(0), "{}", finished.all());
    file.to_str().unwrap().to_owned()
}

#[test]
fn java_is_let_in_with_the_good_certificate_and_told_the_alert_with_others() {
    if find_program("java").is_none() || find_program("javac").is_none() {
        return testkit::skipped("no Java development kit");
    }
    let server = Server::start();
    let pki = &server.pki;
    let cases = [
        (Some(&pki.good), "HTTP/1.1 200", None),
        (None, "certificate_required", Some(&refusals::CLIENT_CERTIFICATE_MISSING)),
        (Some(&pki.other_ca), "unknown_ca", Some(&refusals::UNKNOWN_ISSUER)),
        (Some(&pki.expired), "certificate_expired", Some(&refusals::CERTIFICATE_EXPIRED)),
    ];
    for (credential, expected, code) in cases {
        let before = server.app.asked().len();
        let mut command = Command::new("java");
        command.args([SOURCE, &server.addr(At::Strict).port().to_string(), "app.test", "TLSv1.3"]);
        command.args(credential.map(|credential| store(&server, credential)));
        let finished = Program::run(&mut command, b"", Duration::from_secs(60));
        let log = server.handfast.program.output();
        assert!(finished.out().contains(expected), "{expected}: {}\n{log}", finished.all());
        let reached = server.app.asked().len() - before;
        assert_eq!(reached, usize::from(code.is_none()), "{log}");
        if let Some(code) = code {
            assert_eq!(server.new_lines(code.id, 0).len(), 1, "{log}");
        }
    }
}
