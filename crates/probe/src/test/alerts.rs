//! Which alerts say what a row is about: first the contract's, then those that RFC 8446 (section 6.2) and
//! RFC 5246 (section 7.2.2) allow for the same cause. Another one refuses too, but misleads who reads it.

use super::check::Check;
use crate::alert::Alert;
use crate::attempt::Version;

/// certificate_unknown: "some other (unspecified) issue", allowed for every fault of a certificate.
const UNKNOWN: u8 = 46;

/// The alerts that fit; empty where any will do.
pub(super) fn fitting(check: Check, version: Option<Version>) -> &'static [u8] {
    match check {
        // TLS 1.2 has no alert of its own for it (RFC 5246, section 7.4.6: a fatal handshake_failure).
        Check::NoCertificate if version == Some(Version::Tls12) => &[116, 40],
        Check::NoCertificate => &[116],
        Check::SelfSigned | Check::OtherCa | Check::BareLeaf => &[48, UNKNOWN],
        Check::Expired | Check::NotYetValid => &[45, UNKNOWN],
        Check::WrongUsage => &[43, UNKNOWN],
        // The contract wants a refusal; that it is about the certificate is what the RFCs want.
        Check::CaAsLeaf | Check::PathTooLong | Check::X509V1 => &[42, 43, UNKNOWN, 48],
        // RFC 8446, section 4.4.2.4: bad_certificate for weak digests.
        Check::WeakRsa | Check::Sha1 => &[42, 43, UNKNOWN, 48, 71],
        Check::Malformed => &[42, 50, UNKNOWN],
        Check::UnknownCritical => &[42, 43, UNKNOWN],
        Check::Revoked => &[44, UNKNOWN],
        Check::Stranger => &[49],
        Check::Tls10 | Check::Tls11 => &[70],
        // RFC 8446, section 4.1.1: handshake_failure or insufficient_security.
        Check::NoCommonCipher | Check::NoCommonGroup => &[40, 71],
        Check::UnknownName => &[112],
        Check::Alpn => &[120],
        _ => &[],
    }
}

/// The warning for an alert that does not fit the cause.
pub(super) fn warning(check: Check, version: Option<Version>, alert: Alert) -> Option<String> {
    let fitting = fitting(check, version);
    let first = fitting.first().filter(|_| !fitting.contains(&alert.0))?;
    Some(format!(
        "refused, but with {alert} ({}), where {} belongs: whoever reads it looks in the wrong place",
        alert.meaning(),
        Alert(*first)
    ))
}
