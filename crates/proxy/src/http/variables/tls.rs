//! The `$ssl_…` variables, printed as nginx prints them.

use std::borrow::Cow;

use base64::Engine as _;
use model::codes::{Code, refusals};
use model::peer::{Peer, Verification};

use super::clock;
use crate::http::exchange::Exchange;
use crate::http::path::encode_component;

/// A `$ssl_…` variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVariable {
    /// `$ssl_client_verify`: `SUCCESS`, `NONE` or `FAILED:reason`.
    Verify,
    /// `$ssl_client_s_dn`, RFC 2253.
    Subject,
    /// `$ssl_client_i_dn`, RFC 2253.
    Issuer,
    /// `$ssl_client_serial`.
    Serial,
    /// `$ssl_client_fingerprint`: SHA-1.
    Fingerprint,
    /// `$ssl_client_cert`: PEM, its lines after the first set in by a tab.
    Cert,
    /// `$ssl_client_raw_cert`: PEM.
    RawCert,
    /// `$ssl_client_escaped_cert`: PEM, URL-encoded.
    EscapedCert,
    /// `$ssl_client_v_start`.
    Start,
    /// `$ssl_client_v_end`.
    End,
    /// `$ssl_client_v_remain`: days.
    Remain,
    /// `$ssl_protocol`.
    Protocol,
    /// `$ssl_cipher`.
    Cipher,
    /// `$ssl_curve`.
    Curve,
    /// `$ssl_server_name`.
    ServerName,
    /// `$ssl_session_reused`: `r` or `.`.
    SessionReused,
    /// `$ssl_alpn_protocol`.
    Alpn,
    /// `$ssl_early_data`: always empty; early data is not offered.
    EarlyData,
    /// `$ssl_ciphers`, `$ssl_curves`, `$ssl_session_id`: not kept; empty.
    NotKept,
    /// `$ssl_client_identity` of our own: SPIFFE ID, else the first name.
    Identity,
}

impl TlsVariable {
    /// Resolves a name, without `$ssl_`.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "client_verify" => Self::Verify,
            "client_s_dn" => Self::Subject,
            "client_i_dn" => Self::Issuer,
            "client_serial" => Self::Serial,
            "client_fingerprint" => Self::Fingerprint,
            "client_cert" => Self::Cert,
            "client_raw_cert" => Self::RawCert,
            "client_escaped_cert" => Self::EscapedCert,
            "client_v_start" => Self::Start,
            "client_v_end" => Self::End,
            "client_v_remain" => Self::Remain,
            "client_identity" => Self::Identity,
            "protocol" => Self::Protocol,
            "cipher" => Self::Cipher,
            "curve" => Self::Curve,
            "server_name" => Self::ServerName,
            "session_reused" => Self::SessionReused,
            "alpn_protocol" => Self::Alpn,
            "early_data" => Self::EarlyData,
            "ciphers" | "curves" | "session_id" => Self::NotKept,
            _ => return None,
        })
    }

    /// The value for a request.
    pub fn value<'a>(self, x: &'a Exchange) -> Cow<'a, str> {
        let Some(tls) = &x.connection.tls else { return "".into() };
        let peer = x.peer.as_deref();
        let of = |read: fn(&'a Peer) -> Cow<'a, str>| peer.map_or("".into(), read);
        match self {
            Self::Verify => verify_text(peer),
            Self::Subject => of(|p| p.subject.as_str().into()),
            Self::Issuer => of(|p| p.issuer.as_str().into()),
            Self::Serial => of(|p| p.serial.as_str().into()),
            Self::Fingerprint => of(|p| p.sha1.as_str().into()),
            Self::Cert => of(|p| peer_pem(p).trim_end().replace('\n', "\n\t").into()),
            Self::RawCert => of(|p| peer_pem(p).into()),
            Self::EscapedCert => of(|p| encode_component(&peer_pem(p)).into_owned().into()),
            Self::Start => of(|p| clock::certificate_date(p.not_before).into()),
            Self::End => of(|p| clock::certificate_date(p.not_after).into()),
            Self::Remain => of(|p| clock::days_until(p.not_after).to_string().into()),
            Self::Identity => of(|p| if p.verification.is_trusted() { p.name().into() } else { "".into() }),
            Self::Protocol => version_name(tls.version).into(),
            Self::Cipher => cipher_name(tls.cipher),
            Self::Curve => tls.group.map_or("".into(), group_name),
            Self::ServerName => tls.sni.as_deref().unwrap_or("").into(),
            Self::SessionReused => if tls.resumed { "r" } else { "." }.into(),
            Self::Alpn => {
                tls.alpn.as_ref().map_or("".into(), |alpn| String::from_utf8_lossy(alpn.as_bytes()))
            }
            Self::EarlyData | Self::NotKept => "".into(),
        }
    }
}

