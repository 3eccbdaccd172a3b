//! Certificates that a careful library refuses to make, from the openssl command.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Authority, Credential, authority};
use crate::program::Program;

/// What is wrong with the certificate.
pub(super) enum Fault {
    Rsa1024,
    Sha1,
    VersionOne,
}

/// Has openssl make a key and sign it with this authority.
pub(super) fn issue(dir: &Path, authority: &Authority, name: &'static str, fault: Fault) -> Credential {
    let path = |suffix: &str| dir.join(format!("{name}{suffix}")).to_string_lossy().into_owned();
    let (ca, ca_key) = (path(".ca.crt"), path(".ca.key"));
    std::fs::write(&ca, authority.pem()).unwrap();
    authority::write_key(ca_key.as_ref(), &authority.key_pem());
    std::fs::write(
        path(".ext"),
        "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n\
         subjectAltName=URI:spiffe://cluster.local/ns/local/sa/client,DNS:client.test\n",
    )
    .unwrap();
    let key_options: &[&str] = match fault {
        Fault::Rsa1024 => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        Fault::Sha1 | Fault::VersionOne => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    };
    let serial = format!("{:x}", authority::next_serial());
    authority::write_key(path(".key").as_ref(), "");
    openssl(&[&["genpkey", "-out", &path(".key")], key_options].concat());
    openssl(&["req", "-new", "-key", &path(".key"), "-subj", &format!("/CN={name}"), "-out", &path(".csr")]);
    let (csr, crt, ext, number) = (path(".csr"), path(".crt"), path(".ext"), format!("0x{serial}"));
    let mut sign = vec!["x509", "-req", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-days", "20"];
    sign.extend(["-set_serial", &number, "-out", &crt]);
    sign.push(if matches!(fault, Fault::Sha1) { "-sha1" } else { "-sha256" });
    if !matches!(fault, Fault::VersionOne) {
        sign.extend(["-extfile", &ext]);
    }
    openssl(&sign);
    let leaf = std::fs::read_to_string(&crt).unwrap();
    std::fs::write(&crt, leaf + &authority.pem()).unwrap();
    std::fs::remove_file(&ca_key).unwrap();
    Credential { name, chain: crt.into(), key: path(".key").into(), serial }
}

fn openssl(arguments: &[&str]) {
    let finished = Program::run(Command::new("openssl").args(arguments), b"", Duration::from_secs(30));
    assert_eq!(finished.code, Some(0), "openssl {}: {}", arguments.join(" "), finished.all());
}
