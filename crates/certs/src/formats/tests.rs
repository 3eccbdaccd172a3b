use proptest::prelude::*;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::*;
use crate::fixtures::{CA, CLIENT, Pki, run};

/// A leaf with its intermediate, the key as PKCS#8 DER, and the root.
fn chain(kind: &str) -> (Pki, Vec<CertificateDer<'static>>, Vec<u8>, CertificateDer<'static>) {
    let pki = Pki::new();
    let root = pki.root("root", "/CN=Root");
    let intermediate = pki.issue("intermediate", "root", "/CN=Intermediate", CA);
    pki.key("leaf", kind);
    let leaf = pki.sign("leaf", Some("intermediate"), "/CN=leaf", CLIENT, &["-days", "30"]);
    let key = PrivatePkcs8KeyDer::from_pem_file(pki.path("leaf.key")).unwrap();
    (pki, vec![leaf, intermediate], key.secret_pkcs8_der().to_vec(), root)
}

fn only_key(contents: &Contents) -> &[u8] {
    assert_eq!(contents.keys.len(), 1);
    &contents.keys[0].0
}

#[test]
fn pem_survives_what_people_do_to_it() {
    let (pki, chain, key, _) = chain("P-256");
    let text = std::fs::read_to_string(pki.path("leaf.crt")).unwrap();
    let messy = format!(
        "\u{feff}subject=CN = leaf\r\nissuer=x\r\n{}\r\n\r\nsome words\r\n{}",
        text.replace('\n', "\r\n").replace("-----BEGIN", "  -----BEGIN"),
        pem::section("PRIVATE KEY", &key).as_str()
    );
    let contents = read(messy.as_bytes(), None).unwrap();
    assert_eq!(contents.certificates, chain[..1]);
    assert_eq!(only_key(&contents), key);
    assert!(!format!("{contents:?}").contains(&hex::encode(&key[20..40])));
    // Other labels and other kinds of object.
    pki.openssl(&["x509", "-in", "leaf.crt", "-trustout", "-out", "trusted.pem"]);
    let trusted = read(&std::fs::read(pki.path("trusted.pem")).unwrap(), None).unwrap();
    assert_eq!(trusted.certificates, chain[..1]);
    pki.openssl(&["ec", "-in", "leaf.key", "-out", "sec1.pem"]);
    assert_eq!(read(&std::fs::read(pki.path("sec1.pem")).unwrap(), None).unwrap().keys.len(), 1);
    pki.openssl(&["ec", "-in", "leaf.key", "-aes128", "-passout", "pass:x", "-out", "old.pem"]);
    let old = read(&std::fs::read(pki.path("old.pem")).unwrap(), None).unwrap_err();
    assert!(matches!(old, FormatError::Unsupported(_)), "{old}");
    pki.openssl(&["pkcs8", "-topk8", "-in", "leaf.key", "-passout", "pass:x", "-out", "sealed.pem"]);
    assert_eq!(read(&std::fs::read(pki.path("sealed.pem")).unwrap(), None).unwrap().encrypted_keys.len(), 1);
    assert_eq!(read(&std::fs::read(pki.path("leaf.csr")).unwrap(), None).unwrap().requests.len(), 1);
    let crl = pki.crl("root", &[], 3);
    assert_eq!(read(&std::fs::read(pki.path("root.crl")).unwrap(), None).unwrap().crls, [crl]);
}

#[test]
fn a_broken_pem_section_names_its_line() {
    let (pki, ..) = chain("P-256");
    let text = std::fs::read_to_string(pki.path("leaf.crt")).unwrap();
    let cut: String = text.lines().take(4).map(|line| format!("{line}\n")).collect();
    let cases = [
        (format!("\n\n{cut}"), 3, "cut off"),
        (format!("{cut}{text}"), 5, "before CERTIFICATE of line 1 has ended"),
        (text.replace("END CERTIFICATE", "END PRIVATE KEY"), text.lines().count(), "ends"),
        (text.replacen("MII", "M!I", 1), 1, "base64"),
        ("-----END CERTIFICATE-----\n".to_owned(), 1, "without its beginning"),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned(), 1, "empty"),
    ];
    for (text, at, words) in cases {
        let Err(FormatError::Pem { line, what }) = pem::parse(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(line, at, "{what}");
        assert!(what.contains(words), "{what}");
    }
}

