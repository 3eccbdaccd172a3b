//! Rows about the client's certificate.

use model::codes::refusals;
use testkit::clients::{Client, Version};

use crate::row::{Row, Sees};
use crate::server::{At, Server};

/// Clients on OpenSSL and GnuTLS look at a certificate before they send it; Go sends any bytes.
const ALL_BUT_GO: Unable = &[(Client::OpenSsl, BOTH), (Client::GnuTls, BOTH), (Client::Curl, BOTH)];
const BOTH: &[Version] = &[Version::Tls12, Version::Tls13];
type Unable = &'static [(Client, &'static [Version])];

#[test]
fn no_client_certificate() {
    // TLS 1.2 too, as measured: the TLS library has one alert for it, and 1.2 has none of its own.
    Row::certificate(&refusals::CLIENT_CERTIFICATE_MISSING, 116, |_| None).check();
}

#[test]
fn self_signed() {
    Row::certificate(&refusals::UNKNOWN_ISSUER, 48, |pki| Some(&pki.self_signed)).check();
}

#[test]
fn signed_by_another_ca() {
    Row::certificate(&refusals::UNKNOWN_ISSUER, 48, |pki| Some(&pki.other_ca)).check();
}

#[test]
fn expired() {
    Row::certificate(&refusals::CERTIFICATE_EXPIRED, 45, |pki| Some(&pki.expired)).check();
}

#[test]
fn not_yet_valid() {
    Row::certificate(&refusals::CERTIFICATE_NOT_YET_VALID, 45, |pki| Some(&pki.not_yet_valid)).check();
}

#[test]
fn wrong_extended_key_usage() {
    Row::certificate(&refusals::WRONG_USAGE, 43, |pki| Some(&pki.wrong_usage)).check();
}

#[test]
fn revoked() {
    Row::certificate(&refusals::CERTIFICATE_REVOKED, 44, |pki| Some(&pki.revoked)).check();
}

#[test]
fn crl_missing_for_the_issuer() {
    Row::certificate(&refusals::REVOCATION_UNKNOWN, 48, |pki| Some(&pki.uncovered)).check();
}

#[test]
fn crl_stale() {
    Row::certificate(&refusals::REVOCATION_STALE, 48, |pki| Some(&pki.stale)).check();
}

#[test]
fn fail_open_lets_in_and_logs_every_use() {
    let server = Server::start();
    let code = model::codes::serving::FAIL_OPEN_USED.id;
    for credential in [&server.pki.uncovered, &server.pki.stale] {
        for client in testkit::clients::CLIENTS {
            let before = server.lines(code).len();
            let attempt =
                testkit::clients::Attempt::new(server.addr(At::FailOpen), testkit::clients::Version::Tls13)
                    .credential(Some(credential));
            let Some(seen) = client.connect(&attempt) else { continue };
            assert_eq!(seen.status(), Some(200), "{client:?}: {}", seen.text);
            let new = server.new_lines(code, before);
            assert_eq!(new.len(), 1, "{client:?}: {new:?}\n{}", server.handfast.program.output());
        }
    }
    // It opens for what is unknown, not for what is known to be revoked.
    Row {
        at: At::FailOpen,
        ..Row::certificate(&refusals::CERTIFICATE_REVOKED, 44, |pki| Some(&pki.revoked))
    }
    .try_once(&server, Client::OpenSsl, testkit::clients::Version::Tls13, Sees::Alert(44));
}

#[test]
fn ca_certificate_as_leaf() {
    Row::certificate(&refusals::CA_AS_LEAF, 43, |pki| Some(&pki.ca_as_leaf)).check();
}

#[test]
fn path_too_long() {
    Row::certificate(&refusals::PATH_TOO_LONG, 48, |pki| Some(&pki.path_too_long)).check();
}

#[test]
fn name_constraint_broken() {
    Row::certificate(&refusals::NAME_CONSTRAINT, 42, |pki| Some(&pki.name_constraint)).check();
}

#[test]
fn rsa_1024() {
    // GnuTLS loads the key, and finds in the middle of a TLS 1.3 handshake that it must not sign with it.
    Row::certificate(&refusals::WEAK_KEY, 43, |pki| Some(&pki.rsa_1024))
        .unable(&[(Client::GnuTls, &[Version::Tls13])])
        .check();
}

#[test]
fn sha1_signature() {
    Row::certificate(&refusals::WEAK_SIGNATURE, 43, |pki| Some(&pki.sha1)).check();
}

#[test]
fn x509_version_1() {
    Row::certificate(&refusals::X509_V1, 43, |pki| Some(&pki.v1)).check();
}

#[test]
fn leaf_without_its_intermediate() {
    Row::certificate(&refusals::INTERMEDIATE_MISSING, 48, |pki| Some(&pki.missing_intermediate)).check();
}

#[test]
fn malformed_der() {
    Row {
        unreadable: true,
        lone: Some(Client::Go),
        ..Row::certificate(&refusals::BAD_CERTIFICATE, 42, |pki| Some(&pki.malformed)).unable(ALL_BUT_GO)
    }
    .check();
}

#[test]
fn malformed_subject_alternative_name() {
    Row::certificate(&refusals::BAD_CERTIFICATE, 42, |pki| Some(&pki.malformed_name))
        .unable(&[(Client::GnuTls, BOTH), (Client::Curl, BOTH)])
        .check();
}

#[test]
fn unknown_critical_extension() {
    Row::certificate(&refusals::BAD_CERTIFICATE, 42, |pki| Some(&pki.critical_extension)).check();
}

#[test]
fn certificate_of_somebody_else() {
    Row::certificate(&refusals::BAD_SIGNATURE, 51, |pki| Some(&pki.mismatched_key))
        .unable(&[(Client::OpenSsl, BOTH), (Client::Curl, BOTH)])
        .check();
}

#[test]
fn more_than_64_kib_of_certificates() {
    Row {
        sees: [Sees::Closed; 2],
        unreadable: true,
        ..Row::certificate(&refusals::HANDSHAKE_TOO_LARGE, 0, |pki| Some(&pki.huge_chain))
    }
    .check();
}
