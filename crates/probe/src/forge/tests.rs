use num_bigint::BigUint;
use rustls_pki_types::UnixTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{Digest, Purpose};
use super::*;
use certs::verify::{Options, Trust, verify};
use model::codes::refusals;

/// The code for which our own verifier refuses the chain; `None` when it is good.
fn refused(issuer: &Issuer, client: &ClientIdentity) -> Option<&'static str> {
    let trust = Trust::new(&issuer.chain[issuer.chain.len() - 1..]).unwrap();
    verify(client.chain(), &trust, &Options::client(UnixTime::now())).err().map(|r| r.code.id)
}

type Change<'a> = &'a dyn Fn(&mut Draft);

#[test]
fn each_bad_certificate_is_bad_in_its_own_way_only() {
    let root = Issuer::unknown("forge test root").unwrap();
    let day = time::Duration::days(1);
    assert_eq!(refused(&root, &root.issue(|_| {}).unwrap()), None);
    let cases: [(&str, &str, Change<'_>); 6] = [
        ("expired", refusals::CERTIFICATE_EXPIRED.id, &|d| {
            d.not_before -= day * 30;
            d.not_after -= day;
        }),
        ("not yet valid", refusals::CERTIFICATE_NOT_YET_VALID.id, &|d| {
            d.not_before += day;
            d.not_after += day * 2;
        }),
        ("wrong usage", refusals::WRONG_USAGE.id, &|d| d.purpose = Purpose::Server),
        ("version 1", refusals::X509_V1.id, &|d| d.version = 1),
        ("critical", refusals::BAD_CERTIFICATE.id, &|d| d.unknown_critical = true),
        ("sha-1", refusals::WEAK_SIGNATURE.id, &|d| d.digest = Digest::Sha1),
    ];
    for (name, code, change) in cases {
        assert_eq!(refused(&root, &root.issue(change).unwrap()), Some(code), "{name}");
    }
    let weak = rsa1024::client(&root).unwrap();
    assert_eq!(refused(&root, &weak), Some(refusals::WEAK_KEY.id));
    assert_eq!(refused(&root, &self_signed().unwrap()), Some(refusals::UNKNOWN_ISSUER.id));
}

#[test]
fn a_weak_key_signs_what_its_public_key_verifies() {
    let key = rsa1024::WeakRsa::generate().unwrap();
    let spki = key.public_key();
    let (_, parsed) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&spki).unwrap();
    let Ok(x509_parser::public_key::PublicKey::RSA(rsa)) = parsed.parsed() else { panic!("no RSA key") };
    assert_eq!(rsa.key_size(), 1024);
    let schemes = [rustls::SignatureScheme::RSA_PKCS1_SHA256];
    let signer = rustls::sign::SigningKey::choose_scheme(&key, &schemes).unwrap();
    let signature = signer.sign(b"message").unwrap();
    let opened = BigUint::from_bytes_be(&signature)
        .modpow(&BigUint::from(65537u32), &BigUint::from_bytes_be(rsa.modulus));
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"message");
    assert_eq!(opened, BigUint::from_bytes_be(&rsa1024::pkcs1(hash.as_ref())));
}

#[test]
fn a_sha1_signature_is_a_real_one() {
    // A wrong signature would be refused for the wrong reason, and the row would prove nothing.
    let Some(openssl) = testkit::find_program("openssl") else {
        return testkit::skipped("openssl is not installed");
    };
    let root = Issuer::unknown("forge test root").unwrap();
    let leaf = root.issue(|draft| draft.digest = Digest::Sha1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, der) in [("root", &root.chain[0]), ("leaf", &leaf.chain()[0])] {
        std::fs::write(dir.path().join("der"), der).unwrap();
        let mut convert = std::process::Command::new(&openssl);
        convert.current_dir(dir.path()).args(["x509", "-inform", "der", "-in", "der", "-out", name]);
        assert!(convert.status().unwrap().success());
    }
    let run = |level: &str| {
        std::process::Command::new(&openssl)
            .current_dir(dir.path())
            .args(["verify", "-auth_level", level, "-CAfile", "root", "leaf"])
            .output()
            .unwrap()
    };
    assert!(run("0").status.success(), "{:?}", run("0"));
    assert!(!run("2").status.success(), "{:?}", run("2"));
}

#[test]
fn an_authority_is_checked_before_it_is_used() {
    let root = Issuer::unknown("forge test root").unwrap();
    let below = root.subordinate("forge test last", Some(0)).unwrap();
    assert!(below.is_last() && !below.is_root() && root.is_root() && !root.is_last());
    let (_, parsed) = X509Certificate::from_der(&below.chain[0]).unwrap();
    assert!(parsed.is_ca());
    for (chain, key) in [("", ""), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x")] {
        assert!(Issuer::from_pem(chain.as_bytes(), key.as_bytes()).is_err());
    }
}
