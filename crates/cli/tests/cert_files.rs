//! `handfast cert inspect|verify|lint|export` on files and servers that the real OpenSSL made.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

fn handfast(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_handfast")).args(args).current_dir(dir).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(dir).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text
}

/// An authority with a server's certificate named `web`.
fn authority() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    assert!(handfast(dir.path(), &["ca", "init"]).status.success());
    let issued =
        handfast(dir.path(), &["cert", "issue", "web", "--dns", "web.example", "--dns", "localhost"]);
    assert!(issued.status.success(), "{}", String::from_utf8_lossy(&issued.stderr));
    std::fs::write(dir.path().join("pw"), "changeit\n").unwrap();
    dir
}

/// `openssl s_server`, killed when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(dir: &Path, more: &[&str]) -> Self {
        let port = testkit::free_port();
        let child = Command::new("openssl")
            .args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-quiet", "-www"])
            .args(more)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "openssl s_server does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_was_issued_is_exported_in_every_format_and_read_back_by_openssl_and_keytool() {
    let dir = authority();
    for format in ["pem", "der", "p12", "jks", "combined"] {
        let out = format!("out.{format}");
        let args = ["cert", "export", "web", "--format", format, "--out", &out, "--password-file", "pw"];
        let dry = handfast(dir.path(), &[&args[..], &["--dry-run"]].concat());
        assert!(dry.status.success() && !dir.path().join(&out).exists());
        let done = handfast(dir.path(), &args);
        assert!(done.status.success(), "{format}: {}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(handfast(dir.path(), &args).status.code(), Some(2), "a file is not overwritten unasked");
        let seen = handfast(dir.path(), &["cert", "inspect", &out, "--password-file", "pw", "-o", "json"]);
        let seen = json(&seen);
        assert_eq!(seen["version"], 1);
        assert_eq!(seen["certificates"][0]["names"][0], "DNS:web.example");
        let with_key = matches!(format, "p12" | "jks" | "combined");
        assert_eq!(seen["private_keys"].as_array().unwrap().len(), usize::from(with_key));
        if with_key {
            assert_eq!(seen["private_keys"][0]["certificate"], 1);
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(dir.path().join(&out)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{format}");
        }
    }
    let text =
        run(dir.path(), "openssl", &["pkcs12", "-in", "out.p12", "-passin", "pass:changeit", "-nodes"]);
    assert!(text.contains("BEGIN PRIVATE KEY") && text.matches("BEGIN CERTIFICATE").count() == 2, "{text}");
    for (store, kind) in [("out.p12", "PKCS12"), ("out.jks", "JKS")] {
        let args = ["-list", "-keystore", store, "-storetype", kind, "-storepass", "changeit"];
        assert!(run(dir.path(), "keytool", &args).contains("PrivateKeyEntry"));
    }
    // A store of trusted authorities, from the bundle.
    let args =
        ["cert", "export", ".handfast/ca.crt", "--truststore", "--format", "p12", "--out", "trust.p12"];
    assert!(handfast(dir.path(), &[&args[..], &["--password-file", "pw"]].concat()).status.success());
    let args = ["-list", "-keystore", "trust.p12", "-storetype", "PKCS12", "-storepass", "changeit"];
    assert!(run(dir.path(), "keytool", &args).contains("trustedCertEntry"));
    // Another's key is refused, as is a wrong password; no key and no password is ever shown.
    run(dir.path(), "openssl", &["genpkey", "-algorithm", "ED25519", "-out", "other.key"]);
    let args = ["cert", "export", "web", "--format", "combined", "--out", "x", "--key", "other.key"];
    let refused = handfast(dir.path(), &args);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("HF1122"));
    std::fs::write(dir.path().join("wrong"), "hunter2\n").unwrap();
    let refused = handfast(dir.path(), &["cert", "inspect", "out.p12", "--password-file", "wrong"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(2) && words.contains("HF1107") && !words.contains("hunter2"),
        "{words}"
    );
}

#[test]
fn verify_says_good_or_the_code_of_the_reason() {
    let dir = authority();
    let chain = ".handfast/certs/web.crt";
    let good = handfast(dir.path(), &["cert", "verify", chain, "--name", "web.example", "-o", "json"]);
    assert_eq!((good.status.code(), json(&good)["good"].as_bool()), (Some(0), Some(true)));
    let cases: [(&[&str], &str); 3] = [
        (&["--name", "other.example"], "HF3008"),
        (&["--purpose", "client"], "HF3006"),
        (&["--at", "2099-01-01T00:00:00Z"], "HF3004"),
    ];
    for (more, code) in cases {
        let args = [&["cert", "verify", chain, "-o", "json"], more].concat();
        let refused = handfast(dir.path(), &args);
        assert_eq!(refused.status.code(), Some(3), "{more:?}");
        assert_eq!(json(&refused)["code"], code, "{more:?}");
    }
    // The revocation list that the authority publishes counts.
    for step in [&["cert", "revoke", "web", "--reason", "keyCompromise"][..], &["ca", "crl"]] {
        let done = handfast(dir.path(), step);
        assert!(done.status.success(), "{step:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let args = ["cert", "verify", chain, "--crl", ".handfast/crl.pem", "-o", "json"];
    let refused = handfast(dir.path(), &args);
    assert_eq!((refused.status.code(), json(&refused)["code"].as_str()), (Some(3), Some("HF3009")));
    for bad in [&["cert", "verify", chain, "--at", "tomorrow"][..], &["cert", "verify", "nothing.crt"]] {
        assert_eq!(handfast(dir.path(), bad).status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn lint_finds_what_a_newcomer_does_wrong() {
    let dir = authority();
    let args = ["cert", "lint", ".handfast/certs/web.crt", "--key", ".handfast/certs/web.key"];
    let clean = handfast(dir.path(), &args);
    assert_eq!(clean.status.code(), Some(0), "{}", String::from_utf8_lossy(&clean.stdout));
    run(
        dir.path(),
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:1024",
            "-nodes",
            "-sha1",
            "-days",
            "3650",
            "-subj",
            "/CN=old.example",
            "-keyout",
            "old.key",
            "-out",
            "old.crt",
        ],
    );
    let found =
        handfast(dir.path(), &["cert", "lint", "old.crt", "--key", ".handfast/certs/web.key", "-o", "json"]);
    assert_eq!(found.status.code(), Some(3));
    let found = json(&found);
    let codes: Vec<_> =
        found["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    for code in ["HF1120", "HF1122", "HF1123", "HF1124", "HF1137"] {
        assert!(codes.contains(&code), "{code} is missing: {codes:?}");
    }
}

#[test]
fn a_server_is_inspected_whatever_is_wrong_with_it() {
    let dir = authority();
    let cert = [
        "-cert",
        ".handfast/certs/web.crt",
        "-cert_chain",
        ".handfast/certs/web.crt",
        "-key",
        ".handfast/certs/web.key",
    ];
    // It insists on a client certificate that we do not have: the chain is shown all the same.
    for version in ["-tls1_2", "-tls1_3"] {
        let strict = Server::start(dir.path(), &[&cert[..], &["-Verify", "1", version]].concat());
        let at = format!("127.0.0.1:{}", strict.port);
        let seen = handfast(dir.path(), &["cert", "inspect", &at, "-o", "json"]);
        assert_eq!(json(&seen)["certificates"][0]["names"][0], "DNS:web.example", "{version}");
        let table = handfast(dir.path(), &["cert", "inspect", &at]);
        assert!(String::from_utf8_lossy(&table.stdout).contains("DNS:web.example"));
    }
    // Expired, self-signed, for another name.
    run(
        dir.path(),
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=stranger",
            "-keyout",
            "s.key",
            "-out",
            "s.crt",
        ],
    );
    let stranger = Server::start(dir.path(), &["-cert", "s.crt", "-key", "s.key"]);
    let at = format!("localhost:{}", stranger.port);
    let seen = json(&handfast(dir.path(), &["cert", "inspect", &at, "-o", "json"]));
    assert_eq!(seen["certificates"][0]["subject"], "CN=stranger");
    assert_eq!(seen["tls_version"], "TLSv1.3");
    let refused = handfast(dir.path(), &["cert", "verify", &at, "-o", "json"]);
    assert_eq!((refused.status.code(), json(&refused)["code"].as_str()), (Some(3), Some("HF3002")));
    // Nobody there, and somebody who does not speak TLS.
    let closed = handfast(dir.path(), &["cert", "inspect", "127.0.0.1:1"]);
    assert!(closed.status.code() == Some(1) && String::from_utf8_lossy(&closed.stderr).contains("HF1111"));
}

/// A server that speaks the clear part of a protocol, then passes bytes on to a TLS server.
fn clear_then_tls(tls: u16, dialogue: &'static [(&'static [u8], &'static [u8])]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::with_capacity(1, stream.try_clone().unwrap());
        let mut writer = stream.try_clone().unwrap();
        for (expected, answer) in dialogue {
            let mut got = vec![0; expected.len()];
            reader.read_exact(&mut got).unwrap();
            assert_eq!(&got, expected);
            writer.write_all(answer).unwrap();
        }
        assert!(reader.buffer().is_empty());
        let mut up = TcpStream::connect(("127.0.0.1", tls)).unwrap();
        let (mut from, mut to) = (stream.try_clone().unwrap(), up.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let _ = std::io::copy(&mut up, &mut writer);
    });
    port
}

#[test]
fn starttls_is_spoken_as_each_protocol_wants_it() {
    let dir = authority();
    let tls =
        Server::start(dir.path(), &["-cert", ".handfast/certs/web.crt", "-key", ".handfast/certs/web.key"]);
    /// What is awaited from the client, and what the server says then.
    type Exchange<'a> = &'a [(&'a [u8], &'a [u8])];
    let protocols: [(&str, Exchange<'_>); 6] = [
        (
            "smtp",
            &[
                (b"", b"220-hello\r\n220 mail\r\n"),
                (b"EHLO handfast.invalid\r\n", b"250-mail\r\n250-SIZE 1\r\n250 STARTTLS\r\n"),
                (b"STARTTLS\r\n", b"220 go\r\n"),
            ],
        ),
        ("imap", &[(b"", b"* OK ready\r\n"), (b"a STARTTLS\r\n", b"* CAPABILITY x\r\na OK go\r\n")]),
        ("pop3", &[(b"", b"+OK ready\r\n"), (b"STLS\r\n", b"+OK go\r\n")]),
        ("ftp", &[(b"", b"220 ready\r\n"), (b"AUTH TLS\r\n", b"234 go\r\n")]),
        (
            "ldap",
            &[(
                b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037",
                b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00",
            )],
        ),
        ("postgres", &[(b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"S")]),
    ];
    for (name, dialogue) in protocols {
        let at = format!("127.0.0.1:{}", clear_then_tls(tls.port, dialogue));
        let seen = handfast(dir.path(), &["cert", "inspect", &at, "--starttls", name, "-o", "json"]);
        assert!(seen.status.success(), "{name}: {}", String::from_utf8_lossy(&seen.stderr));
        assert_eq!(json(&seen)["certificates"][0]["names"][0], "DNS:web.example", "{name}");
    }
    let at =
        format!("127.0.0.1:{}", clear_then_tls(tls.port, &[(b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"N")]));
    let refused = handfast(dir.path(), &["cert", "inspect", &at, "--starttls", "postgres"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refuses TLS"));
}

#[test]
fn a_pem_from_standard_input_is_read() {
    let dir = authority();
    let mut child = Command::new(env!("CARGO_BIN_EXE_handfast"))
        .args(["cert", "inspect", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pem = std::fs::read(dir.path().join(".handfast/certs/web.crt")).unwrap();
    child.stdin.take().unwrap().write_all(&pem).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "- (PEM)");
    assert!(lines.map_while(Result::ok).any(|line| line.contains("expires in")));
    assert!(child.wait().unwrap().success());
}
