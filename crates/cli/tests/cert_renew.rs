//! `handfast cert renew`, once and as a daemon, with the real programs that are told of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as expected")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use certs::{AltName, Authority, Request};
use testkit::handfast::eventually;
use testkit::{binary, handfast};
use time::OffsetDateTime;

const SOON: Duration = Duration::from_secs(60);

fn good(dir: &Path, arguments: &[&str]) -> String {
    handfast::good(binary!(), dir, arguments)
}

fn refused(dir: &Path, arguments: &[&str], exit: i32, code: &str) {
    handfast::refused(binary!(), dir, arguments, exit, &[code]);
}

fn openssl(dir: &Path, arguments: &str) -> String {
    let output = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn public_key(dir: &Path, certificate: &str) -> String {
    openssl(dir, &format!("x509 -noout -pubkey -in {certificate}"))
}

/// An authority whose certificate `web` is due already: most of its life is over.
fn due(dir: &Path) {
    let ca = dir.join(".handfast");
    let past = OffsetDateTime::now_utc() - time::Duration::minutes(50);
    let mut authority = Authority::init(&ca, &certs::InitOptions::default(), "test", past).unwrap();
    let request =
        Request::new("web").with(AltName::dns("web.test").unwrap()).lifetime(time::Duration::hours(1));
    let issued = authority.issue(&request, "test", past).unwrap();
    certs::write_public(&ca.join("certs/web.crt"), issued.chain_pem.as_bytes()).unwrap();
    certs::write_private(&ca.join("certs/web.key"), issued.key_pem.unwrap().as_bytes()).unwrap();
}

/// Ends the daemon, whatever happened.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(dir: &Path, hook: &[&str]) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handfast"));
    command.current_dir(dir).args(["cert", "renew", "web", "--daemon", "--revoke-old"]).args(hook);
    Daemon(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn superseded(dir: &Path) -> bool {
    good(dir, &["cert", "list", "--status", "revoked", "-o", "json"]).contains("superseded")
}

#[test]
fn the_daemon_renews_what_is_due_and_sends_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    due(dir);
    let before = public_key(dir, ".handfast/certs/web.crt");
    let mut shell = Daemon(
        Command::new("sh")
            .current_dir(dir)
            .args([
                "-c",
                "trap 'touch signalled' HUP; echo $$ > pid.new; mv pid.new pid; while :; do sleep 0.1; done",
            ])
            .spawn()
            .unwrap(),
    );
    assert!(eventually(SOON, || dir.join("pid").exists()));
    let _daemon = daemon(dir, &["--reload-signal", "pid:HUP"]);
    assert!(eventually(SOON, || dir.join("signalled").exists()), "{:?}", shell.0.try_wait());
    assert_ne!(public_key(dir, ".handfast/certs/web.crt"), before);
    assert!(eventually(SOON, || superseded(dir)), "the old one is revoked once its user was told");
}

#[test]
fn the_daemon_runs_a_command_again_until_it_works_and_ends_one_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    due(dir);
    // The first time it hangs, the second time it fails, the third time it works.
    let command = "echo x >> tries; case $(wc -l < tries) in 1) sleep 500;; 2) exit 1;; esac; touch reloaded";
    let _daemon = daemon(dir, &["--reload-command", command, "--reload-timeout", "1s"]);
    assert!(eventually(SOON, || dir.join("tries").exists()));
    assert!(!dir.join("reloaded").exists() && !superseded(dir));
    assert!(eventually(SOON, || dir.join("reloaded").exists()));
    assert_eq!(std::fs::read_to_string(dir.join("tries")).unwrap().lines().count(), 3);
    assert!(eventually(SOON, || superseded(dir)));
}

#[test]
fn the_daemon_posts_to_a_url() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    due(dir);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/reload?now", listener.local_addr().unwrap());
    let _daemon = daemon(dir, &["--reload-url", &url]);
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0; 1024];
    let length = stream.read(&mut request).unwrap();
    let text = String::from_utf8_lossy(&request[..length]).into_owned();
    assert!(text.starts_with("POST /reload?now HTTP/1.1"), "{text}");
    assert!(!superseded(dir), "it has not answered yet");
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    assert!(eventually(SOON, || superseded(dir)));
}

