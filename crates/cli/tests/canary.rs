//! Unique private keys and passwords are planted, everything is run and broken around them, and then every log,
//! metric, answer and error is searched for them: in PEM, in base64 of any line width, in hex and as raw bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::clients::{Attempt, CLIENTS, Version};
use testkit::free_port;
use testkit::handfast::{Handfast, run};
use testkit::http_upstream::HttpUpstream;
use testkit::pki::Pki;
use testkit::program::Program;

/// A password that nobody else would write.
const PASSWORD: &str = "canary-pA55word-7f3a91c2";
/// A secret that clients send in requests.
const TOKEN: &str = "canary-bearer-e11d04b8";

/// What must not be found, each with a name for the message.
struct Canaries(Vec<(String, Vec<u8>)>);

impl Canaries {
    fn new() -> Self {
        let mut all = Self(Vec::new());
        all.text("the password", PASSWORD);
        all.text("the bearer token", TOKEN);
        all
    }

    fn text(&mut self, name: &str, secret: &str) {
        self.0.push((name.to_owned(), secret.as_bytes().to_vec()));
    }

    /// The secret part of a PKCS#8 key file: found by openssl, so that nothing public is searched for.
    fn key(&mut self, path: &Path) {
        let finished = Program::run(
            Command::new("openssl").args(["pkey", "-noout", "-text", "-in"]).arg(path),
            b"",
            Duration::from_secs(10),
        );
        let text = finished.out();
        let secret = text.split("priv:").nth(1).and_then(|rest| rest.split("pub:").next());
        let secret = secret.unwrap_or_else(|| panic!("{}: {}", path.display(), finished.all()));
        let hex: String = secret.chars().filter(char::is_ascii_hexdigit).collect();
        let hex = hex.trim_start_matches("00").to_owned();
        let raw: Vec<u8> =
            (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[n * 2..n * 2 + 2], 16).unwrap()).collect();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // As a list of numbers: what `Debug` of a byte vector prints.
        let numbers: Vec<String> = raw[..8].iter().map(u8::to_string).collect();
        self.text(&format!("{name} as numbers"), &numbers.join(", "));
        self.text(&format!("{name} in hex"), &hex[..24]);
        self.text(&format!("{name} in capital hex"), &hex[..24].to_uppercase());
        self.0.push((format!("{name} as bytes"), raw));
        // Lines of the file itself, without the first, which is the same for all keys of a kind.
        let pem = std::fs::read_to_string(path).unwrap();
        for line in pem.lines().filter(|line| !line.starts_with('-')).skip(1) {
            if line.len() >= 16 {
                self.text(&format!("{name} in base64"), &line[..16]);
            }
        }
    }

    fn search(&self, where_: &str, content: &[u8]) {
        // Base64 may have been wrapped anew.
        let joined: Vec<u8> =
            content.iter().copied().filter(|byte| *byte != b'\n' && *byte != b'\r').collect();
        for (name, secret) in &self.0 {
            for haystack in [content, &joined] {
                let found = haystack.windows(secret.len()).any(|window| window == secret.as_slice());
                assert!(!found, "{name} stands in {where_}:\n{}", String::from_utf8_lossy(content));
            }
        }
        let text = String::from_utf8_lossy(content);
        assert!(!text.contains("PRIVATE KEY-----"), "a private key stands in {where_}:\n{text}");
    }
}

/// Runs a command and searches all that it says.
fn say(canaries: &Canaries, dir: &Path, arguments: &[&str]) -> Option<i32> {
    let finished = run(testkit::binary!(), dir, arguments);
    let command = format!("handfast {}", arguments.join(" "));
    canaries.search(&format!("stdout of {command}"), &finished.stdout);
    canaries.search(&format!("stderr of {command}"), &finished.stderr);
    finished.code
}

