//! `handfast ca` and `cert`, from outside: what they write is judged by OpenSSL, not by our own code.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as expected")]

use std::path::Path;

use testkit::clients::openssl;
use testkit::{binary, handfast};

fn good(dir: &Path, arguments: &[&str]) -> String {
    handfast::good(binary!(), dir, arguments)
}

fn refused(dir: &Path, arguments: &[&str], exit: i32, code: &str) {
    handfast::refused(binary!(), dir, arguments, exit, &[code]);
}

fn bundle(dir: &Path) {
    let roots = std::fs::read_to_string(dir.join(".handfast/ca.crt")).unwrap();
    let lists = std::fs::read_to_string(dir.join(".handfast/crl.pem")).unwrap();
    std::fs::write(dir.join("all.pem"), roots + &lists).unwrap();
}

#[test]
fn certificates_of_every_key_kind_pass_openssl_with_revocation_of_the_whole_chain() {
    for kind in ["p256", "p384", "p521", "ed25519", "rsa2048", "rsa3072", "rsa4096"] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        good(dir, &["ca", "init", "--key", kind]);
        good(dir, &["cert", "issue", "web.test", "--ip", "127.0.0.1", "--dns", "web.test", "--key", kind]);
        bundle(dir);
        let chain = ".handfast/certs/web.test.crt";
        let (passed, text) = openssl(
            dir,
            &format!(
                "verify -x509_strict -crl_check_all -purpose sslserver -verify_ip 127.0.0.1 -CAfile all.pem \
                 -untrusted {chain} {chain}"
            ),
        );
        assert!(passed, "{kind}: {text}");
        let (passed, text) = openssl(dir, "pkey -check -noout -in .handfast/certs/web.test.key");
        assert!(passed, "{kind}: {text}");
    }
}

#[test]
fn a_revoked_certificate_is_refused_by_openssl_and_cannot_be_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    good(dir, &["cert", "issue", "web.test"]);
    good(dir, &["cert", "revoke", "web.test", "--reason", "keyCompromise"]);
    bundle(dir);
    let chain = ".handfast/certs/web.test.crt";
    let (passed, text) =
        openssl(dir, &format!("verify -crl_check_all -CAfile all.pem -untrusted {chain} {chain}"));
    assert!(!passed && text.contains("certificate revoked"), "{text}");
    refused(dir, &["cert", "renew", "web.test"], 1, "HF1021");
    refused(dir, &["cert", "revoke", "web.test"], 1, "HF1021");
    let listed = good(dir, &["cert", "list", "--status", "revoked", "-o", "json"]);
    assert!(listed.contains("\"reason\": \"keyCompromise\""), "{listed}");
}

#[test]
fn name_constraints_are_enforced_by_us_and_by_openssl() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init", "--permit-dns", "example.com"]);
    good(dir, &["cert", "issue", "a.example.com"]);
    refused(dir, &["cert", "issue", "a.example.org"], 1, "HF1016");
    refused(dir, &["cert", "issue", "x", "--ip", "10.0.0.1"], 1, "HF1016");
    // Somebody with the stolen intermediate key signs what we refuse; the constraint stops it all the same.
    let sign = "req -x509 -newkey rsa:2048 -nodes -keyout bad.key -out bad.crt -days 5 -subj /CN=bad \
                -addext subjectAltName=DNS:bad.org -addext basicConstraints=critical,CA:FALSE \
                -CA .handfast/authorities/intermediate-1.crt -CAkey .handfast/authorities/intermediate-1.key";
    let (made, text) = openssl(dir, sign);
    assert!(made, "{text}");
    let (passed, text) = openssl(
        dir,
        "verify -CAfile .handfast/ca.crt -untrusted .handfast/authorities/intermediate-1.crt bad.crt",
    );
    assert!(!passed && text.contains("permitted subtree violation"), "{text}");
}

#[test]
fn a_signing_request_gets_the_operators_names_and_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    let (made, text) = openssl(
        dir,
        "req -newkey rsa:2048 -nodes -keyout c.key -out c.csr -subj /CN=evil -addext subjectAltName=DNS:evil.test \
         -addext basicConstraints=CA:TRUE",
    );
    assert!(made, "{text}");
    refused(dir, &["cert", "sign", "c.csr", "--yes"], 2, "HF9001");
    refused(dir, &["cert", "sign", "c.csr", "--dns", "good.test"], 2, "--yes");
    good(dir, &["cert", "sign", "c.csr", "--dns", "good.test", "--yes"]);
    let (_, text) = openssl(dir, "x509 -noout -text -in .handfast/certs/c.crt");
    assert!(text.contains("DNS:good.test") && text.contains("CA:FALSE") && !text.contains("evil"), "{text}");
    let (_, key) = openssl(dir, "pkey -in c.key -pubout");
    let (_, certified) = openssl(dir, "x509 -noout -pubkey -in .handfast/certs/c.crt");
    assert_eq!(key, certified);
}

#[test]
fn a_renewal_has_a_new_key_the_same_names_and_tells_the_user_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    good(dir, &["cert", "issue", "web.test", "--dns", "web.test,www.test", "--lifetime", "10d"]);
    let key = std::fs::read(dir.join(".handfast/certs/web.test.key")).unwrap();
    good(dir, &["cert", "renew", "web.test", "--reload-command", "touch reloaded"]);
    assert!(dir.join("reloaded").exists());
    assert_ne!(std::fs::read(dir.join(".handfast/certs/web.test.key")).unwrap(), key);
    let (_, text) = openssl(dir, "x509 -noout -ext subjectAltName -in .handfast/certs/web.test.crt");
    assert!(text.contains("DNS:web.test, DNS:www.test"), "{text}");
    refused(dir, &["cert", "renew", "web.test", "--reload-command", "false"], 1, "HF1025");
    refused(dir, &["cert", "renew", "web.test", "--reload-signal", "1:KILL"], 2, "HF9001");
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init", "--dry-run"]);
    assert!(!dir.join(".handfast").exists());
    good(dir, &["ca", "init"]);
    good(dir, &["cert", "issue", "web.test", "--dry-run"]);
    assert!(!dir.join(".handfast/certs/web.test.crt").exists());
    assert!(!good(dir, &["cert", "list"]).contains("web.test"));
}

#[test]
fn bad_input_is_named_and_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    refused(dir, &["cert", "issue", "web.test"], 1, "HF1001");
    good(dir, &["ca", "init"]);
    refused(dir, &["cert", "issue", "../evil", "--dns", "a.test"], 2, "HF1014");
    refused(dir, &["cert", "issue", "x", "--dns", "*.com"], 2, "HF1014");
    refused(dir, &["cert", "issue", "x", "--spiffe", "a/b/c"], 2, "HF9001");
    refused(dir, &["cert", "revoke", "nobody"], 1, "HF1020");
    good(dir, &["cert", "issue", "web.test"]);
    refused(dir, &["cert", "issue", "web.test"], 2, "--force");
}
