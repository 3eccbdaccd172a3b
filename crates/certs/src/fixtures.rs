//! For tests: certificates made by the real `openssl`, so that what we read was not written by us.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use tempfile::TempDir;

/// Extensions of an authority.
pub(crate) const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
    subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
/// Extensions of a client's leaf.
pub(crate) const CLIENT: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
    extendedKeyUsage=clientAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
    subjectAltName=DNS:client.example,URI:spiffe://cluster.local/ns/local/sa/client\n";
/// Extensions of a server's leaf.
pub(crate) const SERVER: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
    extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
    subjectAltName=DNS:server.example,DNS:*.wild.example,IP:127.0.0.1\n";

/// A folder of certificates, each `NAME.crt` with `NAME.key`.
pub(crate) struct Pki {
    dir: TempDir,
}

/// Runs a real program and fails the test with its whole output when it fails.
pub(crate) fn run(program: &str, args: &[&str], dir: &Path) -> Vec<u8> {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}); `make test` installs it"));
    assert!(
        output.status.success(),
        "{program} {args:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    #[allow(dead_code)]
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `openssl` with these arguments, in the folder.
    pub(crate) fn openssl(&self, args: &[&str]) -> Vec<u8> {
        run("openssl", args, self.dir.path())
    }

    /// A new key, `NAME.key`; `kind` is `P-256`, `RSA:1024`, `ED25519`.
    pub(crate) fn key(&self, name: &str, kind: &str) {
        let out = format!("{name}.key");
        let mut args = vec!["genpkey", "-out", &out, "-algorithm"];
        let option;
        match kind.split_once(':') {
            Some(("RSA", bits)) => {
                option = format!("rsa_keygen_bits:{bits}");
                args.extend(["RSA", "-pkeyopt", &option]);
            }
            _ if kind == "ED25519" => args.push("ED25519"),
            _ => {
                option = format!("ec_paramgen_curve:{kind}");
                args.extend(["EC", "-pkeyopt", &option, "-pkeyopt", "ec_param_enc:named_curve"]);
            }
        }
        self.openssl(&args);
    }

    /// A self-signed authority for ten years.
    pub(crate) fn root(&self, name: &str, subject: &str) -> CertificateDer<'static> {
        self.key(name, "P-256");
        self.self_signed(name, subject, CA, 3650)
    }

    /// A self-signed certificate for a key that is there.
    pub(crate) fn self_signed(
        &self,
        name: &str,
        subject: &str,
        extensions: &str,
        days: u32,
    ) -> CertificateDer<'static> {
        self.sign(name, None, subject, extensions, &["-days", &days.to_string()])
    }

    /// A certificate by `issuer` with a new P-256 key, valid for 90 days.
    pub(crate) fn issue(
        &self,
        name: &str,
        issuer: &str,
        subject: &str,
        extensions: &str,
    ) -> CertificateDer<'static> {
        self.key(name, "P-256");
        self.sign(name, Some(issuer), subject, extensions, &["-days", "90"])
    }

    /// Signs a certificate for a key that is there; no extensions at all makes X.509 version 1.
    pub(crate) fn sign(
        &self,
        name: &str,
        issuer: Option<&str>,
        subject: &str,
        extensions: &str,
        more: &[&str],
    ) -> CertificateDer<'static> {
        let (key, csr, crt) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        self.openssl(&["req", "-new", "-key", &key, "-subj", subject, "-out", &csr]);
        let ext = format!("{name}.ext");
        std::fs::write(self.path(&ext), extensions).unwrap();
        let mut args = vec!["x509", "-req", "-in", &csr, "-out", &crt];
        let (issuer_crt, issuer_key);
        match issuer {
            Some(issuer) => {
                (issuer_crt, issuer_key) = (format!("{issuer}.crt"), format!("{issuer}.key"));
                args.extend(["-CA", &issuer_crt, "-CAkey", &issuer_key, "-CAcreateserial"]);
            }
            None => args.extend(["-signkey", &key]),
        }
        if !extensions.is_empty() {
            args.extend(["-extfile", &ext]);
        }
        args.extend(more);
        self.openssl(&args);
        self.cert(name)
    }

    /// The certificate `NAME.crt`.
    pub(crate) fn cert(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(&format!("{name}.crt"))).unwrap()
    }

    /// A revocation list of `issuer`, valid for `days`, with the named certificates on it.
    pub(crate) fn crl(&self, issuer: &str, revoked: &[&str], days: u32) -> Vec<u8> {
        let config = format!(
            "[ca]\ndefault_ca=here\n[here]\ndatabase={issuer}.index\ncrlnumber={issuer}.crlnumber\n\
             default_md=sha256\ncertificate={issuer}.crt\nprivate_key={issuer}.key\ncrl_extensions=ext\n\
             [ext]\nauthorityKeyIdentifier=keyid\n"
        );
        let (conf, out) = (format!("{issuer}.cnf"), format!("{issuer}.crl"));
        std::fs::write(self.path(&conf), config).unwrap();
        std::fs::write(self.path(&format!("{issuer}.index")), "").unwrap();
        if !self.path(&format!("{issuer}.crlnumber")).exists() {
            std::fs::write(self.path(&format!("{issuer}.crlnumber")), "01\n").unwrap();
        }
        for name in revoked {
            let crt = format!("{name}.crt");
            self.openssl(&["ca", "-config", &conf, "-revoke", &crt]);
        }
        let days = days.to_string();
        self.openssl(&["ca", "-config", &conf, "-gencrl", "-crldays", &days, "-out", &out]);
        CertificateRevocationListDer::from_pem_file(self.path(&out)).unwrap().to_vec()
    }
}

/// Now, moved by some days.
pub(crate) fn days_from_now(days: i64) -> UnixTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    UnixTime::since_unix_epoch(Duration::from_secs(now.saturating_add_signed(days * 86_400) + 5))
}
