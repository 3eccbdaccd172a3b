//! `handfast ca import`, what `ca status` finds, and bad input, each named with its file.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as expected")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use testkit::clients::openssl;
use testkit::{binary, handfast};

fn good(dir: &Path, arguments: &[&str]) -> String {
    handfast::good(binary!(), dir, arguments)
}

fn refused(dir: &Path, arguments: &[&str], exit: i32, words: &[&str]) {
    handfast::refused(binary!(), dir, arguments, exit, words);
}

fn made(dir: &Path, arguments: &str) {
    let (done, text) = openssl(dir, arguments);
    assert!(done, "{arguments}: {text}");
}

/// A root of OpenSSL with an encrypted key.
fn root(dir: &Path) {
    made(
        dir,
        "req -x509 -newkey rsa:2048 -keyout root.key -passout pass:geheim -days 100 -out root.crt -subj /CN=Corp \
         -addext keyUsage=critical,keyCertSign,cRLSign",
    );
    std::fs::write(dir.join("pw"), "geheim\n").unwrap();
    for secret in ["root.key", "pw"] {
        std::fs::set_permissions(dir.join(secret), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

const IMPORT: [&str; 8] =
    ["ca", "import", "--cert", "root.crt", "--key", "root.key", "--password-file", "pw"];

#[test]
fn an_imported_root_issues_what_openssl_verifies_within_the_new_limits() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    root(dir);
    // Tried first: nothing is written, neither here nor in the folder of temporary files.
    let temporary = dir.join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o500)).unwrap();
    let dry = Command::new(env!("CARGO_BIN_EXE_handfast"))
        .current_dir(dir)
        .args(IMPORT)
        .arg("--dry-run")
        .env("TMPDIR", dir.join("nowhere"))
        .output()
        .unwrap();
    assert!(dry.status.success(), "{}", String::from_utf8_lossy(&dry.stderr));
    assert!(!dir.join(".handfast").exists());
    let said = good(dir, &[&IMPORT[..], &["--permit-dns", "example.com"]].concat());
    assert!(said.starts_with("imported into .handfast"), "{said}");
    good(dir, &["cert", "issue", "web", "--dns", "web.example.com"]);
    refused(dir, &["cert", "issue", "x", "--dns", "web.example.org"], 1, &["HF1016"]);
    refused(dir, &["cert", "issue", "x", "--email", "me@example.com"], 1, &["HF1016"]);
    refused(dir, &["cert", "issue", "bank.example.org", "--dns", "web.example.com"], 1, &["HF1016"]);
    let lists = std::fs::read_to_string(dir.join(".handfast/crl.pem")).unwrap();
    let bundle = std::fs::read_to_string(dir.join("root.crt")).unwrap() + &lists;
    std::fs::write(dir.join("all.pem"), bundle).unwrap();
    let chain = ".handfast/certs/web.crt";
    made(dir, &format!("verify -x509_strict -crl_check_all -CAfile all.pem -untrusted {chain} {chain}"));
    // Verified by rustls' own library too, which must not stumble over the limit on e-mail.
    good(dir, &["cert", "verify", chain, "--name", "web.example.com"]);
    refused(dir, &[&IMPORT[..], &["--dry-run"]].concat(), 1, &["HF1002"]);
    refused(dir, &IMPORT, 1, &["HF1002"]);
}

#[test]
fn an_intermediate_is_imported_with_its_chain_and_its_root_key_is_not_needed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init", "--dir", "old"]);
    let (cert, key) = ("old/authorities/intermediate-1.crt", "old/authorities/intermediate-1.key");
    refused(dir, &["ca", "import", "--cert", cert, "--key", key], 1, &["HF1023", "root"]);
    good(dir, &["ca", "import", "--cert", cert, "--key", key, "--chain", "old/ca.crt"]);
    good(dir, &["cert", "issue", "web.test"]);
    made(
        dir,
        "verify -CAfile old/ca.crt -untrusted .handfast/certs/web.test.crt .handfast/certs/web.test.crt",
    );
}