#[test]
fn what_lies_on_the_disk_is_renewed_and_not_what_was_issued_elsewhere_since() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    due(dir);
    // A newer one under the same name, in another folder: the one that is used is due all the same.
    good(dir, &["cert", "issue", "web", "--dns", "other.test", "--out", "elsewhere"]);
    let before = public_key(dir, ".handfast/certs/web.crt");
    let _daemon = daemon(dir, &["--reload-command", "touch reloaded"]);
    assert!(eventually(SOON, || dir.join("reloaded").exists()));
    assert_ne!(public_key(dir, ".handfast/certs/web.crt"), before);
    assert!(openssl(dir, "x509 -noout -ext subjectAltName -in .handfast/certs/web.crt").contains("web.test"));
}

#[test]
fn a_signing_requests_key_is_certified_again_and_no_foreign_key_appears() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    openssl(dir, "req -newkey rsa:2048 -nodes -keyout c.key -out c.csr -subj /CN=c");
    good(dir, &["cert", "sign", "c.csr", "--dns", "c.test", "--yes"]);
    let (certificate, before) = (".handfast/certs/c.crt", public_key(dir, ".handfast/certs/c.crt"));
    good(dir, &["cert", "renew", "c"]);
    good(dir, &["cert", "renew", certificate]);
    assert_eq!(public_key(dir, certificate), before);
    assert_eq!(openssl(dir, "pkey -in c.key -pubout"), before);
    assert!(!dir.join(".handfast/certs/c.key").exists());
}

#[test]
fn a_combined_file_stays_combined_and_closed_and_a_strange_layout_needs_its_key_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    good(dir, &["cert", "issue", "web", "--dns", "web.test"]);
    good(dir, &["cert", "export", "web", "--format", "combined", "--out", "hap.pem"]);
    good(dir, &["cert", "renew", "hap.pem"]);
    assert_eq!(std::fs::metadata(dir.join("hap.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(openssl(dir, "pkey -in hap.pem -pubout"), public_key(dir, "hap.pem"));

    std::fs::copy(dir.join(".handfast/certs/web.crt"), dir.join("fullchain.pem")).unwrap();
    std::fs::copy(dir.join(".handfast/certs/web.key"), dir.join("privkey.pem")).unwrap();
    refused(dir, &["cert", "renew", "fullchain.pem"], 2, "--key");
    good(dir, &["cert", "renew", "fullchain.pem", "--key", "privkey.pem"]);
    assert_eq!(openssl(dir, "pkey -in privkey.pem -pubout"), public_key(dir, "fullchain.pem"));
    // The key of another certificate is no key to replace.
    std::fs::copy(dir.join(".handfast/certs/web.key"), dir.join("privkey.pem")).unwrap();
    refused(dir, &["cert", "renew", "fullchain.pem", "--key", "privkey.pem"], 2, "HF1012");
}

#[test]
fn a_name_whose_newest_certificate_was_revoked_is_not_renewed_from_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    good(dir, &["cert", "issue", "web", "--dns", "web.test"]);
    good(dir, &["cert", "renew", "web"]);
    good(dir, &["cert", "revoke", ".handfast/certs/web.crt", "--reason", "keyCompromise"]);
    refused(dir, &["cert", "renew", "web"], 1, "HF1021");
    std::fs::remove_file(dir.join(".handfast/certs/web.crt")).unwrap();
    refused(dir, &["cert", "renew", "web"], 1, "HF1021");
}

#[test]
fn renewals_at_the_same_time_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    let names: Vec<String> = (0..8).map(|n| format!("n{n}.test")).collect();
    for name in &names {
        good(dir, &["cert", "issue", name]);
    }
    let start = |name: &String| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_handfast"));
        command.current_dir(dir).args(["cert", "renew", name]).stderr(Stdio::piped()).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    for child in names.iter().map(start).collect::<Vec<_>>() {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
