use super::*;

/// Text, as the program prints it, and the cause that it must be recognised as.
const KNOWN: &[(&str, &str)] = &[
    // OpenSSL
    ("verify error:num=18:self-signed certificate", "self-signed"),
    ("verify error:num=19:self-signed certificate in certificate chain", "self-signed-in-chain"),
    ("verify error:num=20:unable to get local issuer certificate", "unknown-issuer"),
    ("verify error:num=21:unable to verify the first certificate", "intermediate-missing"),
    ("Verify return code: 10 (certificate has expired)", "expired"),
    (
        "error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:ssl/record/rec_layer_s3.c:1584:SSL alert number 116",
        "certificate-required",
    ),
    (
        "error:0A000418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:ssl/record/rec_layer_s3.c:1584:SSL alert number 48",
        "peer-unknown-ca",
    ),
    (
        "error:0A000410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure:SSL alert number 40",
        "handshake-failure",
    ),
    ("error:0A0000C1:SSL routines:tls_post_process_client_hello:no shared cipher", "no-shared-cipher"),
    ("error:0A00010B:SSL routines:ssl3_get_record:wrong version number", "not-tls"),
    (
        "error:0A000102:SSL routines:tls_early_post_process_client_hello:unsupported protocol",
        "protocol-version",
    ),
    ("error:05800074:x509 certificate routines:X509_check_private_key:key values mismatch", "key-mismatch"),
    ("error:0480006C:PEM routines:get_name:no start line", "not-pem"),
    (
        "error:0A000415:SSL routines:ssl3_read_bytes:sslv3 alert certificate expired:SSL alert number 45",
        "peer-says-expired",
    ),
    (
        "error:0A000414:SSL routines:ssl3_read_bytes:sslv3 alert certificate revoked:SSL alert number 44",
        "peer-says-revoked",
    ),
    (
        "error:0A000413:SSL routines:ssl3_read_bytes:sslv3 alert unsupported certificate:SSL alert number 43",
        "peer-says-wrong-usage",
    ),
    ("remote error: tls: expired certificate", "peer-says-expired"),
    ("remote error: tls: revoked certificate", "peer-says-revoked"),
    ("received fatal alert: CertificateExpired", "peer-says-expired"),
    ("javax.net.ssl.SSLHandshakeException: Received fatal alert: certificate_expired", "peer-says-expired"),
    ("javax.net.ssl.SSLHandshakeException", "exception-name"),
    // curl
    ("curl: (60) SSL: no alternative certificate subject name matches target host name 'x'", "name-mismatch"),
    ("curl: (60) SSL certificate problem: unable to get local issuer certificate", "unknown-issuer"),
    (
        "curl: (56) OpenSSL SSL_read: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0",
        "certificate-required",
    ),
    ("curl: (7) Failed to connect to localhost port 1 after 0 ms: Couldn't connect to server", "refused"),
    ("curl: (6) Could not resolve host: nowhere.invalid", "dns"),
    // Go
    ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "unknown-issuer"),
    ("x509: certificate is valid for app.test, not other.test", "name-mismatch"),
    ("x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs", "no-san"),
    (
        "x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is after 2025-01-01T00:00:00Z",
        "expired",
    ),
    (
        "x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is before 2027-01-01T00:00:00Z",
        "not-yet-valid",
    ),
    ("remote error: tls: certificate required", "certificate-required"),
    ("remote error: tls: unknown certificate authority", "peer-unknown-ca"),
    ("remote error: tls: bad certificate", "peer-bad-certificate"),
    ("http: server gave HTTP response to HTTPS client", "not-tls"),
    ("x509: certificate relies on legacy Common Name field, use SANs instead", "no-san"),
    ("x509: certificate specifies an incompatible key usage", "wrong-usage"),
    ("tls: private key does not match public key", "key-mismatch"),
    ("tls: no application protocol", "no-alpn"),
    // Java
    (
        "PKIX path building failed: sun.security.provider.certpath.SunCertPathBuilderException: unable to find valid certification path to requested target",
        "unknown-issuer",
    ),
    (
        "javax.net.ssl.SSLHandshakeException: No subject alternative DNS name matching x found.",
        "name-mismatch",
    ),
    (
        "javax.net.ssl.SSLHandshakeException: (certificate_required) Received fatal alert: certificate_required",
        "certificate-required",
    ),
    ("javax.net.ssl.SSLException: Unsupported or unrecognized SSL message", "not-tls"),
    ("java.security.cert.CertificateExpiredException: NotAfter: Mon Nov 23 00:00:00 UTC 2026", "expired"),
    (
        "java.security.InvalidAlgorithmParameterException: the trustAnchors parameter must be non-empty",
        "key-store",
    ),
    // Node
    (
        "Error: self-signed certificate in certificate chain code: 'SELF_SIGNED_CERT_IN_CHAIN'",
        "self-signed-in-chain",
    ),
    ("code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'", "intermediate-missing"),
    (
        "Error [ERR_TLS_CERT_ALTNAME_INVALID]: Hostname/IP does not match certificate's altnames",
        "name-mismatch",
    ),
    ("Error: connect ECONNREFUSED 127.0.0.1:1", "refused"),
    // Python
    (
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:1006)",
        "unknown-issuer",
    ),
    (
        "certificate verify failed: Hostname mismatch, certificate is not valid for 'x'. (_ssl.c:1129)",
        "name-mismatch",
    ),
    ("ssl.SSLEOFError: EOF occurred in violation of protocol (_ssl.c:2427)", "closed"),
    // nginx
    (
        "client SSL certificate verify error: (10:certificate has expired) while reading client request headers",
        "expired",
    ),
    ("client sent no required SSL certificate while reading client request headers", "certificate-required"),
    ("400 The SSL certificate error", "client-certificate-rejected"),
    ("400 The plain HTTP request was sent to HTTPS port", "plain-http-to-tls-port"),
    ("bind() to 0.0.0.0:443 failed (98: Address already in use)", "port-in-use"),
    (
        "cannot load certificate \"/x.crt\": BIO_new_file() failed (SSL: error:80000002:system library::No such file or directory)",
        "file-missing",
    ),
    // rustls
    ("invalid peer certificate: UnknownIssuer", "unknown-issuer"),
    (
        "invalid peer certificate: certificate not valid for name \"x\"; certificate is only valid for DnsName(\"a\")",
        "name-mismatch",
    ),
    ("received fatal alert: CertificateRequired", "certificate-required"),
    ("received corrupt message of type InvalidContentType", "not-tls"),
    ("peer closed connection without sending TLS close_notify: https://docs.rs/rustls", "truncated"),
    // GnuTLS
    ("*** Fatal error: An unexpected TLS packet was received.", "not-tls"),
    ("- Status: The certificate is NOT trusted. The certificate issuer is unknown.", "unknown-issuer"),
    (
        "- Status: The certificate is NOT trusted. The name in the certificate does not match the expected.",
        "name-mismatch",
    ),
    ("- Status: The certificate is NOT trusted. The certificate chain uses expired certificate.", "expired"),
    ("*** Fatal error: A TLS fatal alert has been received. Certificate is required", "certificate-required"),
    ("*** Received alert [48]: CA is unknown", "peer-unknown-ca"),
    ("*** Received alert [70]: Error in protocol version", "protocol-version"),
    ("FileNotFoundError: [Errno 2] No such file or directory", "file-missing"),
    // browsers
    ("NET::ERR_CERT_AUTHORITY_INVALID", "unknown-issuer"),
    ("NET::ERR_CERT_COMMON_NAME_INVALID", "name-mismatch"),
    ("NET::ERR_CERT_DATE_INVALID", "expired"),
    ("ERR_SSL_VERSION_OR_CIPHER_MISMATCH", "no-shared-cipher"),
    ("ERR_BAD_SSL_CLIENT_AUTH_CERT", "certificate-required"),
    ("SEC_ERROR_UNKNOWN_ISSUER", "unknown-issuer"),
    ("SSL_ERROR_RX_RECORD_TOO_LONG", "not-tls"),
    ("MOZILLA_PKIX_ERROR_SELF_SIGNED_CERT", "self-signed"),
];

