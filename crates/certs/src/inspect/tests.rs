use super::*;
use crate::fixtures::{CA, CLIENT, Pki, SERVER};

#[test]
fn it_agrees_with_openssl() {
    let pki = Pki::new();
    pki.root("root", "/CN=Root/O=Örg");
    let constrained = format!(
        "{CA}nameConstraints=critical,permitted;DNS:in.example,permitted;IP:10.0.0.0/255.0.0.0,excluded;DNS:no.in.example\n"
    )
    .replace("CA:TRUE", "CA:TRUE,pathlen:0");
    let ca = certificate(&pki.issue("ca", "root", "/CN=Mid", &constrained)).unwrap();
    assert!(ca.is_ca && !ca.self_issued);
    assert_eq!(ca.path_length, Some(0));
    let permitted: Vec<_> = ca.permitted.iter().map(ToString::to_string).collect();
    assert_eq!(permitted, ["DNS:in.example", "IP:10.0.0.0/8"]);
    assert_eq!(ca.excluded, [Name::Dns("no.in.example".into())]);
    assert_eq!(ca.key_usage, ["keyCertSign", "cRLSign"]);

    let more = format!(
        "{SERVER}crlDistributionPoints=URI:http://crl.example/a.crl\n\
        authorityInfoAccess=OCSP;URI:http://ocsp.example,caIssuers;URI:http://ca.example/a.crt\n"
    );
    let seen = certificate(&pki.issue("leaf", "root", "/CN=leaf", &more)).unwrap();
    let print = |what: &[&str]| {
        let args = [&["x509", "-in", "leaf.crt", "-noout"], what].concat();
        String::from_utf8(pki.openssl(&args)).unwrap().trim().to_lowercase()
    };
    assert_eq!(print(&["-serial"]), format!("serial={}", seen.serial));
    for (option, ours) in [("-sha256", &seen.fingerprint_sha256), ("-sha1", &seen.fingerprint_sha1)] {
        let theirs = print(&["-fingerprint", option]).replace(':', "");
        assert!(theirs.ends_with(ours.as_str()), "{theirs} {ours}");
    }
    let theirs = print(&["-ext", "subjectKeyIdentifier"]).replace([':', '\n'], "");
    assert!(theirs.ends_with(seen.subject_key_id.as_deref().unwrap()), "{theirs}");
    let spki = pki.openssl(&["pkey", "-in", "leaf.key", "-pubout", "-outform", "DER"]);
    assert_eq!(seen.spki_pin, pin(&spki));
    let names: Vec<_> = seen.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["DNS:server.example", "DNS:*.wild.example", "IP:127.0.0.1"]);
    assert_eq!((seen.key.as_str(), seen.signature.as_str()), ("EC P-256", "SHA-256 with ECDSA"));
    assert_eq!(seen.extended_key_usage, ["serverAuth"]);
    assert_eq!(seen.crl_urls, ["http://crl.example/a.crl"]);
    assert_eq!(seen.ocsp_urls, ["http://ocsp.example"]);
    assert_eq!(seen.issuer_urls, ["http://ca.example/a.crt"]);
    assert_eq!((seen.version, seen.common_name.as_deref()), (3, Some("leaf")));
    assert!(seen.not_after_unix - seen.not_before_unix == 90 * 86_400);
    let json = serde_json::to_value(&seen).unwrap();
    assert_eq!(json["names"][2], "IP:127.0.0.1");

    let client = certificate(&pki.issue("client", "root", "/CN=client", CLIENT)).unwrap();
    assert_eq!(client.spiffe_id.as_deref(), Some("spiffe://cluster.local/ns/local/sa/client"));
    let two = CLIENT.replace("URI:spiffe", "URI:https://x,URI:spiffe");
    assert_eq!(certificate(&pki.issue("two", "root", "/CN=two", &two)).unwrap().spiffe_id, None);
}

#[test]
fn requests_and_lists_are_read() {
    let pki = Pki::new();
    pki.root("root", "/CN=Root");
    pki.issue("leaf", "root", "/CN=leaf", CLIENT);
    pki.openssl(&[
        "req",
        "-new",
        "-key",
        "leaf.key",
        "-subj",
        "/CN=asks",
        "-addext",
        "subjectAltName=DNS:a.example",
        "-addext",
        "basicConstraints=CA:TRUE",
        "-outform",
        "DER",
        "-out",
        "asks.der",
    ]);
    let asks = request(&std::fs::read(pki.path("asks.der")).unwrap()).unwrap();
    assert!(asks.wants_ca);
    assert_eq!(
        (asks.subject.as_str(), asks.names.as_slice()),
        ("CN=asks", &[Name::Dns("a.example".into())][..])
    );

    let leaf = certificate(&pki.cert("leaf")).unwrap();
    let list = revocation_list(&pki.crl("root", &["leaf"], 7)).unwrap();
    assert_eq!((list.issuer.as_str(), list.number.as_deref()), ("CN=Root", Some("1")));
    assert_eq!(list.revoked.len(), 1);
    assert_eq!(list.revoked[0].serial.trim_start_matches("00"), leaf.serial.trim_start_matches("00"));
    assert!(list.next_update_unix.is_some());
    assert!(certificate(b"").is_err() && request(b"\x30\x00").is_err() && revocation_list(b"x").is_err());
}

#[test]
fn life_is_told_in_words() {
    let day = 86_400;
    let cert = Certificate { not_before_unix: 0, not_after_unix: 90 * day, ..Certificate::default() };
    assert_eq!(cert.life(87 * day), "expires in 3 days");
    assert_eq!(cert.life(90 * day - 90), "expires in 90 seconds");
    assert_eq!(cert.life(90 * day), "expires in 0 seconds");
    assert_eq!(cert.life(90 * day + 7_200), "expired 2 hours ago");
    assert_eq!(cert.life(-300), "not valid yet, valid in 5 minutes");
    assert_eq!(expiry(10 * 365 * day, 0), "expires in 10 years");
    assert!(expiry(i64::MAX, i64::MIN).starts_with("expires in"));
}
