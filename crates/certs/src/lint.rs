//! What is wrong, or will be, with a certificate file before anybody connects to it.
//!
//! Pure: certificates, the public key of the private one, and the time go in; findings come out.

#[cfg(test)]
mod tests;

use model::codes::{Code, certificates as code};
use rustls_pki_types::CertificateDer;
use serde::Serialize;

use crate::inspect::{self, Certificate, InspectError, Name};

/// Public authorities may not issue for longer (CA/Browser Forum, 6.3.2, until March 2026; Apple still).
pub const MAX_DAYS_PUBLIC: i64 = 398;
/// Apple's clients refuse any server certificate that lives longer.
pub const MAX_DAYS_SERVER: i64 = 825;
/// A leaf that lives longer than this is never rotated in practice.
pub const MAX_DAYS_LEAF: i64 = 1_200;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Works, but wastes or surprises.
    Notice,
    /// Works today, with some clients or for some time.
    Warning,
    /// Connections fail.
    Error,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The stable code, `HF11..`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Which certificate of the file, from 1; 0 for the file as a whole.
    pub position: usize,
    /// Its subject.
    pub subject: String,
    /// What was found, about this very certificate.
    pub what: String,
    /// What to do.
    pub fix: &'static str,
}

/// Looks for findings in a chain, leaf first. `key` is the SubjectPublicKeyInfo of the private key that
/// belongs to it, when there is one; `roots` are what peers trust, as far as it is known: with them a chain
/// that ends below a root is complete, without them that can only be guessed; `now` in seconds since 1970.
///
/// # Errors
///
/// [`InspectError`] when a certificate is malformed.
pub fn lint(
    chain: &[CertificateDer<'_>],
    key: Option<&[u8]>,
    roots: &[CertificateDer<'_>],
    now: i64,
) -> Result<Vec<Finding>, InspectError> {
    let seen: Vec<Certificate> =
        chain.iter().map(|der| inspect::certificate(der)).collect::<Result<_, _>>()?;
    let roots: Vec<Certificate> =
        roots.iter().filter_map(|der| inspect::certificate(der).ok()).filter(|root| root.is_ca).collect();
    let mut findings = Findings { list: Vec::new(), position: 0, subject: String::new() };
    for (index, cert) in seen.iter().enumerate() {
        findings.position = index + 1;
        findings.subject.clone_from(&cert.subject);
        any(cert, now, &mut findings);
        if index == 0 {
            leaf(cert, &mut findings);
            if key.is_some_and(|spki| inspect::pin(spki) != cert.spki_pin) {
                findings.add(
                    &code::LINT_KEY_MISMATCH,
                    Severity::Error,
                    "the private key that was given is not this certificate's".to_owned(),
                );
            }
        } else if cert.is_ca && !cert.key_usage.is_empty() && !has(&cert.key_usage, "keyCertSign") {
            findings.add(
                &code::LINT_USAGE,
                Severity::Error,
                format!("the authority may not sign certificates: {}", cert.key_usage.join(", ")),
            );
        }
    }
    order(&seen, &mut findings);
    completeness(&seen, &roots, &mut findings);
    findings.list.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.position.cmp(&b.position)));
    Ok(findings.list)
}

struct Findings {
    list: Vec<Finding>,
    position: usize,
    subject: String,
}

impl Findings {
    fn add(&mut self, code: &'static Code, severity: Severity, what: String) {
        self.list.push(Finding {
            code: code.id,
            severity,
            position: self.position,
            subject: self.subject.clone(),
            what,
            fix: code.fix,
        });
    }
}

fn has(list: &[String], name: &str) -> bool {
    list.iter().any(|own| own == name)
}

