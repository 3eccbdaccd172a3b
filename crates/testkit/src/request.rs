//! Signing requests (PKCS #10) with whatever names a test wants.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyPair, SanType};

/// A request in PEM with a key of its own. `authority` asks to be one.
pub fn signing_request(names: &[&str], authority: bool) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if name.contains("://") => SanType::URI((*name).try_into().expect("a URI of ASCII")),
            Err(_) => SanType::DnsName((*name).try_into().expect("a name of ASCII")),
        })
        .collect();
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().expect("a key");
    params.serialize_request(&key).expect("a request").pem().expect("PEM").into_bytes()
}