/// As OpenSSL names a version.
pub fn version_name(version: rustls::ProtocolVersion) -> &'static str {
    match version {
        rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "",
    }
}

/// As OpenSSL names a cipher suite.
pub fn cipher_name(cipher: rustls::CipherSuite) -> Cow<'static, str> {
    use rustls::CipherSuite as C;
    match cipher {
        C::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256".into(),
        C::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384".into(),
        C::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256".into(),
        C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256".into(),
        C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384".into(),
        C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305".into(),
        C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256".into(),
        C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384".into(),
        C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305".into(),
        other => format!("{other:?}").into(),
    }
}

/// As OpenSSL names a group.
pub fn group_name(group: rustls::NamedGroup) -> Cow<'static, str> {
    use rustls::NamedGroup as G;
    match group {
        G::X25519 => "X25519".into(),
        G::secp256r1 => "prime256v1".into(),
        G::secp384r1 => "secp384r1".into(),
        G::X25519MLKEM768 => "X25519MLKEM768".into(),
        other => format!("{other:?}").into(),
    }
}

/// The peer's leaf as PEM, 64 characters a line, with a last newline.
pub fn peer_pem(peer: &Peer) -> String {
    peer.chain.first().map(|der| pem(der)).unwrap_or_default()
}

pub(crate) fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::with_capacity(text.len() + text.len() / 64 + 56);
    out.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

/// `$ssl_client_verify`: `SUCCESS`, `NONE`, or `FAILED:` with OpenSSL's words for the reason, which is what
/// applications behind nginx compare with.
pub fn verify_text(peer: Option<&Peer>) -> Cow<'static, str> {
    let Some(peer) = peer else { return "NONE".into() };
    match peer.verification {
        Verification::Verified | Verification::Pinned => "SUCCESS".into(),
        Verification::Unverified if peer.subject == peer.issuer => "FAILED:self-signed certificate".into(),
        Verification::Unverified => "FAILED:unable to verify the first certificate".into(),
        Verification::Failed(code) => format!("FAILED:{}", openssl_reason(code, peer)).into(),
    }
}

/// OpenSSL's words (X509_verify_cert_error_string) for what our codes mean.
fn openssl_reason(code: &'static Code, peer: &Peer) -> &'static str {
    let table: &[(&Code, &str)] = &[
        (&refusals::CERTIFICATE_EXPIRED, "certificate has expired"),
        (&refusals::CERTIFICATE_NOT_YET_VALID, "certificate is not yet valid"),
        (&refusals::CERTIFICATE_REVOKED, "certificate revoked"),
        (&refusals::REVOCATION_UNKNOWN, "unable to get certificate CRL"),
        (&refusals::REVOCATION_STALE, "CRL has expired"),
        (&refusals::WRONG_USAGE, "unsuitable certificate purpose"),
        (&refusals::PATH_TOO_LONG, "certificate chain too long"),
        (&refusals::NAME_CONSTRAINT, "permitted subtree violation"),
        (&refusals::WEAK_KEY, "EE certificate key too weak"),
        (&refusals::WEAK_SIGNATURE, "CA signature digest algorithm too weak"),
        (&refusals::CA_AS_LEAF, "unsuitable certificate purpose"),
        (&refusals::BAD_SIGNATURE, "certificate signature failure"),
    ];
    if let Some((_, words)) = table.iter().find(|(known, _)| std::ptr::eq(*known, code)) {
        return words;
    }
    if peer.subject == peer.issuer {
        "self-signed certificate"
    } else if peer.chain.len() > 1 {
        "unable to get local issuer certificate"
    } else {
        "unable to verify the first certificate"
    }
}
