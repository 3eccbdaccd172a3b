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
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::P521, KeyKind::Ed25519, KeyKind::Rsa(2048)] {
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

/// Made by OpenSSL, which writes each of these a little differently than we do.
#[test]
fn requests_of_openssl_are_verified_and_kinds_that_are_not_taken_are_called_so() {
    let pki = crate::fixtures::Pki::new();
    let make = |name: &str, kind: &[&str], sign: &[&str]| {
        let (key, csr) = (format!("{name}.key"), format!("{name}.csr"));
        pki.openssl(&[&["genpkey", "-out", &key][..], kind].concat());
        pki.openssl(&[&["req", "-new", "-subj", "/CN=x", "-key", &key, "-out", &csr][..], sign].concat());
        Csr::parse(&std::fs::read(pki.path(&csr)).unwrap())
    };
    let curve = |name: &str| {
        ["-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{name}")].map(str::to_owned)
    };
    let curved = |name: &str, digest: &str| {
        let kind = curve(name);
        let kind: Vec<&str> = kind.iter().map(String::as_str).collect();
        make(&format!("{name}{digest}"), &kind, &[&format!("-{digest}")])
    };
    for (name, digest) in [("P-256", "sha256"), ("P-384", "sha384"), ("P-521", "sha512"), ("P-521", "sha256")]
    {
        curved(name, digest).unwrap();
    }
    make("rsa", &["-algorithm", "RSA"], &[]).unwrap();
    make(
        "pss",
        &["-algorithm", "RSA"],
        &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"],
    )
    .unwrap();
    make("ed25519", &["-algorithm", "ED25519"], &[]).unwrap();
    let why = |result: Result<Csr>| result.unwrap_err().to_string();
    assert!(why(curved("P-224", "sha256")).contains("P-224"));
    assert!(why(make("ed448", &["-algorithm", "ED448"], &[])).contains("Ed448"));
    assert!(why(make("sha1", &["-algorithm", "RSA"], &["-sha1"])).contains("algorithm"));
    let small = make("small", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], &[]);
    assert!(matches!(small, Err(Error::WeakKey(_))));
}

#[test]
fn a_request_of_our_own_is_read_by_us_and_by_openssl() {
    let key = crate::PrivateKey::generate(crate::KeyKind::P256).unwrap();
    let name = AltName::uri("spiffe://cluster.local/ns/shop/sa/web").unwrap();
    let pem = Csr::request(&key, std::slice::from_ref(&name)).unwrap();
    let read = Csr::parse(pem.as_bytes()).unwrap();
    assert_eq!((read.names.as_slice(), read.subject.as_str()), ([name].as_slice(), ""));
    assert!(read.other.is_empty(), "{:?}", read.other);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let path = file.path().to_str().unwrap();
    let shown = std::process::Command::new("openssl")
        .args(["req", "-in", path, "-verify", "-noout", "-text"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned() + &String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success() && text.contains("verify OK"), "{text}");
    assert!(text.contains("URI:spiffe://cluster.local/ns/shop/sa/web"), "{text}");
}
