//! Warns before certificates and revocation lists end: long before, and more urgently as it comes nearer.

use std::collections::HashMap;

use model::codes::{Code, serving};

use crate::authorize::now;
use crate::material::Material;
use crate::metrics::{Metrics, OfFile};
use crate::tls::certificates::date;

const DAY: i64 = 86_400;

/// What was warned of, and how urgently.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    warned: HashMap<(String, i64), u8>,
}

impl Expiry {
    /// Shows when everything ends as metrics.
    pub(crate) fn publish(&self, material: &Material, metrics: &Metrics) {
        metrics.certificate_expiration.clear();
        metrics.crl_next_update.clear();
        for certificate in material.certificates.values() {
            let labels = OfFile { file: certificate.file.clone(), name: certificate.name.clone() };
            metrics.certificate_expiration.get_or_create(&labels).set(certificate.not_after);
        }
        for list in &material.lists {
            let labels = OfFile { file: list.file.display().to_string(), name: list.issuer.clone() };
            if let Some(until) = list.until {
                metrics.crl_next_update.get_or_create(&labels).set(until);
            }
        }
    }

    /// Warns of what ends soon, once for each degree of urgency.
    pub(crate) fn look(&mut self, material: &Material) {
        let now = now();
        for certificate in material.certificates.values() {
            let life = certificate.not_after - certificate.not_before;
            let level = urgency(certificate.not_after - now, life);
            let code = if level == ENDED {
                &serving::CERTIFICATE_SERVED_EXPIRED
            } else {
                &serving::CERTIFICATE_EXPIRES_SOON
            };
            self.warn(&certificate.file, certificate.not_after, level, code, &certificate.name);
        }
        for list in &material.lists {
            let Some(until) = list.until else { continue };
            // Lists are made for a week or so: a day before, or in the last tenth, is soon.
            let level = urgency(until - now, 10 * DAY);
            self.warn(
                &list.file.display().to_string(),
                until,
                level,
                &serving::CRL_EXPIRES_SOON,
                &list.issuer,
            );
        }
    }

    fn warn(&mut self, file: &str, until: i64, level: u8, code: &'static Code, name: &str) {
        let known = self.warned.entry((file.to_owned(), until)).or_default();
        if level <= *known {
            return;
        }
        *known = level;
        let ends = date(until);
        tracing::warn!(code = code.id, file, name, ends, "{}: {file} ends at {ends}", code.title);
    }
}

const ENDED: u8 = 4;

/// 0: there is time. 1: in the last third of its life (renewal is due at two thirds). 2: a tenth, or a week.
/// 3: a day, or the last hundredth. 4: it has ended.
fn urgency(left: i64, life: i64) -> u8 {
    match left {
        ..=0 => ENDED,
        left if left < (life / 100).clamp(3600, DAY) => 3,
        left if left < (life / 10).min(7 * DAY) => 2,
        left if left < life * 3 / 10 => 1,
        _ => 0,
    }
}
