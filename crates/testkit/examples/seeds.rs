//! Writes the binary seeds of the fuzz targets: `cargo run -p handfast-testkit --example seeds fuzz/seeds`.
//! The keys in them are made here and used nowhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use handfast_testkit::pki::{Credential, Pki};
use handfast_testkit::program::Program;

fn main() {
    let out = std::env::args().nth(1).expect("the folder to write to");
    let (out, pki) = (Path::new(&out), Pki::new());
    let write = |target: &str, name: &str, content: &[u8]| {
        std::fs::create_dir_all(out.join(target)).unwrap();
        std::fs::write(out.join(target).join(name), content).unwrap();
    };
    for credential in [
        &pki.good,
        &pki.expired,
        &pki.path_too_long,
        &pki.name_constraint,
        &pki.sha1,
        &pki.v1,
        &pki.malformed_name,
    ] {
        write("certificate", credential.name, &der_chain(credential));
        write("pem", &format!("{}.crt", credential.name), &std::fs::read(&credential.chain).unwrap());
    }
    write("certificate", "anchor", &pki.clients.der());
    write("certificate", "crl", &openssl(&["crl", "-outform", "DER", "-in", path(&pki.file("clients.crl"))]));
    write("pem", "sec1.key", &openssl(&["ec", "-in", path(&pki.good.key)]));
    write("pem", "pkcs8.key", &std::fs::read(&pki.good.key).unwrap());
    let encrypted = [
        "pkcs8",
        "-topk8",
        "-in",
        path(&pki.good.key),
        "-passout",
        "pass:seedseed",
        "-v2",
        "aes-256-cbc",
        "-iter",
        "2",
    ];
    write("pem", "encrypted.key", &openssl(&encrypted));
    let request = [
        "req",
        "-new",
        "-key",
        path(&pki.good.key),
        "-subj",
        "/CN=seed",
        "-addext",
        "subjectAltName=DNS:seed.test",
    ];
    let csr = openssl(&request);
    write("store", "csr.pem", &csr);
    write("store", "csr.der", &openssl(&[&request[..], &["-outform", "DER"]].concat()));
    let store = [
        "pkcs12",
        "-export",
        "-in",
        path(&pki.good.chain),
        "-inkey",
        path(&pki.good.key),
        "-passout",
        "pass:seedseed",
        "-iter",
        "2",
    ];
    write("store", "modern.p12", &openssl(&store));
    write(
        "store",
        "no-mac.p12",
        &openssl(&[&store[..], &["-nomac", "-keypbe", "NONE", "-certpbe", "NONE"]].concat()),
    );
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn der_chain(credential: &Credential) -> Vec<u8> {
    let text = std::fs::read_to_string(&credential.chain).unwrap();
    let mut der = Vec::new();
    for block in text.split_inclusive("-----END CERTIFICATE-----\n") {
        let mut command = Command::new("openssl");
        let finished = Program::run(
            command.args(["x509", "-outform", "DER"]),
            block.as_bytes(),
            Duration::from_secs(10),
        );
        der.extend(finished.stdout);
    }
    der
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let finished = Program::run(Command::new("openssl").args(arguments), b"", Duration::from_secs(30));
    assert_eq!(finished.code, Some(0), "openssl {arguments:?}: {}", finished.err());
    finished.stdout
}