/// What is looked for in each certificate of the chain.
fn any(cert: &Certificate, now: i64, findings: &mut Findings) {
    if let Some(weakness) = &cert.key_weakness {
        findings.add(&code::LINT_WEAK_KEY, Severity::Error, weakness.clone());
    }
    // Nobody checks the signature of a root: it is trusted for its place in the store.
    if cert.signature_weak && !(cert.self_issued && cert.is_ca) {
        findings.add(&code::LINT_WEAK_SIGNATURE, Severity::Error, format!("signed with {}", cert.signature));
    }
    if cert.version != 3 {
        let what = format!("X.509 version {}, without any extensions", cert.version);
        findings.add(&code::LINT_X509_V1, Severity::Error, what);
    }
    if now > cert.not_after_unix {
        findings.add(
            &code::LINT_EXPIRED,
            Severity::Error,
            format!("{} ({})", cert.life(now), cert.not_after),
        );
    } else if now < cert.not_before_unix {
        findings.add(&code::LINT_NOT_YET_VALID, Severity::Error, format!("valid from {}", cert.not_before));
    } else {
        let (life, left) = (cert.not_after_unix - cert.not_before_unix, cert.not_after_unix - now);
        // An authority is renewed far ahead; a leaf in its last third.
        let soon = if cert.is_ca { left < 90 * 86_400 && left < life / 3 } else { left < life / 3 };
        if soon {
            let what = format!("{} ({})", cert.life(now), cert.not_after);
            findings.add(&code::LINT_EXPIRING, Severity::Warning, what);
        }
    }
    if cert.not_after_unix < cert.not_before_unix {
        findings.add(&code::LINT_MALFORMED, Severity::Error, "its validity ends before it begins".to_owned());
    }
    for oid in &cert.malformed {
        findings.add(&code::LINT_MALFORMED, Severity::Error, format!("the extension {oid} is malformed"));
    }
    for oid in &cert.unknown_critical {
        let what = format!("the critical extension {oid} is not known, so every peer must refuse it");
        findings.add(&code::LINT_MALFORMED, Severity::Error, what);
    }
    if cert.serial.trim_start_matches('0').is_empty() || cert.serial.len() > 42 {
        let what = "its serial number is zero or longer than 20 bytes".to_owned();
        findings.add(&code::LINT_MALFORMED, Severity::Warning, what);
    }
}

/// What is looked for in the first certificate.
fn leaf(cert: &Certificate, findings: &mut Findings) {
    if cert.is_ca {
        let what = "basic constraints say CA:TRUE; clients refuse it as a server's own".to_owned();
        findings.add(&code::LINT_CA_AS_LEAF, Severity::Error, what);
    }
    if cert.self_issued {
        let what =
            "its issuer is itself; rustls and browsers do not take it as both leaf and root".to_owned();
        findings.add(&code::LINT_SELF_SIGNED, Severity::Warning, what);
    }
    if !cert.key_usage.is_empty() && !has(&cert.key_usage, "digitalSignature") && !cert.is_ca {
        let what = format!("digitalSignature is missing: {}", cert.key_usage.join(", "));
        findings.add(&code::LINT_USAGE, Severity::Error, what);
    }
    if !cert.is_ca && (has(&cert.key_usage, "keyCertSign") || has(&cert.key_usage, "cRLSign")) {
        let what = "a leaf has keyCertSign or cRLSign, which only an authority may have".to_owned();
        findings.add(&code::LINT_USAGE, Severity::Warning, what);
    }
    let any_usage = cert.extended_key_usage.is_empty();
    let server = any_usage || has(&cert.extended_key_usage, "serverAuth");
    if !any_usage && !server && !has(&cert.extended_key_usage, "clientAuth") {
        let what = format!("neither for servers nor for clients: {}", cert.extended_key_usage.join(", "));
        findings.add(&code::LINT_USAGE, Severity::Error, what);
    }
    life_length(cert, server, findings);
    alternative_names(cert, server, findings);
}

fn life_length(cert: &Certificate, server: bool, findings: &mut Findings) {
    let days = (cert.not_after_unix - cert.not_before_unix) / 86_400;
    if cert.is_ca {
        return;
    }
    if server && days > MAX_DAYS_SERVER {
        let what = format!("{days} days; Apple's clients refuse a server's of more than {MAX_DAYS_SERVER}");
        findings.add(&code::LINT_LIFE_TOO_LONG, Severity::Error, what);
    } else if server && days > MAX_DAYS_PUBLIC {
        let what = format!("{days} days; browsers refuse a public server's of more than {MAX_DAYS_PUBLIC}");
        findings.add(&code::LINT_LIFE_TOO_LONG, Severity::Warning, what);
    } else if days > MAX_DAYS_LEAF {
        let what = format!("{days} days; if its key is stolen it is good for all of them");
        findings.add(&code::LINT_LIFE_TOO_LONG, Severity::Warning, what);
    }
}

