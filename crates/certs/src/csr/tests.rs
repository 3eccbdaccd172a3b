use proptest::prelude::*;
use rcgen::CertificateParams;

use super::*;
use crate::key::{KeyKind, PrivateKey};

fn made(kind: KeyKind) -> (Vec<u8>, PrivateKey) {
    let key = PrivateKey::generate(kind).unwrap();
    let params = CertificateParams::new(vec!["web.test".to_owned()]).unwrap();
    (params.serialize_request(&key).unwrap().der().to_vec(), key)
}

#[test]
fn what_a_request_asks_for_is_shown_and_its_key_is_taken() {
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa(2048)] {
        let (der, key) = made(kind);
        let csr = Csr::parse(&der).unwrap();
        assert_eq!(csr.names, [AltName::Dns("web.test".into())]);
        assert_eq!(csr.public_key().subject_public_key_info(), key.public_key_info());
    }
}

#[test]
fn a_changed_request_is_refused() {
    let (der, _) = made(KeyKind::P256);
    let at = der.windows(8).position(|window| window == b"web.test").unwrap();
    let mut changed = der.clone();
    changed[at] = b'x';
    assert!(matches!(Csr::parse(&changed), Err(Error::Csr(why)) if why.contains("signature")));
    assert!(Csr::parse(&der[..der.len() - 1]).is_err());
    assert!(Csr::parse(&[der.as_slice(), b"x"].concat()).is_err());
    assert!(Csr::parse(&vec![0x30; LARGEST + 1]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Csr::parse(&bytes).is_err());
    }
}
