//! `handfast cert inspect`: what a file or a server holds, for people and machines.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use certs::inspect::{self, Certificate, Request, RevocationList};
use model::codes;
use serde::Serialize;

use super::{input, served};
use crate::commands::Globals;
use crate::failure::{EXIT_OK, Failure, Outcome};
use crate::output;

/// Arguments of `handfast cert inspect`.
#[derive(clap::Args)]
pub struct Args {
    /// A file of any format, `-` for standard input, or HOST:PORT for what a server sends.
    #[arg(value_name = "FILE|-|HOST:PORT")]
    target: String,
    /// The server name to ask for (SNI); the host by default.
    #[arg(long, env = "HANDFAST_SERVERNAME", value_name = "NAME")]
    servername: Option<String>,
    /// Begin in the clear and change to TLS as this protocol does.
    #[arg(long, env = "HANDFAST_STARTTLS", value_enum, value_name = "PROTOCOL")]
    starttls: Option<served::StartTls>,
    /// File with the password of a PKCS#12 or JKS store.
    #[arg(long, env = "HANDFAST_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// The document of `-o json`.
#[derive(Serialize)]
struct Document {
    version: u32,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_unfinished: Option<String>,
    certificates: Vec<WithLife>,
    revocation_lists: Vec<RevocationList>,
    requests: Vec<Request>,
    private_keys: Vec<Key>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
}

#[derive(Serialize)]
struct WithLife {
    #[serde(flatten)]
    certificate: Certificate,
    life: String,
}

#[derive(Serialize)]
struct Key {
    kind: String,
    spki_pin: Option<String>,
    /// The position of its certificate in this file, from 1.
    certificate: Option<usize>,
}

/// Runs `handfast cert inspect`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let path = Path::new(&args.target);
    let document = if served::is_address(&args.target) && !path.exists() {
        from_server(&args)?
    } else {
        from_file(path, args.password_file.as_deref())?
    };
    output::print(globals.output, &document, || table(&document))?;
    Ok(EXIT_OK)
}

fn from_server(args: &Args) -> Result<Document, Failure> {
    let served = served::take(&args.target, args.servername.as_deref(), args.starttls).map_err(|what| {
        Failure::new(&codes::certificates::SERVED_CHAIN_NOT_TAKEN, what).with("address", &args.target)
    })?;
    Ok(Document {
        source: args.target.clone(),
        tls_version: served.version,
        cipher: served.cipher,
        handshake_unfinished: served.unfinished,
        certificates: all(&served.chain)?,
        ..Document::empty()
    })
}

fn from_file(path: &Path, password: Option<&Path>) -> Result<Document, Failure> {
    let contents = input::contents(path, password)?;
    let certificates = all(&contents.certificates)?;
    let mut private_keys: Vec<Key> = contents
        .keys
        .iter()
        .map(|der| match certs::PrivateKey::from_der(&der.0) {
            Ok(key) => {
                let pin = inspect::pin(&key.public_key_info());
                let owner = certificates.iter().position(|cert| cert.certificate.spki_pin == pin);
                Key { kind: key.kind().to_string(), certificate: owner.map(|i| i + 1), spki_pin: Some(pin) }
            }
            Err(error) => Key { kind: format!("unusable: {error}"), spki_pin: None, certificate: None },
        })
        .collect();
    private_keys.extend(contents.encrypted_keys.iter().map(|_| Key {
        kind: "encrypted".to_owned(),
        spki_pin: None,
        certificate: None,
    }));
    let with_file = |error: inspect::InspectError| Failure::from(error).with("file", path.display());
    Ok(Document {
        source: path.display().to_string(),
        format: Some(contents.format.to_string()),
        certificates,
        revocation_lists: contents
            .crls
            .iter()
            .map(|der| inspect::revocation_list(der).map_err(with_file))
            .collect::<Result<_, _>>()?,
        requests: contents
            .requests
            .iter()
            .map(|der| inspect::request(der).map_err(with_file))
            .collect::<Result<_, _>>()?,
        private_keys,
        aliases: contents.aliases,
        ignored: contents.ignored,
        ..Document::empty()
    })
}

impl Document {
    fn empty() -> Self {
        Self {
            version: 1,
            source: String::new(),
            format: None,
            tls_version: None,
            cipher: None,
            handshake_unfinished: None,
            certificates: Vec::new(),
            revocation_lists: Vec::new(),
            requests: Vec::new(),
            private_keys: Vec::new(),
            aliases: Vec::new(),
            ignored: Vec::new(),
        }
    }
}

