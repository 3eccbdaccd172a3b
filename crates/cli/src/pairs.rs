//! Looks into the certificates and keys that a configuration names, so that what is wrong with them is said
//! with the line that names them: what stops a start by the proxy's own rules, the rest by `cert lint`'s.
//! The two meet here because crate `config` knows no certificates.

use std::path::Path;

use certs::lint::{Finding, lint};
use config::{Certificates, Seen};
use model::codes::{Coded as _, certificates as codes, serving};
use model::snapshot::CertificateFiles;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

#[cfg(test)]
mod tests;

/// Looks into each pair.
#[derive(Clone, Copy, Debug)]
pub struct Pairs;

impl Certificates for Pairs {
    fn look(&self, base: &Path, files: &CertificateFiles, server: bool) -> Vec<Seen> {
        let mut seen = Vec::new();
        let mut expired = false;
        if let Err(error) = proxy::try_certificate(base, files) {
            let code = error.code();
            let is = |one: &'static model::codes::Code| one.id == code.id;
            expired = is(&serving::CERTIFICATE_SERVED_EXPIRED) || is(&serving::CERTIFICATE_NOT_VALID_YET);
            seen.push(Seen {
                // Time heals or spoils a certificate whose configuration is right.
                warning: expired,
                of_key: is(&serving::KEY_MISMATCH) || is(&serving::KEY_UNREADABLE),
                code,
                message: format!("{error}{}", if expired { "; nothing can be started with it" } else { "" }),
                help: String::new(),
            });
        }
        let findings = if server { chain(&base.join(&files.chain)) } else { Vec::new() };
        let told = |finding: &Finding| expired && finding.code == codes::LINT_EXPIRED.id;
        seen.extend(findings.into_iter().filter(|finding| !told(finding)).filter_map(warning));
        seen
    }
}

/// The findings of a chain's file; none where it cannot be read, which is told elsewhere.
fn chain(path: &Path) -> Vec<Finding> {
    let Ok(pem) = std::fs::read(path) else { return Vec::new() };
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |span| span.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    chain.ok().and_then(|chain| lint(&chain, None, &[], now).ok()).unwrap_or_default()
}

/// Those findings that clients will meet; `cert lint` has the others.
fn warning(finding: Finding) -> Option<Seen> {
    let code = [
        &codes::LINT_EXPIRED,
        &codes::LINT_EXPIRING,
        &codes::LINT_INTERMEDIATE_MISSING,
        &codes::LINT_NO_SAN,
        &codes::LINT_CA_AS_LEAF,
        &codes::LINT_CHAIN_ORDER,
    ]
    .into_iter()
    .find(|code| code.id == finding.code)?;
    let message = format!("{} ({}): {}", lower(code.title), finding.subject, finding.what);
    Some(Seen { warning: true, of_key: false, code, message, help: finding.fix.to_owned() })
}

fn lower(title: &str) -> String {
    let mut characters = title.chars();
    let first = characters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}
