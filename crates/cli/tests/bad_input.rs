//! Whatever is wrong is said once, with the file and the line, and nothing is half started.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::free_port;
use testkit::handfast::run;
use testkit::pki::Pki;
use testkit::program::{Finished, Program};

/// A site in one folder: `h.yaml`, `site.crt`, `site.key`, `other.key`.
struct Folder {
    dir: tempfile::TempDir,
    /// Two listeners and the admin port: what is right may not start either.
    ports: [u16; 3],
}

impl Folder {
    fn new() -> Self {
        let (dir, pki) = (tempfile::tempdir().unwrap(), Pki::new());
        let copy = |from: &Path, to: &str| std::fs::copy(from, dir.path().join(to)).unwrap();
        copy(&pki.server.chain, "site.crt");
        copy(&pki.server.key, "site.key");
        copy(&pki.good.key, "other.key");
        copy(&pki.expired.chain, "expired.crt");
        copy(&pki.expired.key, "expired.key");
        Self { dir, ports: [free_port(), free_port(), free_port()] }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The second listener, on lines 7 to 10, has what is wrong.
    fn yaml(&self, edit: impl FnOnce(String) -> String) {
        let [good, bad, admin] = self.ports;
        let text = format!(
            "version: 1
admin: 127.0.0.1:{admin}
listeners:
- name: good
  bind: ['127.0.0.1:{good}']
  hosts: [{{names: [localhost], default: true, routes: [{{files: {{root: .}}}}]}}]
- name: bad
  bind: ['127.0.0.1:{bad}']
  tls: {{certificates: [{{chain: site.crt, key: site.key}}]}}
  hosts: [{{names: [localhost], default: true, routes: [{{files: {{root: .}}}}]}}]
"
        );
        std::fs::write(self.path().join("h.yaml"), edit(text)).unwrap();
    }

    /// Runs `serve FILE`, which must end by itself with this code; nothing listens afterwards.
    fn refuses(&self, file: &str, code: i32) -> String {
        let done = run(testkit::binary!(), self.path(), &["serve", file]);
        let text = done.err();
        assert_eq!(done.code, Some(code), "{}", done.all());
        assert_eq!(text.matches("error[HF").count(), 1, "one error: {text}");
        assert!(!text.contains("panicked") && !text.contains("listening on"), "{text}");
        text
    }

    fn is_silent(&self) {
        for port in self.ports {
            assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "something listens on {port}");
        }
    }
}

#[test]
fn a_missing_file_is_named_with_its_line() {
    let folder = Folder::new();
    folder.yaml(|text| text.replace("site.crt", "nowhere.crt"));
    let text = folder.refuses("h.yaml", 2);
    assert!(text.contains("nowhere.crt") && text.contains("h.yaml:9:"), "{text}");
    let text = folder.refuses("nowhere.yaml", 2);
    assert!(text.contains("nowhere.yaml") && text.contains("No such file"), "{text}");
    folder.is_silent();
}

#[test]
fn a_key_that_cannot_be_used_is_named() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("site.key"), "no key at all\n").unwrap();
    folder.yaml(|text| text);
    let text = folder.refuses("h.yaml", 2);
    assert!(text.contains("site.key") && text.contains("no PEM private key"), "{text}");
    assert!(text.contains("h.yaml:9:"), "its line is named: {text}");
    folder.is_silent();
}

#[test]
fn a_key_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    folder.yaml(|text| text);
    let key = folder.path().join("site.key");
    // Root may read everything: a folder where a file belongs cannot be read by anybody.
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&key).is_ok() {
        std::fs::remove_file(&key).unwrap();
        std::fs::create_dir(&key).unwrap();
    }
    let done = run(testkit::binary!(), folder.path(), &["serve", "h.yaml"]);
    let text = done.err();
    assert!(matches!(done.code, Some(1 | 2)), "{}", done.all());
    assert!(text.contains("site.key") && text.matches("error[HF").count() == 1, "{text}");
    folder.is_silent();
}

#[test]
fn a_mismatched_pair_is_named_by_both_files() {
    let folder = Folder::new();
    folder.yaml(|text| text.replace("site.key", "other.key"));
    let text = folder.refuses("h.yaml", 2);
    // The sentence is wrapped to the terminal's width.
    let flat = text.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    for word in ["other.key", "site.crt", "does not belong to the certificate", "handfast cert lint"] {
        assert!(flat.contains(word), "{word}: {text}");
    }
    folder.is_silent();
}