#[test]
fn the_texts_of_ten_programs_are_recognised() {
    let wrong: Vec<_> = KNOWN
        .iter()
        .filter_map(|(pasted, cause)| {
            let found = text(pasted).map(|found| found.id);
            (found != Some(*cause)).then(|| format!("{pasted}: {found:?}, not {cause}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut causes: Vec<_> = KNOWN.iter().map(|(_, cause)| cause).collect();
    causes.sort_unstable();
    causes.dedup();
    assert!(causes.len() >= 25, "{}", causes.len());
}

#[test]
fn the_table_is_in_lower_case_and_says_what_to_do() {
    assert!(CAUSES.len() >= 40);
    for cause in CAUSES {
        assert!(!cause.texts.is_empty() && !cause.commands.is_empty(), "{}", cause.id);
        assert!(cause.cause.len() > 15 && cause.fix.len() > 5, "{}", cause.id);
        for wanted in cause.texts {
            assert_eq!(*wanted, wanted.to_lowercase(), "{}", cause.id);
            assert!(!wanted.is_empty());
        }
    }
}

#[test]
fn what_is_no_tls_error_is_not_explained() {
    for pasted in ["", "hello world", "the typeof operator", "everything went fine"] {
        assert!(text(pasted).is_none(), "{pasted}");
    }
    assert!(text(&"é".repeat(100_000)).is_none());
}

#[test]
fn alerts_are_found_by_number_and_name() {
    assert_eq!(alert_in("SSL alert number 116"), Some(Alert(116)));
    assert_eq!(alert_in("Received fatal alert: bad_certificate"), Some(Alert(42)));
    assert_eq!(alert_in("received fatal alert: HandshakeFailure"), Some(Alert(40)));
    assert_eq!(alert_in("*** Received alert [70]: Error in protocol version"), Some(Alert(70)));
    assert_eq!(alert_in("alert number 9999"), None);
    assert_eq!(alert_in("hello"), None);
}