#[test]
fn der_is_recognised_by_its_content() {
    let (pki, chain, key, _) = chain("RSA:2048");
    assert_eq!(read(&chain[0], None).unwrap().certificates, chain[..1]);
    assert_eq!(only_key(&read(&key, None).unwrap()), key);
    pki.openssl(&["rsa", "-in", "leaf.key", "-traditional", "-outform", "DER", "-out", "pkcs1.der"]);
    assert_eq!(read(&std::fs::read(pki.path("pkcs1.der")).unwrap(), None).unwrap().keys.len(), 1);
    let csr = pki.openssl(&["req", "-in", "leaf.csr", "-outform", "DER"]);
    assert_eq!(read(&csr, None).unwrap().requests.len(), 1);
    let crl = pki.crl("root", &[], 3);
    assert_eq!(read(&crl, None).unwrap().crls.len(), 1);
    let mut trailing = chain[0].to_vec();
    trailing.push(0);
    assert!(matches!(read(&trailing, None), Err(FormatError::Unknown(_))));
    assert!(matches!(read(b"GIF89a", None), Err(FormatError::Unknown(_))));
    assert!(matches!(read(b"", None), Err(FormatError::Unknown(_))));
}

#[test]
fn openssl_and_keytool_read_our_pkcs12() {
    for kind in ["P-256", "RSA:2048", "ED25519"] {
        let (pki, chain, key, _) = chain(kind);
        let store = pkcs12::write("web", &chain, &key, "pass word").unwrap();
        std::fs::write(pki.path("ours.p12"), store.as_slice()).unwrap();
        let text = pki.openssl(&["pkcs12", "-in", "ours.p12", "-passin", "pass:pass word", "-nodes"]);
        let back = pem::parse(&text).unwrap();
        assert_eq!(only_key(&back), key, "{kind}");
        assert_eq!(back.certificates, chain);
        let listed = run(
            "keytool",
            &["-list", "-v", "-keystore", "ours.p12", "-storetype", "PKCS12", "-storepass", "pass word"],
            pki.dir(),
        );
        let listed = String::from_utf8_lossy(&listed).into_owned();
        assert!(listed.contains("PrivateKeyEntry") && listed.contains("chain length: 2"), "{listed}");
        let ours = read(&store, Some("pass word")).unwrap();
        assert_eq!((only_key(&ours), &ours.certificates), (key.as_slice(), &chain));
        // Java would open no such store.
        assert!(matches!(pkcs12::write("web", &chain, &key, "pässword"), Err(FormatError::Unwritable(_))));
    }
}

