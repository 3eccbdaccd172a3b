//! What the certificate commands read: a file, standard input, or what a server sends.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use certs::formats::{self, Contents, MAX_BYTES};
use model::codes;
use rustls::pki_types::CertificateDer;

use crate::failure::{EXIT_USAGE, Failure};

/// Reads `PATH` or `-`, at most as much as the formats allow.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let limit = MAX_BYTES as u64 + 1;
    let mut content = Vec::new();
    let outcome = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut content)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut content))
    };
    match outcome {
        Ok(_) => Ok(content),
        Err(error) => Err(Failure::reading(path, &error).exit(EXIT_USAGE)),
    }
}

/// Reads and parses a file of any format; its name is part of every failure.
pub fn contents(path: &Path, password: Option<&Path>) -> Result<Contents, Failure> {
    let secret = password.map(self::password).transpose()?;
    formats::read(&bytes(path)?, secret.as_deref().map(String::as_str))
        .map_err(|error| Failure::from(error).with("file", path.display()).exit(EXIT_USAGE))
}

/// The certificates of a file, at least one.
pub fn certificates(path: &Path, password: Option<&Path>) -> Result<Contents, Failure> {
    let contents = contents(path, password)?;
    if contents.certificates.is_empty() {
        return Err(Failure::new(
            &codes::certificates::NO_CERTIFICATE,
            format!("there is no certificate in {}", path.display()),
        )
        .exit(EXIT_USAGE));
    }
    Ok(contents)
}

/// The certificates of several files.
pub fn all_certificates(paths: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(certificates(path, None)?.certificates);
    }
    Ok(all)
}

/// The password in a file: its first line.
pub fn password(path: &Path) -> Result<zeroize::Zeroizing<String>, Failure> {
    let content = zeroize::Zeroizing::new(bytes(path)?);
    let line = content.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err(Failure::usage(format!(
            "the first line of {} is empty, and that would be the password",
            path.display()
        ))),
        Ok(text) => Ok(zeroize::Zeroizing::new(text.to_owned())),
        Err(_) => Err(Failure::usage(format!("the password in {} is not UTF-8", path.display()))),
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
