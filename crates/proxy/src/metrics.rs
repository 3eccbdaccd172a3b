//! What is counted. Handles are looked up once, when a listener or service is assembled; traffic only
//! adds to them. Names: prefix `handfast_`, base units; never a fingerprint or a PEM as a label.

use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, PoisonError};

use model::codes::Code;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The registry, and the families of connections, TLS and files. HTTP registers its own.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// What HTTP counts.
    pub(crate) http: crate::http::metrics::HttpMetrics,
    connections: Family<OfListener, Counter>,
    active: Family<OfListener, Gauge>,
    handshakes: Family<OfHandshake, Counter>,
    handshake_failures: Family<OfRefusal, Counter>,
    refusals: Family<OfRefusal, Counter>,
    fail_open: Family<OfListener, Counter>,
    bytes: Family<OfDirection, Counter>,
    truncated: Family<OfListener, Counter>,
    accept_errors: Family<OfListener, Counter>,
    /// When certificates that are served, presented or trusted end.
    pub(crate) certificate_expiration: Family<OfFile, Gauge<i64, AtomicI64>>,
    /// When revocation lists end.
    pub(crate) crl_next_update: Family<OfFile, Gauge<i64, AtomicI64>>,
    /// Reloads, by result.
    pub(crate) reloads: Family<OfReload, Counter>,
    /// Whether the last reload was refused, or a file's last content was.
    pub(crate) stale: Gauge,
    /// Lines that were not written to an access log.
    pub(crate) log_dropped: Counter,
}

/// Labels: a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfListener {
    listener: String,
}

/// Labels: a listener and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfRefusal {
    listener: String,
    reason: &'static str,
}

/// Labels: a listener, version and kind of a handshake.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfHandshake {
    listener: String,
    version: &'static str,
    resumed: &'static str,
}

/// Labels: a listener and a direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfDirection {
    listener: String,
    direction: &'static str,
}

/// Labels: a file and whom its content names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfFile {
    /// Where it is.
    pub file: String,
    /// Whom it names: the first DNS name or URI, else the subject.
    pub name: String,
}

/// Labels: the result of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfReload {
    /// `applied` or `refused`.
    pub result: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::default()),
            http: crate::http::metrics::HttpMetrics::default(),
            connections: Family::default(),
            active: Family::default(),
            handshakes: Family::default(),
            handshake_failures: Family::default(),
            refusals: Family::default(),
            fail_open: Family::default(),
            bytes: Family::default(),
            truncated: Family::default(),
            accept_errors: Family::default(),
            certificate_expiration: Family::default(),
            crl_next_update: Family::default(),
            reloads: Family::default(),
            stale: Gauge::default(),
            log_dropped: Counter::default(),
        };
        metrics.register(|registry| metrics.fill(registry));
        metrics
    }
}

impl Metrics {
    fn fill(&self, registry: &mut Registry) {
        let r = registry;
        self.http.fill(r);
        r.register("handfast_connections", "Connections accepted", self.connections.clone());
        r.register("handfast_connections_active", "Connections open now", self.active.clone());
        r.register("handfast_tls_handshakes", "TLS handshakes that were finished", self.handshakes.clone());
        r.register(
            "handfast_tls_handshake_failures",
            "Connections refused at or because of the TLS handshake, by reason",
            self.handshake_failures.clone(),
        );
        r.register(
            "handfast_refusals",
            "Connections and requests that were refused, by reason",
            self.refusals.clone(),
        );
        r.register(
            "handfast_fail_open",
            "Clients let in although their revocation state was not known",
            self.fail_open.clone(),
        );
        r.register("handfast_tcp_bytes", "Bytes copied by TCP listeners", self.bytes.clone());
        r.register(
            "handfast_truncated_connections",
            "Connections that ended without close_notify",
            self.truncated.clone(),
        );
        r.register("handfast_accept_errors", "Failures to accept a connection", self.accept_errors.clone());
        r.register(
            "handfast_certificate_expiration_timestamp_seconds",
            "When a certificate ends, in seconds since 1970",
            self.certificate_expiration.clone(),
        );
        r.register(
            "handfast_crl_next_update_timestamp_seconds",
            "When a revocation list ends, in seconds since 1970",
            self.crl_next_update.clone(),
        );
        r.register("handfast_reloads", "Reloads of configuration and files", self.reloads.clone());
        r.register(
            "handfast_reload_refused",
            "1 while a file or configuration is refused and an older good one is in force",
            self.stale.clone(),
        );
        r.register("handfast_access_log_dropped_lines", "Lines that were lost", self.log_dropped.clone());
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

    /// The handles of one listener.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        let own = || OfListener { listener: name.to_owned() };
        let handshake = |version, resumed| {
            let labels = OfHandshake { listener: name.to_owned(), version, resumed };
            self.handshakes.get_or_create_owned(&labels)
        };
        let direction =
            |direction| self.bytes.get_or_create_owned(&OfDirection { listener: name.to_owned(), direction });
        ListenerMetrics {
            name: name.to_owned(),
            connections: self.connections.get_or_create_owned(&own()),
            active: self.active.get_or_create_owned(&own()),
            handshakes: [
                handshake("1.2", "false"),
                handshake("1.2", "true"),
                handshake("1.3", "false"),
                handshake("1.3", "true"),
            ],
            handshake_failures: self.handshake_failures.clone(),
            refusals: self.refusals.clone(),
            fail_open: self.fail_open.get_or_create_owned(&own()),
            truncated: self.truncated.get_or_create_owned(&own()),
            accept_errors: self.accept_errors.get_or_create_owned(&own()),
            bytes_in: direction("in"),
            bytes_out: direction("out"),
        }
    }
}

/// The handles of one listener.
pub struct ListenerMetrics {
    name: String,
    pub(crate) connections: Counter,
    pub(crate) active: Gauge,
    handshakes: [Counter; 4],
    handshake_failures: Family<OfRefusal, Counter>,
    refusals: Family<OfRefusal, Counter>,
    pub(crate) fail_open: Counter,
    pub(crate) truncated: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
}

impl ListenerMetrics {
    /// Counts a handshake that was finished.
    pub(crate) fn handshake(&self, version: rustls::ProtocolVersion, resumed: bool) {
        let first = if version == rustls::ProtocolVersion::TLSv1_2 { 0 } else { 2 };
        if let Some(counter) = self.handshakes.get(first + usize::from(resumed)) {
            counter.inc();
        }
    }

    /// Counts a connection refused at or because of its handshake.
    pub(crate) fn handshake_failure(&self, code: &'static Code) {
        let labels = OfRefusal { listener: self.name.clone(), reason: code.label };
        self.handshake_failures.get_or_create(&labels).inc();
        self.refusals.get_or_create(&labels).inc();
    }

    /// Counts a refusal that has nothing to do with TLS.
    pub(crate) fn refusal(&self, code: &'static Code) {
        self.refusals.get_or_create(&OfRefusal { listener: self.name.clone(), reason: code.label }).inc();
    }
}
