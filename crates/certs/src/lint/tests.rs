use std::time::SystemTime;

use super::*;
use crate::fixtures::{CA, CLIENT, Pki, SERVER};

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64 + 5
}

fn codes(chain: &[CertificateDer<'_>], now: i64) -> Vec<&'static str> {
    lint(chain, None, &[], now).unwrap().into_iter().map(|finding| finding.code).collect()
}

#[test]
fn a_good_chain_has_no_findings() {
    let pki = Pki::new();
    let root = pki.root("root", "/CN=Root");
    let mid = pki.issue("mid", "root", "/CN=Mid", CA);
    let leaf = pki.issue("leaf", "mid", "/CN=server.example", SERVER);
    let spki = pki.openssl(&["pkey", "-in", "leaf.key", "-pubout", "-outform", "DER"]);
    let chain = [leaf.clone(), mid.clone()];
    let findings = lint(&chain, Some(&spki), std::slice::from_ref(&root), now()).unwrap();
    assert!(findings.is_empty(), "{findings:?}");

    let other = pki.openssl(&["pkey", "-in", "mid.key", "-pubout", "-outform", "DER"]);
    let findings = lint(&chain, Some(&other), &[], now()).unwrap();
    assert_eq!((findings[0].code, findings[0].severity), (code::LINT_KEY_MISMATCH.id, Severity::Error));
    // Leaf alone: certain with the root, suspected without.
    let alone = std::slice::from_ref(&leaf);
    let findings = lint(alone, None, std::slice::from_ref(&root), now()).unwrap();
    assert_eq!(
        (findings[0].code, findings[0].severity),
        (code::LINT_INTERMEDIATE_MISSING.id, Severity::Error)
    );
    assert_eq!(codes(alone, now()), [code::LINT_INTERMEDIATE_MISSING.id]);
    // Order and root.
    let wrong = codes(&[leaf.clone(), root.clone(), mid.clone()], now());
    assert!(
        wrong.contains(&code::LINT_CHAIN_ORDER.id) && wrong.contains(&code::LINT_NEEDLESS_ROOT.id),
        "{wrong:?}"
    );
    assert_eq!(codes(&[leaf.clone(), mid.clone(), root], now()), [code::LINT_NEEDLESS_ROOT.id]);
    // Time.
    let day = 86_400;
    assert_eq!(codes(&chain, now() + 70 * day)[0], code::LINT_EXPIRING.id);
    assert_eq!(codes(&chain, now() + 91 * day)[0], code::LINT_EXPIRED.id);
    assert_eq!(codes(&chain, now() - day)[0], code::LINT_NOT_YET_VALID.id);
}

#[test]
fn each_fault_has_its_code() {
    let pki = Pki::new();
    pki.root("root", "/CN=Root");
    let with_names = |names: &str| {
        SERVER.replace("subjectAltName=DNS:server.example,DNS:*.wild.example,IP:127.0.0.1", names)
    };
    let cases: [(&str, String, &str, &[&str], &Code); 14] = [
        ("P-256", with_names(""), "/CN=web.example", &["-days", "90"], &code::LINT_NO_SAN),
        ("P-256", CA.to_owned(), "/CN=ca", &["-days", "90"], &code::LINT_CA_AS_LEAF),
        ("RSA:1024", SERVER.to_owned(), "/CN=a", &["-days", "90"], &code::LINT_WEAK_KEY),
        ("P-256", SERVER.to_owned(), "/CN=a", &["-days", "90", "-sha1"], &code::LINT_WEAK_SIGNATURE),
        ("P-256", SERVER.to_owned(), "/CN=a", &["-days", "400"], &code::LINT_LIFE_TOO_LONG),
        ("P-256", CLIENT.to_owned(), "/CN=a", &["-days", "2000"], &code::LINT_LIFE_TOO_LONG),
        ("P-256", String::new(), "/CN=a", &["-days", "90"], &code::LINT_X509_V1),
        ("P-256", with_names("subjectAltName=DNS:*.com"), "/CN=a", &["-days", "90"], &code::LINT_WILDCARD),
        ("P-256", with_names("subjectAltName=DNS:w*.a.com"), "/CN=a", &["-days", "90"], &code::LINT_WILDCARD),
        (
            "P-256",
            with_names("subjectAltName=DNS:a_b.com"),
            "/CN=a",
            &["-days", "90"],
            &code::LINT_NAME_MALFORMED,
        ),
        (
            "P-256",
            with_names("subjectAltName=DNS:10.0.0.1"),
            "/CN=a",
            &["-days", "90"],
            &code::LINT_NAME_MALFORMED,
        ),
        ("P-256", SERVER.to_owned(), "/CN=other.example", &["-days", "90"], &code::LINT_COMMON_NAME),
        (
            "P-256",
            CLIENT.replace("URI:spiffe", "URI:https://x,URI:spiffe"),
            "/CN=a",
            &["-days", "90"],
            &code::LINT_SPIFFE_NAMES,
        ),
        (
            "P-256",
            SERVER.replace("digitalSignature", "keyAgreement"),
            "/CN=a",
            &["-days", "9"],
            &code::LINT_USAGE,
        ),
    ];
    for (index, (key, extensions, subject, more, expected)) in cases.iter().enumerate() {
        let name = format!("case{index}");
        pki.key(&name, key);
        let cert = pki.sign(&name, Some("root"), subject, extensions, more);
        let found = codes(&[cert], now());
        assert!(found.contains(&expected.id), "{expected:?} is missing: {found:?}");
    }
    pki.key("self", "P-256");
    let cert = pki.self_signed("self", "/CN=server.example", SERVER, 90);
    assert_eq!(codes(&[cert], now()), [code::LINT_SELF_SIGNED.id]);
}
