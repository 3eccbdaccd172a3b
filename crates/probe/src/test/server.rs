//! Rows about the server's own certificate: name, chain, dates, strength.

use certs::verify::{Options, Trust, verify};
use rustls_pki_types::{ServerName, UnixTime};
use time::{Duration, OffsetDateTime};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::check::{Check, Spec};
use super::{Context, Row};
use crate::attempt::Version;
use crate::explain::diagnosis::of_server;

pub(super) fn row(context: &Context, spec: &Spec) -> Row {
    let surveyed = Version::BOTH.iter().rev().filter_map(|version| context.surveyed(*version));
    let chain = surveyed
        .map(|outcome| &outcome.facts.chain)
        .chain(context.legacy.iter().map(|legacy| &legacy.chain))
        .find(|chain| !chain.is_empty());
    let Some((chain, leaf)) = chain.and_then(|chain| Some((chain, chain.first()?))) else {
        return Row::skipped(spec, None, "the server showed no certificate");
    };
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
        return Row::said(spec, None, "the certificate is not DER", false);
    };
    match spec.check {
        Check::ServerName => name(context, spec, leaf),
        Check::ServerChain => {
            if context.plan.credentials.roots.is_empty() {
                return Row::skipped(spec, None, "no trusted roots: --ca FILE");
            }
            let trust = match Trust::new(&context.plan.credentials.roots) {
                Ok(trust) => trust,
                Err(error) => return Row::skipped(spec, None, error.to_string()),
            };
            match verify(chain, &trust, &Options::server(UnixTime::now(), None)) {
                Ok(verified) => {
                    let count = verified.intermediates.len();
                    Row::said(spec, None, format!("complete, {count} intermediate(s)"), true)
                }
                Err(rejection) => {
                    let (cause, fix) = of_server(&rejection, chain, &context.plan.target.name);
                    Row::said(spec, None, rejection.to_string(), false).because(cause, fix)
                }
            }
        }
        Check::ServerDates => dates(spec, &parsed),
        _ => {
            let found = weaknesses(&parsed);
            match found.is_empty() {
                true => Row::said(spec, None, "no weakness", true),
                false => Row::said(spec, None, found.join("; "), false),
            }
        }
    }
}

fn name(context: &Context, spec: &Spec, leaf: &rustls_pki_types::CertificateDer<'_>) -> Row {
    let wanted = &context.plan.target.name;
    let Ok(server) = ServerName::try_from(wanted.as_str()) else {
        return Row::said(spec, None, format!("'{wanted}' is not a server name"), false);
    };
    let end = match EndEntityCert::try_from(leaf) {
        Ok(end) => end,
        Err(error) => return Row::said(spec, None, format!("unreadable certificate: {error}"), false),
    };
    match end.verify_is_valid_for_subject_name(&server) {
        Ok(()) => Row::said(spec, None, format!("valid for {wanted}"), true),
        Err(_) => {
            let valid: Vec<String> = end.valid_dns_names().map(str::to_owned).collect();
            let list = if valid.is_empty() { "no DNS name".to_owned() } else { valid.join(", ") };
            Row::said(spec, None, format!("not valid for {wanted}, but for {list}"), false).because(
                spec.finding.cause,
                format!("issue one with this name: handfast cert issue --server {wanted} --dns {wanted}; or ask for another: --servername NAME"),
            )
        }
    }
}

fn dates(spec: &Spec, leaf: &X509Certificate<'_>) -> Row {
    let now = OffsetDateTime::now_utc();
    let (from, to) = (leaf.validity().not_before.to_datetime(), leaf.validity().not_after.to_datetime());
    if now > to {
        return Row::said(spec, None, format!("expired since {}", to.date()), false);
    }
    if now < from {
        return Row::said(spec, None, format!("not valid before {}", from.date()), false);
    }
    // The last tenth of its life: whatever renews it should have done so long ago.
    let left = to - now;
    if left < (to - from) / 10 {
        return Row::said(spec, None, format!("expires in {}", in_words(left)), false);
    }
    Row::said(spec, None, format!("valid for another {}", in_words(left)), true)
}

fn in_words(span: Duration) -> String {
    match (span.whole_days(), span.whole_hours()) {
        (days, _) if days >= 2 => format!("{days} days"),
        (_, hours) if hours >= 2 => format!("{hours} hours"),
        _ => format!("{} minutes", span.whole_minutes()),
    }
}

/// What clients complain about, in words.
pub(crate) fn weaknesses(leaf: &X509Certificate<'_>) -> Vec<String> {
    let mut found = Vec::new();
    if leaf.version().0 < 2 {
        found.push("X.509 version 1".to_owned());
    }
    if leaf.subject_alternative_name().ok().flatten().is_none() {
        found.push("no subject alternative name (clients ignore the common name)".to_owned());
    }
    if leaf.is_ca() {
        found.push("a CA certificate is used as the server's own".to_owned());
    }
    if let Some(usage) = leaf.extended_key_usage().ok().flatten()
        && !(usage.value.server_auth || usage.value.any)
    {
        found.push("not meant for servers (extended key usage)".to_owned());
    }
    if let Ok(x509_parser::public_key::PublicKey::RSA(rsa)) = leaf.public_key().parsed()
        && rsa.key_size() < 2048
    {
        found.push(format!("RSA key of {} bits", rsa.key_size()));
    }
    let algorithm = leaf.signature_algorithm.algorithm.to_id_string();
    let weak = ["1.2.840.113549.1.1.5", "1.2.840.10045.4.1", "1.2.840.113549.1.1.4", "1.2.840.113549.1.1.2"];
    if weak.contains(&algorithm.as_str()) {
        found.push("signed with SHA-1 or MD5".to_owned());
    }
    let validity = leaf.validity();
    let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
    // Apple's limit for any server certificate; public authorities must stay far below it.
    if days > 825 {
        found.push(format!("valid for {days} days (Apple's clients accept at most 825)"));
    }
    found
}
