//! The files of an issued certificate, and what is said about it afterwards.

use std::path::{Path, PathBuf};

use certs::{Issued, PrivateKey, Record, Request, inspect};
use serde::Serialize;
use zeroize::Zeroizing;

use super::input;
use crate::commands::Globals;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::output;

/// Where a certificate and its key are written.
pub struct Files {
    /// The leaf, then its intermediates.
    pub certificate: PathBuf,
    /// The private key; none for somebody else's key.
    pub key: Option<PathBuf>,
    folder: PathBuf,
    /// The certificate's file holds its key too; the key of now, which stays when it is somebody else's.
    combined: Option<Zeroizing<String>>,
}

impl Files {
    /// `NAME.crt` and `NAME.key` in a folder.
    pub fn new(folder: PathBuf, name: &str) -> Self {
        Self {
            certificate: folder.join(format!("{name}.crt")),
            key: Some(folder.join(format!("{name}.key"))),
            folder,
            combined: None,
        }
    }

    /// `NAME.crt` alone, for a key that is somebody else's.
    pub fn certificate_only(folder: PathBuf, name: &str) -> Self {
        Self { key: None, ..Self::new(folder, name) }
    }

    /// With the key in another file.
    pub fn with_key(mut self, key: Option<&Path>) -> Self {
        if let Some(key) = key {
            self.key = Some(key.to_owned());
        }
        self
    }

    /// Without the key, when it is somebody else's.
    pub fn of_owner(mut self, record: &Record) -> Self {
        if record.own_key == Some(false) {
            self.key = None;
        }
        self
    }

    /// An existing certificate file, with its key in the same file, in the one that is given, or in the one
    /// beside it. Where its key is not found it is refused: a new certificate would not fit the old key.
    pub fn beside(certificate: &Path, key: Option<&Path>, record: &Record) -> Result<Self, Failure> {
        let folder = match certificate.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let certificate = certificate.to_owned();
        let contents = input::contents(&certificate, None)?;
        if !contents.encrypted_keys.is_empty() {
            return Err(Failure::usage(format!(
                "the key in {} is encrypted, and a new one could not be put in its place",
                certificate.display()
            )));
        }
        if let Some(der) = contents.keys.first() {
            let combined = Some(PrivateKey::from_der(&der.0)?.to_pem());
            return Ok(Self { certificate, key: None, folder, combined });
        }
        let path = key.map_or_else(|| certificate.with_extension("key"), Path::to_owned);
        let files = Self { certificate, key: Some(path.clone()), folder, combined: None }.of_owner(record);
        if files.key.is_some() {
            let pin = inspect::certificate(&record.der)?.spki_pin;
            let held = input::contents(&path, None).ok().and_then(|found| found.keys.into_iter().next());
            let held = held.and_then(|der| PrivateKey::from_der(&der.0).ok());
            if held.is_none_or(|key| inspect::pin(&key.public_key_info()) != pin) {
                return Err(Failure::new(
                    &model::codes::certificates::KEY_MISMATCH,
                    format!("the key of {} is not in {}", files.certificate.display(), path.display()),
                )
                .exit(EXIT_USAGE)
                .fix("name the file of its key with --key; it is replaced together with the certificate"));
            }
        }
        Ok(files)
    }

    /// Refuses to replace files, unless that is wanted.
    pub fn check_free(&self, force: bool) -> Result<(), Failure> {
        for path in std::iter::once(&self.certificate).chain(&self.key) {
            if !force && path.exists() {
                return Err(Failure::new(
                    &model::codes::usage::FILE_NOT_WRITTEN,
                    format!("{} exists already, and would be replaced", path.display()),
                )
                .exit(EXIT_USAGE)
                .fix("renew it with handfast cert renew, give another folder with --out, or replace it with --force"));
            }
        }
        Ok(())
    }

    /// Finds out before anything is issued whether the folder can be written to.
    pub fn check_writable(&self) -> Result<(), Failure> {
        certs::create_folder(&self.folder)?;
        // A name of its own: two renewals at the same time must not take each other's file away.
        tempfile::Builder::new()
            .prefix(".handfast-probe-")
            .tempfile_in(&self.folder)
            .map(drop)
            .map_err(|e| Failure::writing(&self.folder, &e))
    }

