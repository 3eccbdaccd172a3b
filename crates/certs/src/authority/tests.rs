use super::*;
use crate::request::AltName;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn web() -> Request {
    Request::new("web").with(AltName::dns("web.test").unwrap())
}

#[test]
fn what_is_issued_is_in_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap();
    let issued = ca.issue(&web(), "somebody", now()).unwrap();
    drop(ca);
    let ca = Authority::open(dir.path()).unwrap();
    let record = ca.ledger().by_serial(&issued.serial).unwrap().unwrap();
    assert_eq!((record.der, record.who.as_str()), (issued.leaf_der, "somebody"));
    assert!(ca.root_pem().unwrap().contains("BEGIN CERTIFICATE"));
    assert_eq!(ca.root_pem().unwrap(), ca.trust_bundle_pem().unwrap());
}

#[test]
fn a_second_authority_in_one_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap());
    let again = Authority::init(dir.path(), &InitOptions::default(), "me", now());
    assert!(matches!(again, Err(Error::Exists(_))));
}

#[test]
fn a_leaf_never_outlives_its_issuer() {
    let dir = tempfile::tempdir().unwrap();
    let options = InitOptions { intermediate_lifetime: Duration::days(10), ..InitOptions::default() };
    let mut ca = Authority::init(dir.path(), &options, "me", now()).unwrap();
    let issued = ca.issue(&web(), "me", now()).unwrap();
    assert!(issued.shortened);
    assert_eq!(issued.record.not_after, ca.issuer().certificate.not_after);
    let late = ca.issue(&web(), "me", now() + Duration::days(11));
    assert!(matches!(late, Err(Error::IssuerExpired { .. })));
}

#[test]
fn a_clock_before_the_authority_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap();
    let early = ca.issue(&web(), "me", OffsetDateTime::UNIX_EPOCH);
    assert!(matches!(early, Err(Error::Clock { .. })));
}

#[test]
fn without_the_root_key_leaves_are_issued_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    drop(Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap());
    std::fs::remove_dir_all(dir.path().join("root")).unwrap();
    let mut ca = Authority::open(dir.path()).unwrap();
    ca.issue(&web(), "me", now()).unwrap();
    let intermediate = ca.issuer().certificate.serial.clone();
    let refused = ca.revoke(&intermediate, crate::Reason::CaCompromise, "me", now());
    assert!(matches!(refused, Err(Error::RootOffline(_))));
}

#[test]
fn a_key_of_another_authority_is_noticed() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &two] {
        drop(Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap());
    }
    let key = "authorities/intermediate-1.key";
    std::fs::copy(one.path().join(key), two.path().join(key)).unwrap();
    assert!(matches!(Authority::open(two.path()), Err(Error::KeyMismatch(_))));
}

#[test]
fn what_was_issued_shows_no_key_in_its_debug_form() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap();
    let issued = ca.issue(&web(), "me", now()).unwrap();
    let secret: String = issued.key_pem.as_ref().unwrap().lines().nth(1).unwrap().to_owned();
    let shown = format!("{issued:?}");
    assert!(shown.contains("web.test") && !shown.contains(&secret) && !shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn texts_that_cannot_stand_in_a_certificate_are_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("ca");
    let long = "x".repeat(300);
    let url = |text: &str| InitOptions { crl_url: Some(text.to_owned()), ..InitOptions::default() };
    let organization =
        |text: &str| InitOptions { organization: Some(text.to_owned()), ..InitOptions::default() };
    for bad in
        ["http://\u{fc}n\u{ef}.test/x", "not a url", "ftp://a/", "http:///x", "http://a b/", "http://a/?q"]
    {
        assert!(matches!(Authority::init(&at, &url(bad), "me", now()), Err(Error::Request(_))), "{bad}");
    }
    for bad in ["", "a\nb", "\u{1b}[31m", &long] {
        assert!(
            matches!(Authority::init(&at, &organization(bad), "me", now()), Err(Error::Request(_))),
            "{bad}"
        );
    }
    assert!(!at.exists());
    for good in ["http://crl.example.com/", "http://127.0.0.1:8000/lists", "http://[::1]/"] {
        url(good).check().unwrap();
    }
}

#[test]
fn a_key_of_the_authority_that_cannot_be_used_is_named_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    drop(Authority::init(dir.path(), &InitOptions::default(), "me", now()).unwrap());
    let path = Layout::new(dir.path()).key("intermediate-1");
    for text in ["nothing".to_owned(), PrivateKey::generate(KeyKind::P256).unwrap().to_pem().to_string()] {
        crate::write_private(&path, text.as_bytes()).unwrap();
        let error = Authority::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("intermediate-1.key"), "{error}");
    }
}
