use std::process::Command;

use super::*;
use crate::{AltName, KeyKind, Request};

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A root as Active Directory names it: one attribute twice, which rcgen alone cannot reproduce.
#[test]
fn an_authority_with_a_repeated_attribute_in_its_name_issues_what_openssl_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    openssl(
        at,
        "req -x509 -newkey rsa:2048 -keyout root.key -passout pass:geheim -days 100 -out root.crt \
         -subj /DC=com/DC=example/CN=Corp -addext keyUsage=critical,keyCertSign,cRLSign",
    );
    let now = OffsetDateTime::now_utc();
    let key = std::fs::read_to_string(at.join("root.key")).unwrap();
    let import = Import {
        chain_pem: std::fs::read_to_string(at.join("root.crt")).unwrap(),
        key: PrivateKey::from_pem(&key, Some(b"geheim")).unwrap(),
    };
    let mut ca = Authority::import(&at.join("ca"), import, &InitOptions::default(), "me", now).unwrap();
    let issued = ca.issue(&Request::new("web").with(AltName::dns("web.test").unwrap()), "me", now).unwrap();
    std::fs::write(at.join("web.crt"), &issued.chain_pem).unwrap();
    let lists = std::fs::read_to_string(at.join("ca/crl.pem")).unwrap();
    let root = std::fs::read_to_string(at.join("root.crt")).unwrap();
    std::fs::write(at.join("all.pem"), format!("{root}{lists}")).unwrap();
    openssl(at, "verify -x509_strict -crl_check_all -CAfile all.pem -untrusted web.crt web.crt");
}

#[test]
fn a_leaf_a_foreign_key_and_a_broken_chain_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let now = OffsetDateTime::now_utc();
    let mut ca = Authority::init(&at.join("old"), &InitOptions::default(), "me", now).unwrap();
    let leaf = ca.issue(&Request::new("web").with(AltName::dns("web.test").unwrap()), "me", now).unwrap();
    let key = || PrivateKey::generate(KeyKind::P256).unwrap();
    let import = |chain_pem: String, key| {
        Authority::import(&at.join("new"), Import { chain_pem, key }, &InitOptions::default(), "me", now)
    };
    let leaf_key = PrivateKey::from_pem(leaf.key_pem.as_ref().unwrap(), None).unwrap();
    assert!(matches!(import(leaf.chain_pem.clone(), leaf_key), Err(Error::Unusable { .. })));
    assert!(matches!(import(ca.root_pem().unwrap(), key()), Err(Error::KeyMismatch(_))));
    assert!(matches!(import(ca.intermediate_pem(), key()), Err(Error::Unusable { .. })));
    let wrong_order = ca.root_pem().unwrap() + &ca.intermediate_pem();
    assert!(matches!(import(wrong_order, key()), Err(Error::Unusable { .. })));
    assert!(!at.join("new/ledger.sqlite").exists(), "a refused import leaves nothing behind");
}

const CA: &str =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";

fn below(pki: &crate::fixtures::Pki, extensions: &str, root_days: &str) -> Result<Authority> {
    pki.key("root", "P-256");
    pki.sign("root", None, "/CN=Root", &format!("{CA}{extensions}"), &["-days", root_days]);
    pki.key("sub", "P-256");
    pki.sign("sub", Some("root"), "/CN=Sub", CA, &["-days", "1000"]);
    let read = |name: &str| std::fs::read_to_string(pki.path(name)).unwrap();
    let import = Import {
        chain_pem: read("sub.crt") + &read("root.crt"),
        key: PrivateKey::from_pem(&read("sub.key"), None).unwrap(),
    };
    Authority::import(&pki.path("ca"), import, &InitOptions::default(), "me", OffsetDateTime::now_utc())
}

#[test]
fn a_leaf_never_outlives_the_root_above_an_imported_intermediate() {
    let pki = crate::fixtures::Pki::new();
    let mut ca = below(&pki, "", "10").unwrap();
    let now = OffsetDateTime::now_utc();
    let issued = ca.issue(&Request::new("web").with(AltName::dns("web.test").unwrap()), "me", now).unwrap();
    assert!(issued.shortened && issued.record.not_after <= now + time::Duration::days(10));
    assert_eq!(issued.record.lifetime, Some(crate::DEFAULT_LIFETIME), "what was asked for is remembered");
    assert_eq!(crate::request_of(&issued.record).unwrap().lifetime, crate::DEFAULT_LIFETIME);
}

#[test]
fn the_name_constraints_of_an_imported_root_hold_for_all_below_it() {
    let pki = crate::fixtures::Pki::new();
    let mut ca = below(&pki, "nameConstraints=critical,permitted;DNS:example.com\n", "100").unwrap();
    let now = OffsetDateTime::now_utc();
    let request = |name: &str| Request::new("web").with(AltName::dns(name).unwrap());
    ca.issue(&request("a.example.com"), "me", now).unwrap();
    assert!(matches!(ca.issue(&request("a.example.org"), "me", now), Err(Error::NotPermitted { .. })));
    assert!(ca.check_names(&[AltName::dns("localhost").unwrap()]).is_err());
}

#[test]
fn a_root_that_its_own_key_did_not_sign_is_refused() {
    let pki = crate::fixtures::Pki::new();
    pki.root("true", "/CN=Same");
    pki.key("false", "P-256");
    // Subject and issuer are the same name; the signature is another key's.
    pki.sign("false", Some("true"), "/CN=Same", CA, &["-days", "100"]);
    let read = |name: &str| std::fs::read_to_string(pki.path(name)).unwrap();
    let key = PrivateKey::from_pem(&read("false.key"), None).unwrap();
    let import = Import { chain_pem: read("false.crt"), key };
    let now = OffsetDateTime::now_utc();
    let result = Authority::import(&pki.path("ca"), import, &InitOptions::default(), "me", now);
    assert!(matches!(result, Err(Error::Unusable { reason, .. }) if reason.contains("own key")));
}