fn all(ders: &[rustls::pki_types::CertificateDer<'_>]) -> Result<Vec<WithLife>, Failure> {
    let now = i64::try_from(input::now()).unwrap_or(i64::MAX);
    ders.iter()
        .map(|der| {
            let certificate = inspect::certificate(der)?;
            Ok(WithLife { life: certificate.life(now), certificate })
        })
        .collect()
}

fn table(document: &Document) -> String {
    let mut out = String::new();
    let _ = match &document.format {
        Some(format) => writeln!(out, "{} ({format})", document.source),
        None => writeln!(
            out,
            "{} ({}, {})",
            document.source,
            document.tls_version.as_deref().unwrap_or("TLS"),
            document.cipher.as_deref().unwrap_or("no cipher agreed")
        ),
    };
    if let Some(why) = &document.handshake_unfinished {
        row(&mut out, "note", &format!("the handshake broke off after the certificate: {why}"));
    }
    for (index, entry) in document.certificates.iter().enumerate() {
        let _ = writeln!(out, "\ncertificate {}", index + 1);
        certificate(&mut out, &entry.certificate, &entry.life);
    }
    for list in &document.revocation_lists {
        let _ = writeln!(out, "\nrevocation list");
        row(&mut out, "issuer", &list.issuer);
        row(&mut out, "number", list.number.as_deref().unwrap_or("none"));
        row(&mut out, "this update", &list.this_update);
        row(&mut out, "next update", list.next_update.as_deref().unwrap_or("none"));
        row(&mut out, "signature", &list.signature);
        row(&mut out, "revoked", &list.revoked.len().to_string());
        for entry in list.revoked.iter().take(50) {
            let reason = entry.reason.as_deref().unwrap_or("unspecified");
            row(&mut out, "", &format!("{} at {} ({reason})", entry.serial, entry.date));
        }
        if list.revoked.len() > 50 {
            row(&mut out, "", "... all of them with -o json");
        }
    }
    for request in &document.requests {
        let _ = writeln!(out, "\nrequest");
        row(&mut out, "subject", &request.subject);
        row(&mut out, "names", &join(&request.names));
        row(&mut out, "key", &weak(&request.key, request.key_weakness.as_deref()));
        row(&mut out, "signature", &request.signature);
        row(&mut out, "usage", &join(&request.key_usage));
        row(&mut out, "extended", &join(&request.extended_key_usage));
        row(&mut out, "SPKI pin", &request.spki_pin);
        if request.wants_ca {
            row(&mut out, "note", "it asks to be a certificate authority");
        }
    }
    for key in &document.private_keys {
        let _ = writeln!(out, "\nprivate key");
        row(&mut out, "kind", &key.kind);
        row(&mut out, "SPKI pin", key.spki_pin.as_deref().unwrap_or_default());
        let owner = key.certificate.map(|position| format!("certificate {position}")).unwrap_or_default();
        row(&mut out, "belongs to", &owner);
    }
    if !document.ignored.is_empty() {
        let _ = writeln!(out, "\nnot shown: {}", document.ignored.join(", "));
    }
    out
}

fn certificate(out: &mut String, cert: &Certificate, life: &str) {
    row(out, "subject", &cert.subject);
    row(out, "issuer", &cert.issuer);
    row(out, "serial", &cert.serial);
    row(out, "names", &join(&cert.names));
    row(out, "SPIFFE", cert.spiffe_id.as_deref().unwrap_or_default());
    row(out, "valid", &format!("{} to {}: {life}", cert.not_before, cert.not_after));
    row(out, "key", &weak(&cert.key, cert.key_weakness.as_deref()));
    let forged = cert.signature_weak.then_some("it can be forged");
    row(out, "signature", &weak(&cert.signature, forged));
    if cert.is_ca {
        let below =
            cert.path_length.map(|below| format!(", {below} authorities below it")).unwrap_or_default();
        row(out, "authority", &format!("yes{below}"));
    }
    row(out, "usage", &join(&cert.key_usage));
    row(out, "extended", &join(&cert.extended_key_usage));
    row(out, "permitted", &join(&cert.permitted));
    row(out, "excluded", &join(&cert.excluded));
    row(out, "key id", cert.subject_key_id.as_deref().unwrap_or_default());
    row(out, "issuer key id", cert.authority_key_id.as_deref().unwrap_or_default());
    row(out, "SHA-256", &cert.fingerprint_sha256);
    row(out, "SHA-1", &cert.fingerprint_sha1);
    row(out, "SPKI pin", &cert.spki_pin);
    row(out, "CRL", &cert.crl_urls.join(" "));
    row(out, "OCSP", &cert.ocsp_urls.join(" "));
    row(out, "issuer at", &cert.issuer_urls.join(" "));
    if cert.ct_logs > 0 {
        row(out, "CT", &format!("{} logs signed for it", cert.ct_logs));
    }
    if cert.version != 3 {
        row(out, "version", &format!("{} (no extensions; most peers refuse it)", cert.version));
    }
    row(out, "critical", &cert.unknown_critical.join(" "));
    row(out, "malformed", &cert.malformed.join(" "));
}

/// A line of the table; what is empty is left out.
fn row(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(out, "  {name:<13} {value}");
    }
}

fn weak(text: &str, why: Option<&str>) -> String {
    why.map_or_else(|| text.to_owned(), |why| format!("{text} - WEAK: {why}"))
}

fn join<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
