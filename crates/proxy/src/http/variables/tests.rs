use std::sync::Arc;

use model::codes::refusals;
use model::peer::{Peer, Verification};

use super::*;

fn peer(verification: Verification, chain: usize) -> Peer {
    Peer {
        verification,
        subject: "CN=a".into(),
        issuer: "CN=ca".into(),
        serial: String::new(),
        dns: vec![],
        uris: vec![],
        emails: vec![],
        sha256: String::new(),
        sha1: String::new(),
        not_before: 0,
        not_after: 0,
        chain: Arc::from(vec![vec![0; 60]; chain]),
    }
}

#[test]
fn ssl_client_verify_speaks_nginx_words() {
    assert_eq!(verify_text(None), "NONE");
    assert_eq!(verify_text(Some(&peer(Verification::Verified, 1))), "SUCCESS");
    for (code, words) in [
        (&refusals::CERTIFICATE_EXPIRED, "FAILED:certificate has expired"),
        (&refusals::CERTIFICATE_REVOKED, "FAILED:certificate revoked"),
        (&refusals::UNKNOWN_ISSUER, "FAILED:unable to verify the first certificate"),
    ] {
        assert_eq!(verify_text(Some(&peer(Verification::Failed(code), 1))), words);
    }
    let own = Peer { issuer: "CN=a".into(), ..peer(Verification::Unverified, 1) };
    assert_eq!(verify_text(Some(&own)), "FAILED:self-signed certificate");
}

#[test]
fn a_certificate_is_printed_in_lines_of_64() {
    let text = peer_pem(&peer(Verification::Verified, 1));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "-----BEGIN CERTIFICATE-----");
    assert_eq!(lines[1].len(), 64);
    assert_eq!(lines[2].len(), 16);
    assert_eq!(lines[3], "-----END CERTIFICATE-----");
    assert!(text.ends_with('\n'));
}

#[test]
fn every_name_of_the_manual_is_known_and_others_are_not() {
    for name in [
        "host",
        "uri",
        "request_uri",
        "args",
        "arg_x",
        "http_user_agent",
        "cookie_a",
        "remote_addr",
        "scheme",
        "status",
        "body_bytes_sent",
        "request_time",
        "upstream_addr",
        "upstream_status",
        "server_name",
        "server_port",
        "https",
        "request",
        "time_iso8601",
        "msec",
        "proxy_add_x_forwarded_for",
        "proxy_host",
        "ssl_client_verify",
        "ssl_client_s_dn",
        "ssl_client_i_dn",
        "ssl_client_serial",
        "ssl_client_fingerprint",
        "ssl_client_escaped_cert",
        "ssl_client_cert",
        "ssl_client_raw_cert",
        "ssl_client_v_start",
        "ssl_client_v_end",
        "ssl_client_v_remain",
        "ssl_protocol",
        "ssl_cipher",
        "ssl_ciphers",
        "ssl_curve",
        "ssl_curves",
        "ssl_server_name",
        "ssl_session_id",
        "ssl_session_reused",
        "ssl_alpn_protocol",
        "ssl_early_data",
        "1",
    ] {
        assert!(Variable::builtin(name).is_some(), "{name}");
    }
    for name in ["nonsense", "ssl_nonsense", "", "10"] {
        assert!(Variable::builtin(name).is_none(), "{name}");
    }
}

#[test]
fn arguments_are_found_by_name_in_any_case() {
    assert_eq!(argument("a=1&B=2&a=3", "a"), "1");
    assert_eq!(argument("a=1&B=2", "b"), "2");
    assert_eq!(argument("ab=1", "a"), "");
    assert_eq!(argument("", "a"), "");
}

#[test]
fn dates_are_written_as_the_standards_say() {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
    assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(clock::certificate_date(784_111_777), "Nov  6 08:49:37 1994 GMT");
}
