//! TLS alerts by number, name and meaning (RFC 8446 section 6, RFC 5246 section 7.2).

use std::fmt;

/// The description byte of a TLS alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alert(pub u8);

impl Alert {
    /// The name that the RFCs give it, as in `certificate_required`; `unknown` for numbers without one.
    pub fn name(self) -> &'static str {
        self.entry().map_or("unknown", |entry| entry.1)
    }

    /// What it means in plain words.
    pub fn meaning(self) -> &'static str {
        self.entry().map_or("an alert that no standard names", |entry| entry.2)
    }

    /// Finds an alert by its name, with words joined by `_`, a space or nothing, in any case.
    pub fn by_name(name: &str) -> Option<Alert> {
        let plain = |text: &str| text.replace(['_', ' ', '-'], "").to_ascii_lowercase();
        let wanted = plain(name);
        ALERTS.iter().find(|entry| plain(entry.1) == wanted).map(|entry| Alert(entry.0))
    }

    fn entry(self) -> Option<&'static (u8, &'static str, &'static str)> {
        ALERTS.iter().find(|entry| entry.0 == self.0)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

/// Number, name, meaning.
static ALERTS: &[(u8, &str, &str)] = &[
    (0, "close_notify", "the sender is done; this is the orderly end"),
    (10, "unexpected_message", "a message came at the wrong time"),
    (20, "bad_record_mac", "a record was altered, or the keys differ"),
    (21, "decryption_failed", "a record could not be decrypted"),
    (22, "record_overflow", "a record is larger than allowed"),
    (30, "decompression_failure", "compressed data is broken"),
    (40, "handshake_failure", "no common parameters, or a required client certificate is missing (TLS 1.2)"),
    (41, "no_certificate", "no certificate was sent (SSL 3.0)"),
    (
        42,
        "bad_certificate",
        "the certificate is malformed, its signature is wrong, or its name does not match",
    ),
    (43, "unsupported_certificate", "the certificate is of a kind or for a purpose that is not accepted"),
    (44, "certificate_revoked", "the certificate has been revoked"),
    (45, "certificate_expired", "the certificate has expired or is not valid yet"),
    (46, "certificate_unknown", "the certificate is not accepted for a reason that is not named"),
    (47, "illegal_parameter", "a field is out of range or contradicts another"),
    (48, "unknown_ca", "the certificate does not chain to an authority that is trusted there"),
    (49, "access_denied", "the certificate is good, but its owner is not allowed"),
    (50, "decode_error", "a message could not be parsed"),
    (51, "decrypt_error", "a signature or a Finished message does not verify"),
    (60, "export_restriction", "export rules of the 1990s"),
    (70, "protocol_version", "no TLS version in common"),
    (71, "insufficient_security", "the ciphers offered are weaker than required"),
    (80, "internal_error", "the sender failed for a reason of its own"),
    (86, "inappropriate_fallback", "the client fell back to an older version needlessly"),
    (90, "user_canceled", "the sender gave up the handshake"),
    (100, "no_renegotiation", "renegotiation is not wanted"),
    (109, "missing_extension", "an extension that this version needs is missing"),
    (110, "unsupported_extension", "an extension was sent that nobody asked for"),
    (111, "certificate_unobtainable", "a certificate could not be fetched"),
    (112, "unrecognized_name", "the server name (SNI) is not served there"),
    (113, "bad_certificate_status_response", "the stapled OCSP answer is not valid"),
    (114, "bad_certificate_hash_value", "a certificate's hash does not match"),
    (115, "unknown_psk_identity", "the pre-shared key is not known"),
    (116, "certificate_required", "a client certificate is required, and none was sent"),
    (120, "no_application_protocol", "no application protocol (ALPN) in common"),
    (121, "ech_required", "encrypted client hello is required"),
];
