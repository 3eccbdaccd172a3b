//! What an application is told of the client comes from the handshake, never from the client's headers
//! (invariant 7).

use model::peer::{Peer, Verification};
use serde_json::json;
use testkit::http_upstream::HttpUpstream;

use super::{FakeTls, Served, snapshot};

fn peer() -> Peer {
    Peer {
        verification: Verification::Verified,
        subject: "CN=bob".into(),
        issuer: "CN=ca".into(),
        serial: "01".into(),
        dns: vec!["bob.example".into()],
        uris: vec!["spiffe://cluster.local/ns/local/sa/bob".into()],
        emails: vec![],
        sha256: "ab".repeat(32),
        sha1: "cd".repeat(20),
        not_before: 0,
        not_after: 4_000_000_000,
        chain: vec![vec![1, 2, 3]].into(),
    }
}

const FORGED: &[(&str, &str)] = &[
    ("X-Forwarded-Client-Cert", "URI=spiffe://evil"),
    ("x_forwarded_client_cert", "URI=spiffe://evil"),
    ("X-Forwarded_Client-Cert", "URI=spiffe://evil"),
    ("Client-Cert", ":ZXZpbA==:"),
    ("client_cert", ":ZXZpbA==:"),
    ("CLIENT-CERT-CHAIN", ":ZXZpbA==:"),
    ("X-SSL-Client-Verify", "SUCCESS"),
    ("X_SSL_Client_Verify", "SUCCESS"),
    ("x-ssl-client-s-dn", "CN=evil"),
    ("X-SSL-Client-Cert", "evil"),
    ("X-Peer", "evil"),
    ("X_Peer", "evil"),
];

#[test]
fn forged_identity_headers_never_reach_the_application() {
    let app = HttpUpstream::start();
    for identity in ["off", "xfcc", "rfc9440", "nginx"] {
        for with in [None, Some(peer())] {
            let routes = json!([{"path": "/", "proxy": {"service": "app", "identity": identity,
                "headers": [{"name": "X-Peer", "value": "$ssl_client_s_dn"}]}}]);
            let served =
                Served::tls(snapshot(routes, &[app.addr()]), FakeTls { peer: with, ..FakeTls::default() });
            let seen = served.ask("GET", "/", FORGED, "").seen();
            for (name, value) in &seen.headers {
                assert!(!value.contains("evil") && !value.contains("ZXZpbA"), "{identity} {name}: {value}");
                assert!(!name.contains("_client"), "{identity} {name}: {value}");
            }
            assert!(seen.header("x-ssl-client-verify").len() <= 1);
        }
    }
}

#[test]
fn named_by_connection_they_do_not_remove_ours() {
    let app = HttpUpstream::start();
    let routes = json!([{"path": "/", "proxy": {"service": "app", "identity": "xfcc"}}]);
    let served =
        Served::tls(snapshot(routes, &[app.addr()]), FakeTls { peer: Some(peer()), ..FakeTls::default() });
    let headers = [
        ("Connection", "close, x-forwarded-client-cert, x-forwarded-for"),
        ("X-Forwarded-Client-Cert", "evil"),
    ];
    let seen = served.ask("GET", "/", &headers, "").seen();
    assert!(
        seen.header("x-forwarded-client-cert")[0].contains("URI=spiffe://cluster.local/ns/local/sa/bob"),
        "{seen:?}"
    );
    assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn variables_tell_the_client_as_nginx_does() {
    let body = "$ssl_client_verify|$ssl_client_s_dn|$ssl_client_i_dn|$ssl_client_serial|$ssl_client_fingerprint|$ssl_protocol|$ssl_cipher|$ssl_server_name|$https|$scheme|$ssl_session_reused|$ssl_client_v_end";
    let routes = json!([{"path": "/", "respond": {"status": 200, "body": body}}]);
    let served =
        Served::tls(snapshot(routes.clone(), &[]), FakeTls { peer: Some(peer()), ..FakeTls::default() });
    assert_eq!(
        served.get("/").text(),
        format!(
            "SUCCESS|CN=bob|CN=ca|01|{}|TLSv1.3|TLS_AES_128_GCM_SHA256|localhost|on|https|.|Oct  2 07:06:40 2096 GMT",
            "cd".repeat(20)
        )
    );
    let served = Served::tls(snapshot(routes.clone(), &[]), FakeTls::default());
    assert!(served.get("/").text().starts_with("NONE|||||TLSv1.3|"));
    let served = Served::plain(snapshot(routes, &[]));
    assert_eq!(served.get("/").text(), "|||||||||http||");
}

#[test]
fn the_access_log_names_the_client() {
    let routes = json!([{"path": "/", "respond": {"status": 200, "body": "x"}}]);
    let served = Served::tls(snapshot(routes, &[]), FakeTls { peer: Some(peer()), ..FakeTls::default() });
    served.get("/");
    let line = &served.log(1)[0];
    assert!(line.contains("\"identity\":\"spiffe://cluster.local/ns/local/sa/bob\""), "{line}");
    assert!(!line.contains("BEGIN CERT"), "{line}");
}