fn alternative_names(cert: &Certificate, server: bool, findings: &mut Findings) {
    if cert.names.is_empty() && cert.version == 3 {
        let severity = if server { Severity::Error } else { Severity::Warning };
        let what = match &cert.common_name {
            Some(name) => format!("only the common name {name:?}, which clients ignore"),
            None => "no name at all".to_owned(),
        };
        findings.add(&code::LINT_NO_SAN, severity, what);
    }
    for name in &cert.names {
        if let Name::Dns(dns) = name {
            dns_name(dns, findings);
        }
    }
    if let Some(common) = &cert.common_name
        && server
        && common.contains('.')
        && !common.contains(' ')
        && !cert.names.is_empty()
        && !cert.names.iter().any(|name| name.value().eq_ignore_ascii_case(common))
    {
        let what = format!("the common name {common:?} is not an alternative name, so no client accepts it");
        findings.add(&code::LINT_COMMON_NAME, Severity::Warning, what);
    }
    let uris = cert.names.iter().filter(|name| matches!(name, Name::Uri(_))).count();
    let spiffe = cert.names.iter().any(|name| matches!(name, Name::Uri(uri) if uri.starts_with("spiffe://")));
    if spiffe && uris > 1 {
        let what = format!("{uris} URIs beside a SPIFFE identity; validators refuse it");
        findings.add(&code::LINT_SPIFFE_NAMES, Severity::Error, what);
    }
    let uses = &cert.extended_key_usage;
    if spiffe && !uses.is_empty() && !(has(uses, "serverAuth") && has(uses, "clientAuth")) {
        let what = format!(
            "a SPIFFE identity is for both ends of a connection, and this one for {} alone",
            uses.join(", ")
        );
        // A notice: certificates of Kubernetes workloads are for one end on purpose (ADR 0080).
        findings.add(&code::LINT_SPIFFE_USAGE, Severity::Notice, what);
    }
}

fn dns_name(dns: &str, findings: &mut Findings) {
    let plain = dns.strip_prefix("*.").unwrap_or(dns);
    if plain.contains('*') {
        let what = format!("{dns}: a wildcard counts only as the whole first label");
        findings.add(&code::LINT_WILDCARD, Severity::Error, what);
    } else if dns.starts_with("*.") && !plain.trim_end_matches('.').contains('.') {
        let what = format!("{dns}: browsers refuse a wildcard directly below a top-level domain");
        findings.add(&code::LINT_WILDCARD, Severity::Warning, what);
    }
    let bad_label = |label: &str| {
        label.is_empty()
            || label.len() > 63
            || label.starts_with('-')
            || label.ends_with('-')
            || !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if plain.contains('_') {
        let what =
            format!("{dns}: an underscore is not allowed in a host name, and several clients refuse it");
        findings.add(&code::LINT_NAME_MALFORMED, Severity::Warning, what);
    } else if plain.parse::<std::net::IpAddr>().is_ok() {
        let what = format!("{dns}: an address under DNS never matches; it belongs under IP");
        findings.add(&code::LINT_NAME_MALFORMED, Severity::Error, what);
    } else if dns.len() > 253 || plain.replace('*', "x").split('.').any(bad_label) {
        let what = format!("{dns:?} is no host name");
        findings.add(&code::LINT_NAME_MALFORMED, Severity::Error, what);
    }
}

/// What is looked for in the chain as a whole.
fn order(seen: &[Certificate], findings: &mut Findings) {
    for (index, pair) in seen.windows(2).enumerate() {
        let [child, next] = pair else { continue };
        if !issued(next, child) {
            findings.position = index + 2;
            findings.subject.clone_from(&next.subject);
            let what = format!("it follows {}, but that one was issued by {}", child.subject, child.issuer);
            findings.add(&code::LINT_CHAIN_ORDER, Severity::Warning, what);
        }
    }
    if seen.len() > 1 {
        for (index, cert) in seen.iter().enumerate().skip(1).filter(|(_, cert)| cert.self_issued) {
            findings.position = index + 1;
            findings.subject.clone_from(&cert.subject);
            let what = format!("the root {} is sent in every handshake for nothing", cert.subject);
            findings.add(&code::LINT_NEEDLESS_ROOT, Severity::Notice, what);
        }
    }
}

/// Whether the chain reaches a root. Without the roots, a leaf alone can only be suspected.
fn completeness(seen: &[Certificate], roots: &[Certificate], findings: &mut Findings) {
    let (Some(leaf), Some(last)) = (seen.first(), seen.last()) else { return };
    if leaf.self_issued || last.self_issued || roots.iter().any(|root| issued(root, last)) {
        return;
    }
    findings.position = seen.len();
    findings.subject.clone_from(&last.subject);
    if !roots.is_empty() {
        let what =
            format!("the chain ends at {}, whose issuer {} is no trusted root", last.subject, last.issuer);
        findings.add(&code::LINT_INTERMEDIATE_MISSING, Severity::Error, what);
    } else if seen.len() == 1 && !leaf.is_ca {
        let what = format!(
            "the leaf stands alone; unless {} is a root that peers have, its certificate must follow",
            leaf.issuer
        );
        findings.add(&code::LINT_INTERMEDIATE_MISSING, Severity::Warning, what);
    }
}

/// Whether names and key identifiers allow that one issued the other.
fn issued(issuer: &Certificate, child: &Certificate) -> bool {
    issuer.subject == child.issuer
        && (child.authority_key_id.is_none()
            || issuer.subject_key_id.is_none()
            || child.authority_key_id == issuer.subject_key_id)
}
