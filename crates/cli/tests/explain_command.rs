//! `handfast explain` as a command: codes, pasted texts, live servers with one fault each, and the advice for it.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testkit::pki::Pki;
use testkit::program::{Finished, Program};
use testkit::{find_program, free_port, skipped};

fn explain(dir: &Path, input: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new(testkit::binary!());
    command.arg("explain").args(arguments).current_dir(dir).env("NO_COLOR", "1");
    Program::run(&mut command, input.as_bytes(), Duration::from_secs(30))
}

#[test]
fn codes_and_texts_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (arguments, word) in [
        (vec!["HF3001"], "The client sent no certificate"),
        (vec!["hf5001"], "clients.mode: required"),
        (vec!["tlsv13 alert certificate required"], "requires a client certificate"),
        // gnutls-cli's lines begin with a hyphen; options still work on both sides of it.
        (
            vec!["- Status: The certificate is NOT trusted. The certificate issuer is unknown."],
            "not trusted here",
        ),
        (vec!["- Status: x. The certificate issuer is unknown.", "--tls12"], "not trusted here"),
        (vec!["-", "Status:", "the", "certificate", "issuer", "is", "unknown"], "not trusted here"),
        (vec!["--", "- Status: The certificate issuer is unknown"], "not trusted here"),
        (vec!["*** Fatal error: An unexpected TLS packet was received."], "does not speak TLS"),
        (vec!["javax.net.ssl.SSLHandshakeException"], "the name of the exception alone"),
        (vec!["java.security.cert.CertificateExpiredException"], "has expired"),
        (vec!["sslv3 alert certificate expired"], "says that our certificate has expired"),
        (vec!["sslv3 alert certificate revoked"], "says that our certificate has been revoked"),
        (vec!["{\"code\":\"HF3009\",\"message\":\"refused\"}"], "has been revoked"),
    ] {
        let done = explain(dir, "", &arguments);
        assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.all());
        assert!(done.out().contains(word), "{arguments:?}: {}", done.all());
    }
    let piped = explain(dir, "curl: (60) SSL certificate problem: certificate has expired\n", &["-"]);
    assert!(piped.code == Some(0) && piped.out().contains("has expired"), "{}", piped.all());
    let unknown = explain(dir, "", &["the moon is full"]);
    assert!(unknown.code == Some(1) && unknown.err().contains("HF5105"), "{}", unknown.all());
    for wrong in [vec![], vec!["  "], vec!["HF0000"], vec!["x", "--nonsense"]] {
        let done = explain(dir, "", &wrong);
        assert_eq!(done.code, Some(2), "{wrong:?}: {}", done.all());
    }
}

#[test]
fn every_kind_of_answer_has_json_and_yaml() {
    let dir = tempfile::tempdir().unwrap();
    let at = format!("127.0.0.1:{}", free_port());
    for (what, key) in
        [("HF3001", "id"), ("certificate has expired", "id"), ("alert number 22", "number"), (&at, "target")]
    {
        let json = explain(dir.path(), "", &[what, "-o", "json"]);
        let document: Value =
            serde_json::from_slice(&json.stdout).unwrap_or_else(|_| panic!("{}", json.all()));
        assert_eq!(document["version"], 1, "{document}");
        assert!(!document[key].is_null(), "{document}");
        let yaml = explain(dir.path(), "", &[what, "-o", "yaml"]).out();
        assert!(yaml.contains("version: 1\n") && !yaml.starts_with('{'), "{yaml}");
    }
}