#[test]
fn a_port_in_use_starts_none_of_the_others() {
    let folder = Folder::new();
    let taken = TcpListener::bind(("127.0.0.1", folder.ports[1])).unwrap();
    folder.yaml(|text| text);
    let text = folder.refuses("h.yaml", 1);
    assert!(text.contains(&format!("127.0.0.1:{}: it is in use", folder.ports[1])), "{text}");
    assert!(text.contains("listener: bad") && text.contains("ss -ltnp"), "{text}");
    drop(taken);
    folder.is_silent();
}

#[test]
fn an_unknown_key_or_directive_is_shown_with_line_caret_and_suggestion() {
    let folder = Folder::new();
    folder.yaml(|text| text.replacen("- name: bad\n  bind", "- name: bad\n  bnid", 1));
    let text = folder.refuses("h.yaml", 2);
    for word in ["h.yaml:8:3", "bnid", "^^^^", "did you mean `bind`?"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let conf = "events {}\nhttp {\n  server {\n    listen 127.0.0.1:1;\n    proxy_psas http://127.0.0.1:2;\n  }\n}\n";
    std::fs::write(folder.path().join("n.conf"), conf).unwrap();
    let text = folder.refuses("n.conf", 2);
    for word in ["n.conf:5:5", "proxy_psas", "^^^^", "did you mean `proxy_pass`?"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    folder.is_silent();
}

#[test]
fn an_expired_certificate_is_named_with_its_date() {
    let folder = Folder::new();
    folder.yaml(|text| text.replace("site.crt", "expired.crt").replace("site.key", "expired.key"));
    // Nobody could connect, but a server that was up must come up again after a restart: it starts, and says so.
    let mut command = Command::new(testkit::binary!());
    command.args(["serve", "h.yaml"]).current_dir(folder.path()).env("NO_COLOR", "1");
    let mut server = Program::start(&mut command);
    server.wait_for("the warning", Duration::from_secs(20), |server| {
        let text = server.output();
        text.lines().any(|line| line.contains("expired.crt") && line.contains("HF4"))
    });
    // The tools say it before, with the exit code of a finding.
    let done = run(testkit::binary!(), folder.path(), &["cert", "lint", "expired.crt"]);
    assert_eq!(done.code, Some(3), "{}", done.all());
    assert!(done.all().contains("expired"), "{}", done.all());
}

/// `test` and `explain` read files too.
#[test]
fn the_client_commands_name_the_file_and_end_with_2() {
    let folder = Folder::new();
    let tried = |arguments: &[&str]| -> Finished { run(testkit::binary!(), folder.path(), arguments) };
    let at = format!("127.0.0.1:{}", folder.ports[0]);
    for (arguments, word) in [
        (vec!["test", &at, "--ca", "nowhere.crt"], "nowhere.crt"),
        (vec!["test", &at, "--cert", "site.crt", "--key", "other.key"], "does not belong to the certificate"),
        (vec!["test", &at, "--ca", "site.key"], "site.key: no certificate"),
        (vec!["test", &at, "--cert", "site.crt"], "--key"),
        (vec!["test", &at, "--only", "nonsense"], "there is no row 'nonsense'"),
        (vec!["explain", &at, "--ca", "nowhere.crt"], "nowhere.crt"),
        (vec!["explain", &at, "--cert", "expired.crt", "--key", "site.key"], "expired.crt"),
        (vec!["explain", "HF0000"], "there is no code HF0000"),
        (vec!["config", "validate", "nowhere.yaml"], "nowhere.yaml"),
    ] {
        let done = tried(&arguments);
        assert_eq!(done.code, Some(2), "{arguments:?}: {}", done.all());
        assert!(done.err().contains(word) && done.out().is_empty(), "{arguments:?}: {}", done.all());
    }
    for command in ["test", "explain"] {
        let mut command = &mut {
            let mut c = Command::new(testkit::binary!());
            c.arg(command);
            c
        };
        command = command.arg(&at).env("SSL_CERT_FILE", "/nonexist/roots.pem").current_dir(folder.path());
        let done = Program::run(command, b"", Duration::from_secs(20));
        assert_eq!(done.code, Some(2), "{}", done.all());
        let named = ["/nonexist/roots.pem", "SSL_CERT_FILE"].iter().all(|word| done.err().contains(word));
        assert!(named, "{}", done.all());
    }
}
