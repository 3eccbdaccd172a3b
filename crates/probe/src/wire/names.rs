//! Numbers on the wire by their IANA names, as far as people meet them.

/// A version, as in `TLS 1.3`.
pub fn version(number: u16) -> String {
    match number {
        0x0300 => "SSL 3.0".into(),
        0x0301 => "TLS 1.0".into(),
        0x0302 => "TLS 1.1".into(),
        0x0303 => "TLS 1.2".into(),
        0x0304 => "TLS 1.3".into(),
        other => format!("{other:#06x}"),
    }
}

/// A cipher suite.
pub fn suite(number: u16) -> String {
    // rustls marks its TLS 1.3 suites; IANA does not.
    let name = rustls::CipherSuite::from(number).as_str();
    name.map_or_else(|| format!("{number:#06x}"), |name| name.replacen("TLS13_", "TLS_", 1))
}

/// A key exchange group.
pub fn group(number: u16) -> String {
    rustls::NamedGroup::from(number).as_str().map_or_else(|| format!("{number:#06x}"), str::to_owned)
}

/// A signature scheme.
pub fn scheme(number: u16) -> String {
    rustls::SignatureScheme::from(number).as_str().map_or_else(|| format!("{number:#06x}"), str::to_owned)
}

/// A handshake message.
pub fn message(kind: u8) -> &'static str {
    match kind {
        0 => "HelloRequest",
        1 => "ClientHello",
        2 => "ServerHello",
        4 => "NewSessionTicket",
        8 => "EncryptedExtensions",
        11 => "Certificate",
        12 => "ServerKeyExchange",
        13 => "CertificateRequest",
        14 => "ServerHelloDone",
        15 => "CertificateVerify",
        16 => "ClientKeyExchange",
        20 => "Finished",
        22 => "CertificateStatus",
        _ => "unknown message",
    }
}