    /// Writes the key first: a server that reloads in between finds a pair that does not match and keeps
    /// the old one, rather than a certificate without its key.
    pub fn write(&self, issued: &Issued) -> Result<(), Failure> {
        if let Some(held) = &self.combined {
            let key = issued.key_pem.as_ref().unwrap_or(held);
            let mut text = Zeroizing::new(String::with_capacity(issued.chain_pem.len() + key.len()));
            text.push_str(&issued.chain_pem);
            text.push_str(key);
            return Ok(certs::write_private(&self.certificate, text.as_bytes())?);
        }
        if let (Some(key), Some(path)) = (&issued.key_pem, &self.key) {
            certs::write_private(path, key.as_bytes())?;
        }
        certs::write_public(&self.certificate, issued.chain_pem.as_bytes())?;
        Ok(())
    }
}

/// A certificate as JSON shows it.
#[derive(Serialize)]
pub struct Certificate {
    /// Name in the ledger.
    pub name: String,
    /// Upper-case hexadecimal.
    pub serial: String,
    /// Subject.
    pub subject: String,
    /// Subject alternative names, as in `DNS:example.com`.
    pub names: Vec<String>,
    /// `server`, `client` or `both`.
    pub usage: String,
    /// Start of validity, RFC 3339.
    pub not_before: String,
    /// End of validity, RFC 3339.
    pub not_after: String,
    /// The authority that signed it.
    pub issuer: String,
    /// Who asked for it.
    pub who: String,
}

impl From<&Record> for Certificate {
    fn from(record: &Record) -> Self {
        Self {
            name: record.name.clone(),
            serial: record.serial.to_string(),
            subject: record.subject.clone(),
            names: record.names.iter().map(ToString::to_string).collect(),
            usage: record.usage.clone(),
            not_before: certs::rfc3339(record.not_before),
            not_after: certs::rfc3339(record.not_after),
            issuer: record.issuer.clone(),
            who: record.who.clone(),
        }
    }
}

#[derive(Serialize)]
struct Document {
    version: u8,
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Certificate>,
    certificate_file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<String>,
    shortened: bool,
}

/// Says what was issued.
pub fn issued(globals: &Globals, issued: &Issued, files: &Files) -> Outcome {
    let document = Document {
        version: 1,
        dry_run: false,
        certificate: Some(Certificate::from(&issued.record)),
        certificate_file: files.certificate.display().to_string(),
        key_file: files.key.as_ref().map(|path| path.display().to_string()),
        shortened: issued.shortened,
    };
    if issued.shortened {
        eprintln!(
            "note: it ends earlier than asked for, on {}, because its issuer does",
            certs::rfc3339(issued.record.not_after)
        );
    }
    output::print(globals.output, &document, || {
        let record = &issued.record;
        let names: Vec<String> = record.names.iter().map(ToString::to_string).collect();
        let mut text = format!(
            "issued {} for {} ({})\n  serial        {}\n  valid until   {}\n  certificate   {}\n",
            record.name,
            names.join(", "),
            record.usage,
            record.serial,
            certs::rfc3339(record.not_after),
            document.certificate_file
        );
        if let Some(key) = &document.key_file {
            text.push_str(&format!("  key           {key}\n"));
        }
        text
    })?;
    Ok(EXIT_OK)
}

/// Says what would be issued.
pub fn would_issue(globals: &Globals, request: &Request, files: &Files) -> Outcome {
    #[derive(Serialize)]
    struct Plan {
        version: u8,
        dry_run: bool,
        name: String,
        names: Vec<String>,
        usage: String,
        lifetime_seconds: i64,
        certificate_file: String,
    }
    let plan = Plan {
        version: 1,
        dry_run: true,
        name: request.name.clone(),
        names: request.names.iter().map(ToString::to_string).collect(),
        usage: request.effective_usage().to_string(),
        lifetime_seconds: request.lifetime.whole_seconds(),
        certificate_file: files.certificate.display().to_string(),
    };
    output::print(globals.output, &plan, || {
        format!("would issue {} for {} ({})\n", plan.name, plan.names.join(", "), plan.usage)
    })?;
    Ok(EXIT_OK)
}
