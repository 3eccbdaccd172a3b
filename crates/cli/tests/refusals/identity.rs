//! Rows about a good certificate whose identity is not on the list: the handshake completes, the request is
//! refused in the application's own protocol.

use model::codes::refusals;
use testkit::clients::{Attempt, CLIENTS, Client, Version};

use crate::row::{Row, Sees};
use crate::server::{At, Server};

fn stranger(at: At, sees: Sees) -> Row {
    Row {
        at,
        sees: [sees; 2],
        ..Row::certificate(&refusals::IDENTITY_NOT_ALLOWED, 0, |pki| Some(&pki.stranger))
    }
}

#[test]
fn identity_not_on_the_list_gets_403() {
    stranger(At::Strict, Sees::Status(403)).check();
}

#[test]
fn identity_not_on_the_list_is_closed_on_raw_tcp() {
    // curl speaks HTTP only; what it sees of an empty answer is the same.
    stranger(At::StrictTcp, Sees::Nothing).check();
}

#[test]
fn identity_not_on_the_list_gets_grpc_status_7() {
    let server = Server::start();
    // curl speaks h2; a gRPC client sends this content type and reads grpc-status in the headers.
    let output = testkit::program::Program::run(
        std::process::Command::new("curl").args([
            "-q",
            "-s",
            "-S",
            "-k",
            "-i",
            "--http2",
            "--max-time",
            "10",
            "-X",
            "POST",
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            "--data-binary",
            "x",
            "--cert",
            server.pki.stranger.chain.to_str().unwrap(),
            "--key",
            server.pki.stranger.key.to_str().unwrap(),
            "--resolve",
            &format!("app.test:{}:127.0.0.1", server.addr(At::Strict).port()),
            &format!("https://app.test:{}/grpc.Service/Method", server.addr(At::Strict).port()),
        ]),
        b"",
        std::time::Duration::from_secs(15),
    );
    let (head, all) = (output.out().to_ascii_lowercase(), output.all());
    assert!(head.starts_with("http/2 200"), "{all}");
    assert!(head.contains("grpc-status: 7"), "{all}");
    assert_eq!(server.upstream(), (0, 0));
}

#[test]
fn every_alert_of_the_handshake_holds_for_raw_tcp_too() {
    let server = Server::start();
    Row { at: At::StrictTcp, ..Row::certificate(&refusals::CLIENT_CERTIFICATE_MISSING, 116, |_| None) }
        .check_on(&server);
    Row { at: At::StrictTcp, ..Row::certificate(&refusals::UNKNOWN_ISSUER, 48, |pki| Some(&pki.other_ca)) }
        .check_on(&server);
}

/// The other side of the whole matrix: if the good client were refused too, the rows would prove nothing.
#[test]
fn the_good_client_is_let_in_everywhere() {
    let server = Server::start();
    for client in CLIENTS {
        for version in [Version::Tls12, Version::Tls13] {
            for at in [At::Strict, At::FailOpen, At::Hosts] {
                let attempt = Attempt::new(server.addr(at), version).credential(Some(&server.pki.good));
                let Some(seen) = client.connect(&attempt) else { continue };
                let log = || server.handfast.program.output();
                assert_eq!(
                    seen.status(),
                    Some(200),
                    "{client:?} {version:?} {at:?}: {}\n{}",
                    seen.text,
                    log()
                );
            }
        }
    }
    for version in [Version::Tls12, Version::Tls13] {
        let mut attempt =
            Attempt::new(server.addr(At::StrictTcp), version).credential(Some(&server.pki.good));
        attempt.send = "hello through raw tcp\n";
        attempt.enough = attempt.send.len();
        for client in [Client::OpenSsl, Client::GnuTls, Client::Go] {
            let Some(seen) = client.connect(&attempt) else { continue };
            assert!(seen.read.contains("hello through raw tcp"), "{client:?} {version:?}: {}", seen.text);
        }
    }
    let refused = server.handfast.metric("handfast_tls_handshake_failures_total", &[]);
    assert_eq!(refused, 0.0, "{}", server.handfast.metrics());
}

#[test]
fn a_path_with_its_own_authority_refuses_the_other_paths_clients() {
    let server = Server::start();
    let pki = &server.pki;
    // (path, certificate, status, code of the refusal)
    let cases = [
        ("/open", None, 200, None),
        ("/clients", None, 403, Some(&refusals::CLIENT_CERTIFICATE_MISSING)),
        ("/clients", Some(&pki.good), 200, None),
        ("/clients", Some(&pki.other_ca), 403, Some(&refusals::CHAIN_UNTRUSTED_FOR_PATH)),
        ("/clients", Some(&pki.revoked), 403, Some(&refusals::CERTIFICATE_REVOKED)),
        ("/clients", Some(&pki.expired), 403, Some(&refusals::CERTIFICATE_EXPIRED)),
        ("/others", Some(&pki.other_ca), 200, None),
        ("/others", Some(&pki.good), 403, Some(&refusals::CHAIN_UNTRUSTED_FOR_PATH)),
        // Normalisation must not lead around the policy.
        ("/open/../clients", None, 403, Some(&refusals::CLIENT_CERTIFICATE_MISSING)),
        ("//clients", None, 403, Some(&refusals::CLIENT_CERTIFICATE_MISSING)),
        ("/%63lients", None, 403, Some(&refusals::CLIENT_CERTIFICATE_MISSING)),
        ("/open/%2e%2e/clients", None, 403, Some(&refusals::CLIENT_CERTIFICATE_MISSING)),
    ];
    for (path, credential, status, code) in cases {
        for client in [Client::OpenSsl, Client::GnuTls, Client::Go] {
            let before = code.map_or(0, |code| server.lines(code.id).len());
            let reached = server.app.asked().len();
            let mut attempt = Attempt::new(server.addr(At::Paths), Version::Tls13).credential(credential);
            let request = format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n");
            attempt.send = &request;
            let Some(seen) = client.connect(&attempt) else { continue };
            let name = credential.map_or("none", |c| c.name);
            let context =
                || format!("{client:?} {path} {name}: {}\n{}", seen.text, server.handfast.program.output());
            assert_eq!(seen.status(), Some(status), "{}", context());
            assert_eq!(server.app.asked().len() - reached, usize::from(status == 200), "{}", context());
            if let Some(code) = code {
                assert_eq!(server.new_lines(code.id, before).len(), 1, "{} {}", code.id, context());
            }
        }
    }
}
