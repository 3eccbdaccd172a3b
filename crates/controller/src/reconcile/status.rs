//! What the controller says of a Certificate: conditions, dates, and when it tries again. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use model::codes::Coded as _;
use time::OffsetDateTime;

use super::pair::Pair;
use crate::certificate::{Certificate, CertificateStatus};
use crate::error::{Error, chain, shortened};

#[cfg(test)]
mod tests;

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The status of a Certificate whose Secret is good.
pub fn ready(
    certificate: &Certificate,
    pair: &Pair,
    issuer: &str,
    revision: i64,
    now: OffsetDateTime,
) -> CertificateStatus {
    let message = format!(
        "certificate {} of {issuer} is valid until {}, and is renewed at {}",
        pair.serial,
        certs::rfc3339(pair.not_after),
        certs::rfc3339(pair.renew_at())
    );
    CertificateStatus {
        conditions: conditions(certificate, "True", "Issued", message, now),
        observed_generation: certificate.metadata.generation,
        serial: Some(pair.serial.to_string().to_lowercase()),
        not_before: time(pair.not_before),
        not_after: time(pair.not_after),
        renew_at: time(pair.renew_at()),
        issuer: Some(issuer.to_owned()),
        revision,
        failures: None,
    }
}

/// The status after a failure: what is known of the certificate in the Secret stays. A failure that passes by itself
/// (the API server is away) does not make a Certificate unready whose pair is good.
pub fn failed(certificate: &Certificate, error: &Error, now: OffsetDateTime) -> CertificateStatus {
    let before = certificate.status.clone().unwrap_or_default();
    let same = before.observed_generation == certificate.metadata.generation;
    let good = same
        && before.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        && before.not_after.as_ref().is_some_and(|end| end.0.as_second() > now.unix_timestamp());
    let conditions = match good && error.is_passing() {
        true => before.conditions.clone(),
        false => conditions(certificate, "False", reason(error), message(error), now),
    };
    CertificateStatus {
        conditions,
        observed_generation: certificate.metadata.generation,
        failures: Some(if same { before.failures.unwrap_or_default().saturating_add(1) } else { 1 }),
        ..before
    }
}

/// The whole cause in one line, with its code.
pub fn message(error: &Error) -> String {
    shortened(format!("{}: {}", error.code().id, chain(error)))
}

/// The word of a condition and an Event.
pub fn reason(error: &Error) -> &'static str {
    match error {
        Error::Name(_) | Error::Spec(_) | Error::SecretForeign { .. } => "Refused",
        _ => "Failed",
    }
}

/// How long to wait after so many failures: twice as long each time, up to ten minutes.
pub fn wait(failures: i64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1).max(0)).unwrap_or(u32::MAX).min(10);
    (FIRST_WAIT * 2u32.pow(doublings)).min(LONGEST_WAIT)
}

/// Whether the condition Ready says something else than before.
pub fn is_news(certificate: &Certificate, status: &CertificateStatus) -> bool {
    let of = |status: &CertificateStatus| {
        status.conditions.first().map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
    };
    certificate.status.as_ref().and_then(of) != of(status)
}

fn conditions(
    certificate: &Certificate,
    status: &str,
    reason: &str,
    message: String,
    now: OffsetDateTime,
) -> Vec<Condition> {
    let before = certificate.status.as_ref().and_then(|s| s.conditions.iter().find(|c| c.type_ == "Ready"));
    let since =
        before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
    vec![Condition {
        type_: "Ready".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: certificate.metadata.generation,
        last_transition_time: since.or_else(|| time(now)).unwrap_or(Time(Timestamp::UNIX_EPOCH)),
    }]
}

fn time(at: OffsetDateTime) -> Option<Time> {
    Timestamp::from_second(at.unix_timestamp()).ok().map(Time)
}
