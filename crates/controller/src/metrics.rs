//! What the controller counts. cert-manager's names are there too, so that alerts that people have go on working.
//! Never a serial number, fingerprint or PEM as a label.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;

use crate::authority::{Standing, State};
use crate::names::GROUP;

#[cfg(test)]
mod tests;

/// Labels: a Certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCertificate {
    name: String,
    namespace: String,
    issuer_name: &'static str,
    issuer_kind: &'static str,
    issuer_group: &'static str,
}

/// Labels: a Certificate and a condition's status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCondition {
    condition: &'static str,
    name: String,
    namespace: String,
    issuer_name: &'static str,
    issuer_kind: &'static str,
    issuer_group: &'static str,
}

/// Labels: why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

/// Labels: how a request to the signer ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    kind: &'static str,
    result: &'static str,
    reason: &'static str,
}

/// Labels: an authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAuthority {
    authority: String,
}

/// Labels: a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRotation {
    subject: &'static str,
    step: &'static str,
}

type Seconds = Family<OfCertificate, Gauge<i64, AtomicI64>>;

/// The registry and its families.
pub struct Metrics {
    registry: Mutex<Registry>,
    expiration: Seconds,
    renewal: Seconds,
    ready: Family<OfCondition, Gauge<i64, AtomicI64>>,
    authorities: Family<OfAuthority, Gauge<i64, AtomicI64>>,
    damaged: Gauge,
    rotation: Family<OfRotation, Gauge<i64, AtomicI64>>,
    issued: Family<OfReason, Counter>,
    failed: Family<OfReason, Counter>,
    requests: Family<OfRequest, Counter>,
    reconciled: Histogram,
    restarts: Counter,
    restarts_waiting: Gauge,
    leader: Gauge,
    skew: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
        let metrics = Self {
            registry: Mutex::new(Registry::default()),
            expiration: Family::default(),
            renewal: Family::default(),
            ready: Family::default(),
            authorities: Family::default(),
            damaged: Gauge::default(),
            rotation: Family::default(),
            issued: Family::default(),
            failed: Family::default(),
            requests: Family::default(),
            reconciled: Histogram::new(buckets),
            restarts: Counter::default(),
            restarts_waiting: Gauge::default(),
            leader: Gauge::default(),
            skew: Gauge::default(),
        };
        metrics.register(|registry| metrics.fill(registry));
        metrics
    }
}

impl Metrics {
    fn fill(&self, r: &mut Registry) {
        for prefix in ["handfast", "certmanager"] {
            r.register(
                format!("{prefix}_certificate_expiration_timestamp_seconds"),
                "When the certificate ends, in seconds since 1970",
                self.expiration.clone(),
            );
            r.register(
                format!("{prefix}_certificate_renewal_timestamp_seconds"),
                "When the certificate will be renewed, in seconds since 1970",
                self.renewal.clone(),
            );
            r.register(
                format!("{prefix}_certificate_ready_status"),
                "1 for the present status of the condition Ready",
                self.ready.clone(),
            );
        }
        r.register(
            "handfast_authority_expiration_timestamp_seconds",
            "When an authority ends, in seconds since 1970",
            self.authorities.clone(),
        );
        r.register(
            "handfast_authority_damaged",
            "1 while the authority's Secret is gone or cannot be used and the last good one is in force",
            self.damaged.clone(),
        );
        r.register(
            "handfast_rotation_due_timestamp_seconds",
            "From when on the next step of a rotation can be taken, in seconds since 1970",
            self.rotation.clone(),
        );
        r.register(
            "handfast_certificates_issued",
            "Certificates that were signed, by reason",
            self.issued.clone(),
        );
        r.register(
            "handfast_reconcile_failures",
            "Reconciliations that failed, by reason",
            self.failed.clone(),
        );
        r.register(
            "handfast_signer_requests",
            "Requests to the signer that were decided, by kind, result and reason",
            self.requests.clone(),
        );
        r.register("handfast_reconcile_duration_seconds", "How long one took", self.reconciled.clone());
        r.register(
            "handfast_workload_restarts",
            "Rolling restarts that were begun for renewed certificates",
            self.restarts.clone(),
        );
        r.register(
            "handfast_workload_restarts_waiting",
            "Workloads whose restart has to wait",
            self.restarts_waiting.clone(),
        );
        r.register("handfast_leader", "1 while this process leads", self.leader.clone());
        r.register(
            "handfast_clock_ahead_seconds",
            "How far this clock is ahead of the API server's",
            self.skew.clone(),
        );
    }

