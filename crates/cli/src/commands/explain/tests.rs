use super::*;

#[test]
fn codes_addresses_and_texts_are_told_apart() {
    for code in ["HF3001", "hf3001"] {
        assert!(matches!(subject(code), Ok(Subject::Code(found)) if found.id == "HF3001"), "{code}");
    }
    for address in ["localhost", "localhost:8443", "example.com", "https://example.com/x", "127.0.0.1:443"] {
        assert!(matches!(subject(address), Ok(Subject::Address(_))), "{address}");
    }
    for text in [
        "javax.net.ssl.SSLHandshakeException",
        "java.security.cert.CertificateExpiredException",
        "ssl.SSLCertVerificationError",
        "x509.UnknownAuthorityError",
    ] {
        assert!(matches!(subject(text), Ok(Subject::Text(_))), "{text}");
        assert!(probe::explain::text(text).is_some(), "{text}");
    }
    for text in ["ECONNREFUSED", "NET::ERR_CERT_DATE_INVALID", "certificate has expired", "unknown_ca"] {
        assert!(matches!(subject(text), Ok(Subject::Text(_))), "{text}");
    }
    assert!(subject("HF0000").is_err());
    assert!(subject("  ").is_err());
}

#[test]
fn a_pasted_text_may_begin_with_a_hyphen_and_an_option_stays_one() {
    let given =
        ["handfast", "-o", "json", "explain", "- Status: NOT trusted", "--tls12", "--ca=a b", "-ojson"];
    let read: Vec<_> = pasted(given.map(OsString::from)).collect();
    let wanted =
        ["handfast", "-o", "json", "explain", " - Status: NOT trusted", "--tls12", "--ca=a b", "-ojson"];
    assert_eq!(read, wanted.map(OsString::from));
}
