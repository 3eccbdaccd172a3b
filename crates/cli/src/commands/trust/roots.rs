//! The roots that are put in and taken out, each as a file, and the guard over their key.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use certs::{Authority, inspect};
use model::codes;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use super::stores::Root;
use crate::commands::cert::input;
use crate::failure::{EXIT_USAGE, Failure};

/// The roots of an authority, or of a file.
pub struct Roots {
    /// Those that verifiers should trust now.
    pub trusted: Vec<Root>,
    /// Those that were trusted once, and must be in no store any more.
    pub retired: Vec<Root>,
}

/// A folder for this run, under a name that nobody can guess or have made before, closed to others.
pub fn private_folder() -> Result<TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("handfast-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|error| Failure::writing(&std::env::temp_dir(), &error))
}

impl Roots {
    /// The roots of a file, and with an authority those that it has retired.
    pub fn read(source: &Path, authority: Option<&Path>) -> Result<Self, Failure> {
        let folder = Arc::new(private_folder()?);
        let make = |der: &CertificateDer<'_>| root(der, source, &folder);
        let trusted = input::certificates(source, None)?
            .certificates
            .iter()
            .map(make)
            .collect::<Result<Vec<_>, _>>()?;
        let mut retired = Vec::new();
        if let Some(dir) = authority {
            for member in certs::members(&Authority::open_ledger(dir)?)? {
                if member.name.starts_with("root") && member.state == "retired" {
                    retired.push(make(&CertificateDer::from(member.certificate.der))?);
                }
            }
        }
        Ok(Self { trusted, retired })
    }
}

fn root(der: &CertificateDer<'_>, source: &Path, folder: &Arc<TempDir>) -> Result<Root, Failure> {
    let seen = inspect::certificate(der)?;
    if !seen.is_ca || !seen.self_issued {
        return Err(Failure::new(
            &codes::trust::NOT_A_ROOT,
            format!("{} is no root certificate: trust stores are for roots", seen.subject),
        )
        .with("file", source.display())
        .exit(EXIT_USAGE));
    }
    let alias = format!("handfast-{}", &seen.fingerprint_sha256[..16]);
    let pem = certs::formats::pem::write(std::slice::from_ref(der));
    let file = folder.path().join(format!("{alias}.crt"));
    certs::write_public(&file, pem.as_bytes())?;
    Ok(Root { file, pem, alias, sha1: seen.fingerprint_sha1, subject: seen.subject, _folder: folder.clone() })
}

/// Who can read the root's key can impersonate every site to a machine that trusts the root.
pub fn guard_key(source: &Path, dir: &Path, foreign: bool) -> Result<(), Failure> {
    let mut keys = vec![source.with_extension("key")];
    if !foreign {
        let folder = std::fs::read_dir(dir.join("root")).into_iter().flatten().flatten();
        keys.extend(
            folder.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "key")),
        );
    }
    for key in keys.iter().filter(|key| key.exists()) {
        let mode =
            std::fs::metadata(key).map_err(|error| Failure::reading(key, &error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Failure::new(
                &codes::trust::ROOT_KEY_EXPOSED,
                "the root's private key can be read by others, so the root is not put into a trust store",
            )
            .with("key", key.display())
            .with("mode", format!("{:04o}", mode & 0o7777))
            .fix(format!("chmod 600 {}; make a new root if others had access", key.display())));
        }
        eprintln!("note: the root's key lies in {}; take it offline once it is not needed", key.display());
    }
    Ok(())
}
