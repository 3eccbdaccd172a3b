use std::sync::Arc;

use model::peer::Verification;

use super::*;

fn peer() -> Peer {
    Peer {
        verification: Verification::Verified,
        subject: "CN=bob \"x\",O=a\\,b é".into(),
        issuer: "CN=ca".into(),
        serial: "0A".into(),
        dns: vec!["bob.example".into(), "b;ob".into()],
        uris: vec!["spiffe://cluster.local/ns/a/sa/bob".into()],
        emails: vec![],
        sha256: "ab".repeat(32),
        sha1: "cd".repeat(20),
        not_before: 0,
        not_after: 0,
        chain: Arc::from(vec![vec![1, 2, 3], vec![4, 5]]),
    }
}

#[test]
fn every_spelling_of_an_identity_header_is_known() {
    for name in [
        "x-forwarded-client-cert",
        "x_forwarded_client_cert",
        "x-forwarded_client-cert",
        "client-cert",
        "client_cert",
        "client-cert-chain",
        "client_cert_chain",
        "x-ssl-client-verify",
        "x_ssl_client_verify",
        "x-ssl_client-s-dn",
        "x-ssl-client-anything",
    ] {
        assert!(speaks_of_identity(&HeaderName::try_from(name).unwrap()), "{name}");
    }
    for name in ["x-forwarded-for", "x-client", "client-certificate", "cookie"] {
        assert!(!speaks_of_identity(&HeaderName::try_from(name).unwrap()), "{name}");
    }
}

#[test]
fn an_xfcc_element_is_written_as_envoy_writes_it() {
    let text = xfcc(&peer());
    assert!(
        text.starts_with(&format!("Hash={};Cert=\"-----BEGIN%20CERTIFICATE-----%0AAQID%0A", "ab".repeat(32))),
        "{text}"
    );
    assert!(text.contains(";Chain=\"-----BEGIN%20CERTIFICATE-----%0AAQID"), "the chain has the leaf: {text}");
    assert!(text.contains("Subject=\"CN=bob \\\"x\\\",O=a\\\\,b \\\\C3\\\\A9\""), "{text}");
    assert!(text.contains(";URI=spiffe://cluster.local/ns/a/sa/bob;DNS=bob.example;DNS=\"b;ob\""), "{text}");
}

#[test]
fn rfc_9440_has_the_leaf_and_the_rest_apart() {
    let mut headers = HeaderMap::new();
    add(&mut headers, Identity::Rfc9440, Some(&Arc::new(peer())));
    assert_eq!(headers["client-cert"], ":AQID:");
    assert_eq!(headers["client-cert-chain"], ":BAU=:");
}

#[test]
fn an_identity_that_was_not_verified_is_not_told() {
    for verification in
        [Verification::Unverified, Verification::Failed(&model::codes::refusals::UNKNOWN_ISSUER)]
    {
        let peer = Arc::new(Peer { verification, ..peer() });
        for form in [Identity::Xfcc, Identity::Rfc9440] {
            let mut headers = HeaderMap::new();
            add(&mut headers, form, Some(&peer));
            assert!(headers.is_empty(), "{form:?}");
        }
        let mut headers = HeaderMap::new();
        add(&mut headers, Identity::Nginx, Some(&peer));
        assert!(headers["x-ssl-client-verify"].to_str().unwrap().starts_with("FAILED:"), "{headers:?}");
    }
}

#[test]
fn nginx_headers_say_none_without_a_certificate() {
    let mut headers = HeaderMap::new();
    add(&mut headers, Identity::Nginx, None);
    assert_eq!(headers["x-ssl-client-verify"], "NONE");
    add(&mut headers, Identity::Nginx, Some(&Arc::new(peer())));
    assert_eq!(headers["x-ssl-client-verify"], "SUCCESS");
    assert_eq!(headers["x-ssl-client-fingerprint"], "cd".repeat(20));
}

#[test]
fn remembered_headers_belong_to_their_peer() {
    for n in 0..600 {
        let one = Arc::new(Peer { sha256: format!("{n}"), ..peer() });
        let mut headers = HeaderMap::new();
        add(&mut headers, Identity::Xfcc, Some(&one));
        let value = headers["x-forwarded-client-cert"].to_str().unwrap().to_owned();
        assert!(value.starts_with(&format!("Hash={n};")), "{value}");
    }
}
