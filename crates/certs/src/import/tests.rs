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
