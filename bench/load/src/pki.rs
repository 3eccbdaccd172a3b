//! The throw-away certificates of a benchmark run: one CA, a server and a client, ECDSA P-256 throughout.
//!
//! The benchmark makes its own, so that it measures the same chain of the same size whatever `handfast ca` does.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// The name in the server's certificate.
pub const SERVER_NAME: &str = "bench.handfast.test";

/// Writes ca.crt, server.crt, server.key, client.crt and client.key, all PEM, into `folder`.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut ca = parameters("Benchmark CA", &[])?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate()?;
    file(folder, "ca.crt", 0o644, &ca.self_signed(&ca_key)?.pem())?;
    let issuer = Issuer::new(ca, ca_key);
    for (name, alternative, usage) in [
        ("server", SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth),
        ("client", "client.bench.handfast.test", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let mut leaf = parameters(alternative, &[alternative.to_owned()])?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![usage];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        file(folder, &format!("{name}.crt"), 0o644, &leaf.signed_by(&key, &issuer)?.pem())?;
        file(folder, &format!("{name}.key"), 0o600, &key.serialize_pem())?;
    }
    Ok(())
}

fn parameters(common_name: &str, names: &[String]) -> anyhow::Result<CertificateParams> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - Duration::minutes(5);
    parameters.not_after = now + Duration::days(1);
    Ok(parameters)
}

fn file(folder: &Path, name: &str, mode: u32, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
