//! The rows of the proof by name: what is tried, what is expected, and which finding it is if not.

use model::codes::{Code, findings as f};

/// One row of `handfast test`; the same for both TLS versions where it depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is described in its row of the table below")]
pub enum Check {
    NoCertificate,
    Good,
    SelfSigned,
    OtherCa,
    Expired,
    NotYetValid,
    WrongUsage,
    CaAsLeaf,
    PathTooLong,
    WeakRsa,
    Sha1,
    X509V1,
    BareLeaf,
    Malformed,
    UnknownCritical,
    Revoked,
    Stranger,
    Oversized,
    Tls10,
    Tls11,
    NoCommonCipher,
    NoCommonGroup,
    UnknownName,
    Alpn,
    Misdirected,
    ResumedElsewhere,
    RefusedResumed,
    EarlyData,
    Current,
    Drips,
    Silence,
    PlainHttp,
    ServerName,
    ServerChain,
    ServerDates,
    ServerLint,
}

/// What a row says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The check.
    pub check: Check,
    /// For `--only`, `--skip` and JSON.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
    /// What a good server does.
    pub expected: &'static str,
    /// Whether it is tried once for TLS 1.2 and once for 1.3.
    pub per_version: bool,
    /// The finding if it does not.
    pub finding: &'static Code,
}

macro_rules! checks {
    ($($check:ident, $id:literal, $title:literal, $expected:literal, $per_version:literal, $finding:expr;)*) => {
        /// Every row, in the order in which it is printed.
        pub static ALL: &[Spec] = &[$(Spec {
            check: Check::$check, id: $id, title: $title, expected: $expected,
            per_version: $per_version, finding: &$finding,
        }),*];
    };
}

checks! {
    NoCertificate, "no-certificate", "no client certificate", "refused, certificate_required (116)", true, f::NO_CERTIFICATE_ACCEPTED;
    Good, "good", "good client certificate", "accepted", true, f::GOOD_REFUSED;
    SelfSigned, "self-signed", "self-signed client certificate", "refused, unknown_ca (48)", true, f::SELF_SIGNED_ACCEPTED;
    OtherCa, "other-ca", "client certificate of another CA", "refused, unknown_ca (48)", true, f::OTHER_CA_ACCEPTED;
    Expired, "expired", "expired client certificate", "refused, certificate_expired (45)", true, f::EXPIRED_ACCEPTED;
    NotYetValid, "not-yet-valid", "client certificate not yet valid", "refused, certificate_expired (45)", true, f::NOT_YET_VALID_ACCEPTED;
    WrongUsage, "wrong-usage", "server certificate used by a client", "refused, unsupported_certificate (43)", true, f::WRONG_USAGE_ACCEPTED;
    CaAsLeaf, "ca-as-leaf", "CA certificate used by a client", "refused", true, f::CA_AS_LEAF_ACCEPTED;
    PathTooLong, "path-too-long", "chain longer than allowed", "refused", true, f::PATH_TOO_LONG_ACCEPTED;
    WeakRsa, "rsa-1024", "RSA key of 1024 bits", "refused", true, f::WEAK_KEY_ACCEPTED;
    Sha1, "sha1", "SHA-1 signature", "refused", true, f::SHA1_ACCEPTED;
    X509V1, "x509-v1", "X.509 version 1", "refused", true, f::X509_V1_ACCEPTED;
    BareLeaf, "no-intermediate", "leaf without its intermediate", "refused, unknown_ca (48)", true, f::BARE_LEAF_ACCEPTED;
    Malformed, "malformed", "malformed certificate", "refused, bad_certificate (42)", true, f::MALFORMED_ACCEPTED;
    UnknownCritical, "unknown-critical", "unknown critical extension", "refused, bad_certificate (42)", true, f::CRITICAL_ACCEPTED;
    Revoked, "revoked", "revoked client certificate", "refused, certificate_revoked (44)", true, f::REVOKED_ACCEPTED;
    Stranger, "not-on-the-list", "identity not on the list", "refused, HTTP 403", true, f::STRANGER_ACCEPTED;
    Oversized, "oversized", "certificates of more than 128 KiB", "refused", true, f::OVERSIZED_ACCEPTED;
    RefusedResumed, "refused-then-resumed", "refused client resumes its session", "refused", true, f::REFUSED_RESUMED;
    ResumedElsewhere, "resumed-elsewhere", "session moved from another virtual host", "refused", true, f::RESUMED_ELSEWHERE;
    Misdirected, "misdirected", "SNI and Host of different hosts", "refused, HTTP 421", true, f::MISDIRECTED_SERVED;
    EarlyData, "early-data", "early data (0-RTT)", "not offered", false, f::EARLY_DATA_OFFERED;
    UnknownName, "unknown-name", "unknown server name", "refused, unrecognized_name (112)", true, f::UNKNOWN_NAME_ACCEPTED;
    Alpn, "alpn", "no common application protocol", "refused, no_application_protocol (120)", true, f::ALPN_IGNORED;
    Current, "current-tls", "a client of today", "TLS 1.2 or 1.3 with an AEAD cipher", false, f::NO_CURRENT_TLS;
    Tls10, "tls-1.0", "TLS 1.0", "refused, protocol_version (70)", false, f::OLD_TLS_ACCEPTED;
    Tls11, "tls-1.1", "TLS 1.1", "refused, protocol_version (70)", false, f::OLD_TLS_ACCEPTED;
    NoCommonCipher, "no-common-cipher", "only NULL, RC4, export and 3DES ciphers", "refused, handshake_failure (40)", false, f::WEAK_CIPHER_ACCEPTED;
    NoCommonGroup, "no-common-group", "only a group of 163 bits", "refused, handshake_failure (40)", false, f::WEAK_CIPHER_ACCEPTED;
    PlainHttp, "plain-http", "plain HTTP on the TLS port", "refused, HTTP 400", false, f::PLAIN_HTTP_SERVED;
    Silence, "silence", "connection that says nothing", "closed after 10 s", false, f::SLOW_HANDSHAKE_KEPT;
    Drips, "drips", "ClientHello in drips", "closed after 10 s", false, f::SLOW_HANDSHAKE_KEPT;
    ServerName, "server-name", "server certificate: name", "valid for the name", false, f::SERVER_NAME_WRONG;
    ServerChain, "server-chain", "server certificate: chain", "complete, to a trusted root", false, f::SERVER_CHAIN_UNTRUSTED;
    ServerDates, "server-dates", "server certificate: dates", "valid now and for the next days", false, f::SERVER_EXPIRED;
    ServerLint, "server-lint", "server certificate: strength", "no weakness", false, f::SERVER_LINT;
}

/// Finds a row by its id.
pub fn find(id: &str) -> Option<&'static Spec> {
    ALL.iter().find(|spec| spec.id == id)
}
