//! `handfast cert verify`: what is not good is not called so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as expected")]

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use testkit::{binary, handfast};

fn good(dir: &Path, arguments: &[&str]) -> String {
    handfast::good(binary!(), dir, arguments)
}

fn refused(dir: &Path, arguments: &[&str], exit: i32, code: &str) {
    handfast::refused(binary!(), dir, arguments, exit, &[code]);
}

/// Sends this chain and signs with this key, whether they belong together or not.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// A server with the chain of one certificate and the key of another; it lives as long as the test.
fn server(dir: &Path, chain: &str, key: &str) -> u16 {
    let file = |name: &str, ending: &str| dir.join(format!(".handfast/certs/{name}.{ending}"));
    let chain = CertificateDer::pem_file_iter(file(chain, "crt")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(file(key, "key")).unwrap();
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(Arc::new(CertifiedKey::new(chain, signer)))));
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
            while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
            let _ = tls.complete_io(&mut stream);
        }
    });
    port
}

#[test]
fn an_own_certificate_that_was_revoked_is_not_good() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    good(dir, &["cert", "issue", "web.test"]);
    let file = ".handfast/certs/web.test.crt";
    let said = good(dir, &["cert", "verify", file, "-o", "json"]);
    assert!(said.contains("\"revocation_checked\": true"), "{said}");
    good(dir, &["cert", "revoke", "web.test"]);
    refused(dir, &["cert", "verify", file], 3, "revoked");
    // Other authorities are named by the person, and so are their lists.
    good(dir, &["cert", "verify", file, "--ca", ".handfast/ca.crt"]);
    refused(
        dir,
        &["cert", "verify", file, "--ca", ".handfast/ca.crt", "--crl", ".handfast/crl.pem"],
        3,
        "revoked",
    );
}

#[test]
fn a_servers_name_and_its_signature_in_the_handshake_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    good(dir, &["cert", "issue", "here", "--dns", "localhost", "--ip", "127.0.0.1"]);
    good(dir, &["cert", "issue", "elsewhere.test"]);
    let own = server(dir, "here", "here");
    good(dir, &["cert", "verify", &format!("localhost:{own}")]);
    good(dir, &["cert", "verify", &format!("127.0.0.1:{own}")]);
    let other = server(dir, "elsewhere.test", "elsewhere.test");
    refused(dir, &["cert", "verify", &format!("localhost:{other}")], 3, "HF30");
    good(dir, &["cert", "verify", &format!("localhost:{other}"), "--name", "elsewhere.test"]);
    // A copy of somebody else's chain, without its key.
    let thief = server(dir, "here", "elsewhere.test");
    refused(dir, &["cert", "verify", &format!("localhost:{thief}")], 3, "signature");
    good(dir, &["cert", "inspect", &format!("localhost:{thief}")]);
}
