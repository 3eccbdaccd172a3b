//! The clients of the test ladder, tried on a server whose behaviour is known: Debian's nginx. If one of these
//! fails, what the refusals matrix says about Handfast means nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use handfast_testkit as testkit;

use testkit::clients::{Attempt, CLIENTS, Client, Narrow, Version};
use testkit::http_upstream::HttpUpstream;
use testkit::nginx::Nginx;
use testkit::pki::Pki;
use testkit::{free_port, skipped};

fn mutual(pki: &Pki, upstream: &HttpUpstream, port: u16, more: &str) -> Option<Nginx> {
    let dir = pki.dir().display();
    Nginx::http(
        &format!(
            "server {{ listen 127.0.0.1:{port} ssl; server_name app.test;\n\
             ssl_certificate {dir}/server.crt; ssl_certificate_key {dir}/server.key;\n\
             ssl_client_certificate {dir}/clients.pem; ssl_verify_depth 4; {more}\n\
             location / {{ proxy_pass http://{}; proxy_http_version 1.1; }} }}",
            upstream.addr()
        ),
        port,
    )
}

#[test]
fn every_client_is_accepted_with_a_good_certificate_and_reads_the_answer() {
    let (pki, upstream, port) = (Pki::new(), HttpUpstream::start(), free_port());
    let Some(nginx) = mutual(&pki, &upstream, port, "ssl_verify_client on; ssl_protocols TLSv1.2 TLSv1.3;")
    else {
        return skipped("nginx is not installed");
    };
    for client in CLIENTS {
        for version in [Version::Tls12, Version::Tls13] {
            let attempt = Attempt::new(([127, 0, 0, 1], port).into(), version).credential(Some(&pki.good));
            let Some(seen) = client.connect(&attempt) else {
                skipped(&format!("{client:?} is not installed"));
                continue;
            };
            assert_eq!(seen.status(), Some(200), "{client:?} {version:?}: {}\n{}", seen.text, nginx.log());
            assert_eq!(seen.alert, None, "{client:?} {version:?}: {}", seen.text);
        }
    }
}

#[test]
fn every_client_sends_a_bad_certificate_if_it_can_load_it_and_sees_the_refusal() {
    let (pki, upstream, port) = (Pki::new(), HttpUpstream::start(), free_port());
    let Some(nginx) = mutual(&pki, &upstream, port, "ssl_verify_client on; ssl_protocols TLSv1.2 TLSv1.3;")
    else {
        return skipped("nginx is not installed");
    };
    let bad = [&pki.self_signed, &pki.other_ca, &pki.expired, &pki.wrong_usage, &pki.rsa_1024];
    for credential in bad {
        for client in CLIENTS {
            let attempt =
                Attempt::new(([127, 0, 0, 1], port).into(), Version::Tls13).credential(Some(credential));
            let Some(seen) = client.connect(&attempt) else { continue };
            // nginx finishes the handshake and says it in HTTP.
            let name = credential.name;
            assert_eq!(seen.status(), Some(400), "{client:?} {name}: {}\n{}", seen.text, nginx.log());
            assert!(seen.read.contains("The SSL certificate error"), "{client:?} {name}: {}", seen.read);
        }
    }
    assert_eq!(upstream.counters().bytes(), 0);
}

#[test]
fn every_client_names_the_alert_that_it_got() {
    let (pki, upstream, port) = (Pki::new(), HttpUpstream::start(), free_port());
    let Some(nginx) = mutual(&pki, &upstream, port, "ssl_protocols TLSv1.2;") else {
        return skipped("nginx is not installed");
    };
    for client in CLIENTS {
        let mut attempt = Attempt::new(([127, 0, 0, 1], port).into(), Version::Tls13);
        let Some(seen) = client.connect(&attempt) else { continue };
        assert_eq!(seen.alert, Some(70), "{client:?}: {}\n{}", seen.text, nginx.log());
        attempt.version = Version::Tls12;
        attempt.narrow = Narrow::NothingInCommon;
        // nginx's default list still has CBC suites with RSA key exchange, which an ECDSA certificate rules out.
        let Some(seen) = client.connect(&attempt) else { continue };
        assert_eq!(seen.alert, Some(40), "{client:?}: {}\n{}", seen.text, nginx.log());
    }
}

#[test]
fn only_go_sends_what_is_no_certificate() {
    let (pki, upstream, port) = (Pki::new(), HttpUpstream::start(), free_port());
    let Some(nginx) = mutual(&pki, &upstream, port, "ssl_verify_client on; ssl_protocols TLSv1.2 TLSv1.3;")
    else {
        return skipped("nginx is not installed");
    };
    let attempt =
        Attempt::new(([127, 0, 0, 1], port).into(), Version::Tls13).credential(Some(&pki.malformed));
    for client in CLIENTS {
        let Some(seen) = client.connect(&attempt) else { continue };
        if client == Client::Go {
            assert!(seen.alert.is_some(), "{}\n{}", seen.text, nginx.log());
        } else {
            assert!(seen.unable.is_some(), "{client:?}: {}", seen.text);
        }
    }
}