fn key_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(key_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "key") {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_search_itself_finds_what_is_planted() {
    let pki = Pki::new();
    let mut canaries = Canaries::new();
    canaries.key(&pki.good.key);
    let pem = std::fs::read_to_string(&pki.good.key).unwrap();
    let der = Program::run(
        Command::new("openssl").args(["pkey", "-outform", "DER", "-in"]).arg(&pki.good.key),
        b"",
        Duration::from_secs(10),
    );
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    for leak in [
        format!("log: {PASSWORD}").into_bytes(),
        body.into_bytes(),
        der.stdout.clone(),
        format!("{:?}", der.stdout).into_bytes(),
        der.stdout.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
    ] {
        let found = std::panic::catch_unwind(|| canaries.search("a leak", &leak)).is_err();
        assert!(found, "not found in {:?}", String::from_utf8_lossy(&leak));
    }
    canaries.search("what is clean", b"nothing here");
}

#[test]
fn no_command_of_the_authority_shows_a_key_or_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut canaries = Canaries::new();
    assert_eq!(say(&canaries, dir, &["--log", "trace", "ca", "init"]), Some(0));
    assert_eq!(say(&canaries, dir, &["--log", "trace", "cert", "issue", "web.test"]), Some(0));
    for key in key_files(dir) {
        canaries.key(&key);
    }
    assert!(canaries.0.len() > 10, "the keys were found");
    let key = dir.join(".handfast/certs/web.test.key");
    let (key, crt) = (key.to_str().unwrap(), dir.join(".handfast/certs/web.test.crt"));
    let crt = crt.to_str().unwrap();
    std::fs::write(dir.join("password"), format!("{PASSWORD}\n")).unwrap();
    let text = std::fs::read_to_string(key).unwrap();
    // A key that is damaged in the middle, and one where a certificate belongs: errors quote, and must not quote this.
    std::fs::write(dir.join("broken.key"), text.replacen('\n', "\n!", 2)).unwrap();
    std::fs::write(dir.join("swapped.yaml"), &text).unwrap();
    std::fs::write(dir.join("swapped.conf"), &text).unwrap();
    let log = ["--log", "trace"];
    for arguments in [
        &["cert", "list", "-o", "json"][..],
        &["cert", "inspect", key],
        &["cert", "inspect", crt, "-o", "json"],
        &["cert", "lint", "--key", key, crt],
        &["cert", "lint", "--key", "broken.key", crt],
        &["cert", "verify", key],
        &["cert", "export", "web.test", "--format", "p12", "--password-file", "password", "--out", "x.p12"],
        &["cert", "renew", "web.test"],
        &["cert", "revoke", "web.test"],
        &["ca", "status", "-o", "json"],
        &["ca", "crl"],
        &["ca", "init"],
        &["config", "validate", "swapped.yaml"],
        &["config", "validate", "swapped.conf"],
        &["config", "validate", key],
        &["serve", "swapped.yaml"],
        &["serve", key],
        &["explain", "--", text.as_str()],
        &["explain", key],
        &["test", "127.0.0.1:1", "--cert", key, "--key", crt],
    ] {
        // Whatever it answers: some of these are wrong on purpose.
        say(&canaries, dir, &[&log[..], arguments].concat());
    }
}

#[test]
fn a_server_shows_no_key_in_any_log_metric_answer_or_error() {
    let (pki, app, port) = (Pki::new(), HttpUpstream::start(), free_port());
    let dir = pki.dir().display();
    let mut canaries = Canaries::new();
    for credential in [&pki.server, &pki.good, &pki.other_ca] {
        canaries.key(&credential.key);
    }
    // The server's key is encrypted, with the password in a file.
    let encrypted = pki.file("encrypted.key");
    let status = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", &format!("pass:{PASSWORD}"), "-in"])
        .arg(&pki.server.key)
        .arg("-out")
        .arg(&encrypted)
        .status();
    assert!(status.unwrap().success());
    pki.save("password", &format!("{PASSWORD}\n"));
    let yaml = format!(
        "version: 1
admin: ADMIN
listeners:
- name: site
  bind: ['127.0.0.1:{port}']
  tls:
    certificates: [{{chain: {dir}/server.crt, key: {dir}/encrypted.key, password_file: {dir}/password}}]
    clients: {{mode: required, ca: [{dir}/clients.pem]}}
  hosts: [{{names: [app.test], routes: [{{proxy: {{service: app, identity: xfcc}}}}]}}]
services:
  app: {{endpoints: [{{address: '{}'}}]}}
",
        app.addr()
    );
    let handfast =
        Handfast::serve_with(testkit::binary!(), "handfast.yaml", &yaml, &[("HANDFAST_LOG", "trace")]);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer {TOKEN}\r\nCookie: s={TOKEN}\r\nConnection: close\r\n\r\n"
    );
    let mut answered = 0;
    for credential in [None, Some(&pki.good), Some(&pki.other_ca), Some(&pki.expired)] {
        for client in CLIENTS {
            let mut attempt =
                Attempt::new(([127, 0, 0, 1], port).into(), Version::Tls13).credential(credential);
            attempt.send = &request;
            let Some(seen) = client.connect(&attempt) else { continue };
            if credential.is_some_and(|c| c.name == "good") {
                answered += usize::from(seen.status() == Some(200));
            }
        }
    }
    assert!(answered >= 1, "{}", handfast.program.output());
    // Reloads, good and bad: a wrong password, a damaged key, a key where the configuration belongs.
    let key = std::fs::read_to_string(&pki.server.key).unwrap();
    for (file, content) in [
        ("password", format!("wrong-{PASSWORD}\n")),
        ("password", format!("{PASSWORD}\n")),
        ("encrypted.key", key.replacen('\n', "\n!", 2)),
        ("encrypted.key", key.clone()),
        ("clients.pem", key.clone()),
    ] {
        pki.save(file, &content);
        handfast.program.signal("HUP");
        std::thread::sleep(Duration::from_millis(300));
    }
    handfast.rewrite(&key);
    handfast.program.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    for path in ["/metrics", "/readyz", "/livez", "/", "/config", "/debug"] {
        canaries.search(path, testkit::handfast::ask(handfast.admin(), path).unwrap_or_default().as_bytes());
    }
    let log = handfast.program.output();
    assert!(log.contains("HF4003"), "the bad reloads were seen: {log}");
    handfast.program.signal("TERM");
    let finished = handfast.program.finish(Duration::from_secs(40));
    canaries.search("the server's stdout", &finished.stdout);
    canaries.search("the server's stderr", &finished.stderr);
}
