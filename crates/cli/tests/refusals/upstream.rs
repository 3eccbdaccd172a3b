//! Rows where we are the client: a server whose certificate is not what it should be gets nothing from us.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use testkit::clients::{Attempt, Client, Version};
use testkit::free_port;
use testkit::handfast::Handfast;
use testkit::http_upstream::HttpUpstream;
use testkit::pki::{Credential, Pki};

fn tls_app(credential: &Credential) -> HttpUpstream {
    let chain = CertificateDer::pem_file_iter(&credential.chain).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&credential.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    HttpUpstream::tls(config)
}

fn front(app: &HttpUpstream, pki: &Pki, tls: &str) -> (Handfast, u16) {
    let (port, dir) = (free_port(), pki.dir().display());
    let yaml = format!(
        "version: 1
admin: ADMIN
listeners:
- name: front
  bind: ['127.0.0.1:{port}']
  tls: {{certificates: [{{chain: {dir}/server.crt, key: {dir}/server.key}}]}}
  hosts: [{{names: [app.test], routes: [{{proxy: {{service: app}}}}]}}]
services:
  app: {{endpoints: [{{address: '{}'}}], tls: {{{tls}}}}}
",
        app.addr()
    );
    (Handfast::serve(testkit::binary!(), &yaml), port)
}

fn status(port: u16) -> (Option<u16>, String) {
    let attempt = Attempt::new(([127, 0, 0, 1], port).into(), Version::Tls13);
    let seen = Client::OpenSsl.connect(&attempt).unwrap();
    (seen.status(), seen.text)
}

#[test]
fn a_server_whose_name_does_not_match_gets_no_request_and_the_log_lists_its_names() {
    let pki = Pki::new();
    let app = tls_app(&pki.server);
    let ca = pki.file("site.pem");
    let (handfast, port) = front(&app, &pki, &format!("ca: [{}], name: wrong.test", ca.display()));
    let (answer, text) = status(port);
    assert_eq!(answer, Some(502), "{text}\n{}", handfast.program.output());
    assert!(app.asked().is_empty(), "a request reached a server that is not who it should be");
    let log = handfast.program.output();
    let line = handfast.log().into_iter().find(|line| {
        line["code"] == model::codes::refusals::SERVER_NAME_MISMATCH.id
            || line["code"] == model::codes::serving::UPSTREAM_TLS.id
    });
    let line = line.unwrap_or_else(|| panic!("no line:\n{log}")).to_string();
    assert!(
        line.contains("wrong.test") && line.contains("app.test") && line.contains("other.test"),
        "{line}"
    );
    // With the right name the same upstream answers.
    let (handfast, port) = front(&app, &pki, &format!("ca: [{}], name: app.test", ca.display()));
    assert_eq!(status(port).0, Some(200), "{}", handfast.program.output());
}

#[test]
fn a_server_of_another_authority_gets_no_request() {
    let pki = Pki::new();
    let app = tls_app(&pki.server);
    let ca = pki.file("other.pem");
    let (handfast, port) = front(&app, &pki, &format!("ca: [{}], name: app.test", ca.display()));
    let (answer, text) = status(port);
    assert_eq!(answer, Some(502), "{text}\n{}", handfast.program.output());
    assert!(app.asked().is_empty());
}