#[test]
fn we_read_pkcs12_of_openssl_and_keytool_new_and_old() {
    let (pki, chain, key, _) = chain("P-256");
    std::fs::write(pki.path("inter.pem"), pem::write(&chain[1..])).unwrap();
    let base = ["pkcs12", "-export", "-inkey", "leaf.key", "-in", "leaf.crt", "-certfile", "inter.pem"];
    let out = ["-passout", "pass:secret", "-out", "theirs.p12"];
    let variants: [&[&str]; 4] = [
        &[],
        &["-legacy"],
        &["-legacy", "-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
        &["-certpbe", "AES-128-CBC", "-keypbe", "AES-256-CBC", "-macalg", "sha512", "-iter", "5000"],
    ];
    for more in variants {
        pki.openssl(&[&base[..], &out, more].concat());
        let bytes = std::fs::read(pki.path("theirs.p12")).unwrap();
        assert_eq!(detect(&bytes), Some(Format::Pkcs12));
        let contents = read(&bytes, Some("secret")).unwrap_or_else(|error| panic!("{more:?}: {error}"));
        assert_eq!((only_key(&contents), &contents.certificates), (key.as_slice(), &chain), "{more:?}");
        assert_eq!(read(&bytes, Some("wrong")).unwrap_err(), FormatError::PasswordWrong(Format::Pkcs12));
        assert_eq!(read(&bytes, None).unwrap_err(), FormatError::PasswordMissing(Format::Pkcs12));
    }
    // Known to be closed to us: 128-bit RC2 is refused in words, not garbled.
    pki.openssl(&[&base[..], &out, &["-legacy", "-certpbe", "PBE-SHA1-RC2-128"]].concat());
    let error = read(&std::fs::read(pki.path("theirs.p12")).unwrap(), Some("secret")).unwrap_err();
    assert!(matches!(error, FormatError::Unsupported(_)), "{error}");

    run(
        "keytool",
        &[
            "-genkeypair",
            "-alias",
            "java",
            "-keyalg",
            "EC",
            "-groupname",
            "secp256r1",
            "-dname",
            "CN=java",
            "-keystore",
            "java.p12",
            "-storetype",
            "PKCS12",
            "-storepass",
            "changeit",
        ],
        pki.dir(),
    );
    let contents = read(&std::fs::read(pki.path("java.p12")).unwrap(), Some("changeit")).unwrap();
    assert_eq!((contents.keys.len(), contents.certificates.len()), (1, 1));
}

#[test]
fn keytool_reads_our_jks_and_gives_back_the_same_key() {
    for kind in ["P-256", "RSA:2048"] {
        let (pki, chain, key, root) = chain(kind);
        let store = jks::write("Web", &chain, &key, "changeit", 1_700_000_000).unwrap();
        std::fs::write(pki.path("ours.jks"), store.as_slice()).unwrap();
        run(
            "keytool",
            &[
                "-importkeystore",
                "-srckeystore",
                "ours.jks",
                "-srcstoretype",
                "JKS",
                "-srcstorepass",
                "changeit",
                "-destkeystore",
                "back.p12",
                "-deststoretype",
                "PKCS12",
                "-deststorepass",
                "changeit",
                "-noprompt",
            ],
            pki.dir(),
        );
        let text = pki.openssl(&["pkcs12", "-in", "back.p12", "-passin", "pass:changeit", "-nodes"]);
        let back = pem::parse(&text).unwrap();
        assert_eq!(only_key(&back), key);
        assert_eq!(back.certificates, chain);
        let ours = read(&store, Some("changeit")).unwrap();
        assert_eq!((only_key(&ours), &ours.certificates), (key.as_slice(), &chain));
        assert_eq!(ours.aliases, ["web"]);

        let trust =
            jks::write_truststore(&[("root".to_owned(), root.clone())], "changeit", 1_700_000_000).unwrap();
        std::fs::write(pki.path("trust.jks"), trust.as_slice()).unwrap();
        let listed = run(
            "keytool",
            &["-list", "-keystore", "trust.jks", "-storetype", "JKS", "-storepass", "changeit"],
            pki.dir(),
        );
        assert!(String::from_utf8_lossy(&listed).contains("trustedCertEntry"));
        let trust = pkcs12::write_truststore(&[("root".to_owned(), root.clone())], "changeit").unwrap();
        std::fs::write(pki.path("trust.p12"), trust.as_slice()).unwrap();
        let listed = run(
            "keytool",
            &["-list", "-keystore", "trust.p12", "-storetype", "PKCS12", "-storepass", "changeit"],
            pki.dir(),
        );
        assert!(String::from_utf8_lossy(&listed).contains("trustedCertEntry"));
        assert_eq!(read(&trust, Some("changeit")).unwrap().certificates, [root]);
    }
}

#[test]
fn we_read_the_jks_of_keytool_and_refuse_jceks_in_words() {
    let pki = Pki::new();
    for (file, kind) in [("java.jks", "JKS"), ("java.jceks", "JCEKS")] {
        run(
            "keytool",
            &[
                "-genkeypair",
                "-alias",
                "java",
                "-keyalg",
                "RSA",
                "-keysize",
                "2048",
                "-dname",
                "CN=java",
                "-keystore",
                file,
                "-storetype",
                kind,
                "-storepass",
                "changeit",
                "-keypass",
                "changeit",
            ],
            pki.dir(),
        );
    }
    let bytes = std::fs::read(pki.path("java.jks")).unwrap();
    let contents = read(&bytes, Some("changeit")).unwrap();
    assert_eq!((contents.keys.len(), contents.certificates.len()), (1, 1));
    assert_eq!(read(&contents.keys[0].0, None).unwrap().keys.len(), 1, "the key is PKCS#8");
    assert_eq!(read(&bytes, Some("wrong!")).unwrap_err(), FormatError::PasswordWrong(Format::Jks));
    let closed = read(&bytes, None).unwrap();
    assert_eq!((closed.keys.len(), closed.encrypted_keys.len(), closed.certificates.len()), (0, 1, 1));
    let jceks = read(&std::fs::read(pki.path("java.jceks")).unwrap(), Some("changeit")).unwrap_err();
    assert!(jceks.to_string().contains("JCEKS"), "{jceks}");
}

#[test]
fn combined_files_hold_one_key_and_its_chain() {
    let (_, chain, key, _) = chain("P-256");
    let text = combined::write(&chain, &key);
    let contents = combined::parse(text.as_bytes()).unwrap();
    assert_eq!((only_key(&contents), &contents.certificates), (key.as_slice(), &chain));
    assert!(combined::parse(pem::write(&chain).as_bytes()).is_err());
    assert!(combined::parse(pem::section("PRIVATE KEY", &key).as_bytes()).is_err());
    assert!(combined::parse(format!("{}{}", text.as_str(), text.as_str()).as_bytes()).is_err());
}

#[test]
fn stores_that_were_cut_or_altered_are_refused() {
    let (_, chain, key, _) = chain("P-256");
    let jks = jks::write("web", &chain, &key, "pw", 0).unwrap();
    for cut in [0, 3, 4, 12, 30, jks.len() / 2, jks.len() - 1] {
        assert!(jks::parse(&jks[..cut], Some("pw")).is_err());
        assert!(jks::parse(&jks[..cut], None).is_err());
    }
    // A count that promises more than there is.
    let mut liar = jks.to_vec();
    liar[8..12].copy_from_slice(&[0xff; 4]);
    assert!(jks::parse(&liar, None).is_err());
    let p12 = pkcs12::write("web", &chain, &key, "pw").unwrap();
    for at in (0..p12.len()).step_by(p12.len() / 12) {
        let mut altered = p12.to_vec();
        altered[at] ^= 1;
        if let Ok(contents) = pkcs12::parse(&altered, Some("pw")) {
            assert_eq!(contents.certificates, chain, "an altered store gave other certificates");
        }
    }
}

#[test]
fn too_large_a_file_is_not_read() {
    assert!(matches!(read(&vec![b'\n'; MAX_BYTES + 1], None), Err(FormatError::TooLarge(_))));
    let many = "-----BEGIN X-----\nAAAA\n-----END X-----\n".repeat(10);
    assert_eq!(pem::parse(many.as_bytes()).unwrap().ignored.len(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn garbage_never_panics(
        start in proptest::sample::select(vec![
            &b""[..], b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01", b"\x30\x82\x01\x00\x02\x01\x03\x30",
            b"-----BEGIN CERTIFICATE-----\n", b"\x30\x82\x01\x00", b"\x30\x20\x02\x01\x00\x30\x05\x06\x03",
        ]),
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start, &rest].concat();
        let _ = read(&bytes, None);
        let _ = read(&bytes, Some("x"));
        let _ = (pem::parse(&bytes), der::parse(&bytes), jks::parse(&bytes, None), pkcs12::parse(&bytes, None));
        let _ = (crate::inspect::certificate(&bytes), crate::inspect::revocation_list(&bytes));
        let _ = crate::inspect::request(&bytes);
    }
}