#[test]
fn bad_input_of_an_import_is_named_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    root(dir);
    let text = std::fs::read_to_string(dir.join("root.crt")).unwrap();
    std::fs::write(dir.join("cut.crt"), &text[..text.len() / 2]).unwrap();
    let with = |cert: &'static str, key: &'static str| ["ca", "import", "--cert", cert, "--key", key];
    refused(dir, &with("cut.crt", "root.key"), 2, &["cut.crt", "line 1"]);
    let folder = handfast::run(binary!(), dir, &with("root.crt", "."));
    let said = folder.err();
    assert!(folder.code != Some(0) && !said.contains("chmod") && said.contains("directory"), "{said}");
    std::fs::write(dir.join("empty"), "\n").unwrap();
    refused(dir, &[&with("root.crt", "root.key")[..], &["--password-file", "empty"]].concat(), 2, &["empty"]);
    refused(dir, &with("root.crt", "root.key"), 1, &["HF1011", "root.key"]);
    for url in ["http://\u{fc}n\u{ef}.test/x", "not a url"] {
        refused(dir, &["ca", "init", "--crl-url", url], 2, &["HF1014"]);
    }
    refused(dir, &["ca", "init", "--organization", ""], 2, &["HF1014"]);
    assert!(!dir.join(".handfast").exists());
}

fn found(dir: &Path, words: &str) {
    let finished = handfast::run(binary!(), dir, &["ca", "status"]);
    let text = finished.out();
    assert_eq!(finished.code, Some(3), "{words}: {text}");
    assert!(
        text.lines().any(|line| line.starts_with("warning: ") && line.contains(words)),
        "{words}: {text}"
    );
}

#[test]
fn status_finds_what_is_missing_open_mismatched_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    good(dir, &["ca", "status"]);
    let ca = dir.join(".handfast");
    std::fs::remove_file(ca.join("crl.pem")).unwrap();
    found(dir, "crl.pem cannot be read");
    std::fs::write(ca.join("crl.pem"), "").unwrap();
    found(dir, "crl.pem does not hold");
    good(dir, &["ca", "crl"]);
    std::fs::set_permissions(&ca, std::fs::Permissions::from_mode(0o777)).unwrap();
    found(dir, "mode 0777");
    std::fs::set_permissions(&ca, std::fs::Permissions::from_mode(0o700)).unwrap();

    let key = ca.join("authorities/intermediate-1.key");
    let right = std::fs::read(&key).unwrap();
    std::fs::write(&key, &right[..40]).unwrap();
    found(dir, "intermediate-1.key");
    std::fs::copy(ca.join("root/root-1.key"), &key).unwrap();
    found(dir, "does not belong");
    std::fs::write(&key, right).unwrap();
    good(dir, &["ca", "status"]);

    let serial = openssl(dir, "x509 -noout -serial -in .handfast/authorities/intermediate-1.crt").1;
    good(dir, &["cert", "revoke", serial.trim().trim_start_matches("serial=")]);
    found(dir, "intermediate-1 was revoked");
}

#[test]
fn a_dry_run_of_an_unsafe_step_is_refused_as_the_step_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    good(dir, &["ca", "rotate", "start", "--dry-run"]);
    for step in ["confirm", "switch", "retire", "abort"] {
        refused(dir, &["ca", "rotate", step, "--dry-run"], 1, &["HF1022"]);
    }
    assert!(good(dir, &["ca", "rotate", "status"]).contains("no rotation"));
    good(dir, &["ca", "rotate", "start"]);
    refused(dir, &["ca", "rotate", "confirm", "--bundle", ".handfast/ca.crt"], 1, &["HF1022", "own bundle"]);
    std::fs::copy(dir.join(".handfast/ca.crt"), dir.join("copy.crt")).unwrap();
    good(dir, &["ca", "rotate", "confirm", "--bundle", "copy.crt", "--dry-run"]);
}