    /// Registers more metrics.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics in the text format of OpenMetrics, which Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }

    /// Says whether this process leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Says how far the clock is ahead.
    pub fn set_skew(&self, seconds: i64) {
        self.skew.set(seconds as f64);
    }

    /// Says when each root and intermediate ends, how far a rotation is, and that the authority is well.
    pub fn set_authority(&self, state: &State) {
        self.forget_authority();
        for member in state.members.iter().filter(|member| member.standing != Standing::Retired) {
            let labels = OfAuthority { authority: member.name.clone() };
            self.authorities.get_or_create(&labels).set(member.certificate.not_after.unix_timestamp());
        }
        if let Some(rotation) = &state.rotation {
            let labels = OfRotation { subject: rotation.subject.as_str(), step: rotation.step.as_str() };
            // After the switch the old leaves have to end first.
            let due = state.old_leaves_end().unwrap_or(rotation.since);
            self.rotation.get_or_create(&labels).set(due.unix_timestamp());
        }
    }

    fn forget_authority(&self) {
        self.authorities.clear();
        self.rotation.clear();
        self.set_authority_damaged(false);
    }

    /// Says whether the authority in the API server is not the one in force, for it is gone or cannot be used.
    pub fn set_authority_damaged(&self, damaged: bool) {
        self.damaged.set(i64::from(damaged));
    }

    /// Says how a Certificate is.
    pub fn set_certificate(
        &self,
        namespace: &str,
        name: &str,
        ready: bool,
        dates: Option<(OffsetDateTime, OffsetDateTime)>,
    ) {
        let labels = of_certificate(namespace, name);
        if let Some((not_after, renew_at)) = dates {
            self.expiration.get_or_create(&labels).set(not_after.unix_timestamp());
            self.renewal.get_or_create(&labels).set(renew_at.unix_timestamp());
        }
        for (condition, is) in [("True", ready), ("False", !ready), ("Unknown", false)] {
            self.ready.get_or_create(&of_condition(&labels, condition)).set(i64::from(is));
        }
    }

    /// Forgets a Certificate that was deleted.
    pub fn forget_certificate(&self, namespace: &str, name: &str) {
        let labels = of_certificate(namespace, name);
        self.expiration.remove(&labels);
        self.renewal.remove(&labels);
        for condition in ["True", "False", "Unknown"] {
            self.ready.remove(&of_condition(&labels, condition));
        }
    }

    /// Forgets what only the leader knows: another process leads.
    pub fn forget_all(&self) {
        self.forget_authority();
        self.set_skew(0);
        self.restarts_waiting.set(0);
        self.expiration.clear();
        self.renewal.clear();
        self.ready.clear();
    }

    /// Counts a certificate that was signed.
    pub fn count_issued(&self, reason: &'static str) {
        self.issued.get_or_create(&OfReason { reason }).inc();
    }

    /// Counts a request to the signer: `issued`, `denied` or `failed`.
    pub fn count_request(&self, kind: &'static str, result: &'static str, reason: &'static str) {
        self.requests.get_or_create(&OfRequest { kind, result, reason }).inc();
    }

    /// Counts a failure by the label of its code.
    pub fn count_failure(&self, reason: &'static str) {
        self.failed.get_or_create(&OfReason { reason }).inc();
    }

    /// Counts a rolling restart.
    pub fn count_restart(&self) {
        self.restarts.inc();
    }

    /// Says how many restarts have to wait.
    pub fn set_restarts_waiting(&self, count: usize) {
        self.restarts_waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Says how long a reconciliation took.
    pub fn observe(&self, took: std::time::Duration) {
        self.reconciled.observe(took.as_secs_f64());
    }
}

fn of_certificate(namespace: &str, name: &str) -> OfCertificate {
    OfCertificate {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        issuer_name: crate::names::AUTHORITY_SECRET,
        issuer_kind: "Authority",
        issuer_group: GROUP,
    }
}

fn of_condition(of: &OfCertificate, condition: &'static str) -> OfCondition {
    OfCondition {
        condition,
        name: of.name.clone(),
        namespace: of.namespace.clone(),
        issuer_name: of.issuer_name,
        issuer_kind: of.issuer_kind,
        issuer_group: of.issuer_group,
    }
}