/// Explains `openssl s_server` with these arguments; the text, after the exit code was checked.
fn server(pki: &Pki, arguments: &[&str], options: &[&str], code: i32) -> Option<String> {
    let openssl = find_program("openssl")?;
    let port = free_port();
    let mut command = Command::new(openssl);
    command.args(["s_server", "-www", "-accept", &port.to_string()]).args(arguments).current_dir(pki.dir());
    let mut server = Program::start(&mut command);
    server.wait_for("ACCEPT", Duration::from_secs(10), |p| p.stdout().contains("ACCEPT"));
    let at = format!("localhost:{port}");
    let done = explain(pki.dir(), "", &[&[at.as_str()], options].concat());
    assert_eq!(done.code, Some(code), "{arguments:?}: {}", done.all());
    let text = done.out();
    let own = text.split("the first thing").nth(1).unwrap_or_default();
    assert!(!own.contains("handfast explain"), "the advice is the command that was just run: {text}");
    Some(text)
}

const PAIR: [&str; 4] = ["-cert", "server.crt", "-key", "server.key"];

#[test]
fn a_live_server_is_explained_with_advice_for_its_own_fault() {
    let pki = Pki::new();
    // A server below an intermediate: with and without sending it.
    let site = pki.site.intermediate("Test site issuing", |_| {});
    let leaf = site.leaf("below", |params| {
        params.extended_key_usages.clear();
        params.subject_alt_names = vec![testkit::pki::SanType::DnsName("localhost".try_into().unwrap())];
    });
    leaf.write(pki.dir(), "below");
    let Some(good) = server(&pki, &PAIR, &["--ca", "site.pem"], 0) else {
        return skipped("openssl is not installed");
    };
    assert!(good.contains("nothing is wrong"), "{good}");
    let explained = |arguments: &[&str], options: &[&str], words: &[&str], never: &[&str]| {
        let text = server(&pki, arguments, options, 3).unwrap();
        for word in words {
            assert!(text.contains(word), "{word} is missing: {text}");
        }
        for word in never {
            assert!(!text.contains(word), "{word} is wrong: {text}");
        }
    };
    let ca = ["--ca", "site.pem"];
    explained(
        &["-cert", "below.crt", "-key", "below.key"],
        &ca,
        &[
            "sends its own certificate alone",
            "Test site issuing",
            "cat leaf.crt intermediate.crt > chain.crt",
        ],
        &["is signed by itself"],
    );
    explained(
        &["-cert", "good.crt", "-key", "good.key", "-cert_chain", "issuing.pem"],
        &["--ca", "clients.pem"],
        &["not meant for servers", "handfast cert issue --server localhost"],
        &["issue one for clients"],
    );
    explained(
        &[&PAIR[..], &["-no_tls1_2", "-no_tls1_3", "-cipher", "DEFAULT@SECLEVEL=0"]].concat(),
        &ca,
        &["bring the server to TLS 1.2"],
        &["bring the client"],
    );
    explained(
        &[&PAIR[..], &["-tls1_2"]].concat(),
        &["--ca", "site.pem", "--tls13"],
        &["only TLS 1.3 was offered", "without --tls13"],
        &["TLS 1.0 or 1.1"],
    );
    explained(
        &[&PAIR[..], &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]].concat(),
        &ca,
        &["accepts none of the ciphers", "leave ssl_ciphers"],
        &[],
    );
    explained(
        &[&PAIR[..], &["-groups", "secp521r1"]].concat(),
        &ca,
        &["accepts none of the ciphers, groups", "ssl_ecdh_curve"],
        &[],
    );
    let verify = ["-Verify", "3", "-verify_return_error", "-CAfile", "clients.pem"];
    let mutual = [&PAIR[..], &verify].concat();
    explained(&mutual, &ca, &["HF3001", "certificate_required (116)", "handfast cert issue --client"], &[]);
    for (name, words) in [
        ("expired", ["the server speaks of our certificate", "handfast cert renew"]),
        ("wrong_usage", ["the server speaks of our certificate", "issue one for clients"]),
        ("other_ca", ["an authority that the server does not trust", "cat leaf.crt intermediate.crt"]),
    ] {
        let (cert, key) = (format!("{name}.crt"), format!("{name}.key"));
        explained(&mutual, &["--ca", "site.pem", "--cert", &cert, "--key", &key], &words, &[]);
    }
}