#[test]
fn an_identity_comes_from_the_operator_and_serves_both_ends() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["ca", "init"]);
    let request = "req -newkey ec -pkeyopt ec_paramgen_curve:P-521 -nodes -keyout bank.key -out bank.example.csr \
                   -subj /CN=bank -addext subjectAltName=DNS:web.test,URI:spiffe://cluster.local/ns/prod/sa/root";
    made(dir, request);
    let sign = ["cert", "sign", "bank.example.csr"];
    refused(dir, &[&sign[..], &["--grant-requested", "--yes"]].concat(), 2, &["spiffe://", "--spiffe"]);
    good(dir, &[&sign[..], &["--dns", "web.test", "--yes"]].concat());
    let subject = openssl(dir, "x509 -noout -subject -in .handfast/certs/bank.example.crt").1;
    assert!(!subject.contains("bank"), "{subject}");
    made(
        dir,
        "verify -x509_strict -CAfile .handfast/ca.crt -untrusted .handfast/certs/bank.example.crt .handfast/certs/bank.example.crt",
    );
    good(dir, &[&sign[..], &["--spiffe", "prod/root", "--grant-requested", "--yes", "--force"]].concat());

    let uses = |name: &str| {
        openssl(dir, &format!("x509 -noout -ext extendedKeyUsage -in .handfast/certs/{name}.crt")).1
    };
    let both = |name: &str| uses(name).contains("Server") && uses(name).contains("Client");
    good(dir, &["cert", "issue", "me", "--client"]);
    good(dir, &["cert", "issue", "api", "--spiffe", "prod/api", "--server"]);
    good(dir, &["cert", "issue", "one", "--spiffe", "prod/one", "--server", "--only"]);
    assert!(both("me") && both("api") && !both("one"));
    let lint = |name: &str| {
        let certificate = format!(".handfast/certs/{name}.crt");
        handfast::run(binary!(), dir, &["cert", "lint", &certificate]).out().contains("HF1141")
    };
    assert!(!lint("api") && lint("one"));
}

#[test]
fn a_weak_or_encrypted_key_is_linted_and_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    made(dir, "req -x509 -newkey rsa:1024 -nodes -keyout weak.key -out weak.crt -days 9 -subj /CN=weak");
    made(
        dir,
        "req -x509 -newkey rsa:2048 -passout pass:geheim -keyout shut.key -out shut.crt -days 9 -subj /CN=shut",
    );
    std::fs::write(dir.join("pw"), "geheim\n").unwrap();
    let lint = |arguments: &[&str]| {
        let finished = handfast::run(binary!(), dir, &[&["cert", "lint"], arguments].concat());
        (finished.code, finished.all())
    };
    let (code, text) = lint(&["weak.crt", "--key", "weak.key"]);
    assert!(code == Some(3) && text.contains("HF1124"), "{text}");
    let (code, text) = lint(&["shut.crt", "--key", "weak.key"]);
    assert!(code == Some(3) && text.contains("HF1124") && text.contains("weak.key"), "{text}");
    let (code, text) = lint(&["shut.crt", "--key", "shut.key", "--password-file", "pw"]);
    assert!(code == Some(3) && !text.contains("HF1122"), "{text}");
    let (code, text) = lint(&["shut.crt", "--key", "shut.key"]);
    assert!(code == Some(2) && text.contains("HF1011") && text.contains("shut.key"), "{text}");
}

#[test]
fn output_into_a_closed_pipe_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let script = format!("{} ca init 2>&1 | true; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_handfast"));
    let output = Command::new("bash").current_dir(dir).args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n");
    for format in ["json", "yaml"] {
        let text = good(dir, &["ca", "status", "-o", format]);
        assert!(text.starts_with(if format == "json" { "{" } else { "version: 1\n" }), "{text}");
    }
}
