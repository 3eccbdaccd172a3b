use super::*;

#[test]
fn every_kind_is_made_written_and_read_back() {
    for kind in KeyKind::OFFERED {
        let kind: KeyKind = kind.parse().unwrap();
        let key = PrivateKey::generate(kind).unwrap();
        let back = PrivateKey::from_pem(&key.to_pem(), None).unwrap();
        assert_eq!((back.kind(), back.pkcs8_der()), (kind, key.pkcs8_der()));
        assert_eq!(kind.to_string().parse::<KeyKind>().unwrap(), kind);
    }
}

#[test]
fn an_encrypted_key_opens_with_its_password_only() {
    let key = PrivateKey::generate(KeyKind::P256).unwrap();
    let sealed = key.to_encrypted_pem(b"correct horse").unwrap();
    let back = PrivateKey::from_pem(&sealed, Some(b"correct horse")).unwrap();
    assert_eq!(back.pkcs8_der(), key.pkcs8_der());
    for password in [None, Some(&b"wrong"[..]), Some(b"")] {
        assert!(matches!(PrivateKey::from_pem(&sealed, password), Err(Error::Password(_))));
    }
}

#[test]
fn a_key_never_shows_itself() {
    let key = PrivateKey::generate(KeyKind::Ed25519).unwrap();
    assert_eq!(format!("{key:?}"), "PrivateKey(ed25519)");
}

#[test]
fn what_is_no_key_is_refused() {
    for text in ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert!(matches!(PrivateKey::from_pem(text, None), Err(Error::Key(_))), "{text:?}");
    }
    assert!("rsa1024".parse::<KeyKind>().is_err());
}
