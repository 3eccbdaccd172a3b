//! What is counted of the mesh's connections, at their end. Labels are identities that were proven and services that are
//! known: nobody who calls can make up new ones.

use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::record::{Direction, Record, Secured};

/// The counters of a mesh.
pub struct Metrics {
    registry: Mutex<Registry>,
    connections: Family<OfConnection, Counter>,
    tunnels: Family<OfTunnel, Counter>,
    bytes: Family<OfBytes, Counter>,
    duration: Family<OfDirection, Histogram>,
    would_refuse: Family<OfDirection, Counter>,
    expiration: Gauge<i64, AtomicI64>,
    connected: Gauge<i64, AtomicI64>,
    restarts: Counter,
    istio: Option<Istio>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfConnection {
    direction: &'static str,
    source: String,
    destination: String,
    service: String,
    secured: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTunnel {
    direction: &'static str,
    framing: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBytes {
    direction: &'static str,
    source: String,
    destination: String,
    flow: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDirection {
    direction: &'static str,
}

/// The names that dashboards of Istio's mesh ask for.
#[derive(Default)]
struct Istio {
    opened: Family<OfIstio, Counter>,
    closed: Family<OfIstio, Counter>,
    sent: Family<OfIstio, Counter>,
    received: Family<OfIstio, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfIstio {
    reporter: &'static str,
    source_principal: String,
    destination_principal: String,
    destination_service: String,
    destination_service_name: String,
    destination_service_namespace: String,
    request_protocol: &'static str,
    connection_security_policy: &'static str,
    response_flags: &'static str,
}

impl Metrics {
    /// `istio` adds its names, `istio_tcp_*`, for what is counted under ours too.
    pub fn new(istio: bool) -> Self {
        let mut registry = Registry::default();
        let connections = Family::default();
        registry.register(
            "handfast_mesh_connections",
            "Connections that ended or were refused; `reason` says why one was not secured or not made",
            connections.clone(),
        );
        let tunnels = Family::default();
        registry.register(
            "handfast_mesh_tunnels",
            "Tunnels that ended, by framing: h2 is HBONE, direct a connection for one flow between two proxies of Handfast",
            tunnels.clone(),
        );
        let bytes = Family::default();
        registry.register_with_unit(
            "handfast_mesh",
            "What connections carried: sent by the caller, and received by it",
            Unit::Bytes,
            bytes.clone(),
        );
        let duration: Family<OfDirection, Histogram> = Family::new_with_constructor(|| {
            Histogram::new([0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0])
        });
        registry.register_with_unit(
            "handfast_mesh_connection_duration",
            "How long connections were open",
            Unit::Seconds,
            duration.clone(),
        );
        let would_refuse = Family::default();
        registry.register(
            "handfast_mesh_would_refuse",
            "Connections that a policy which is only tried would have refused",
            would_refuse.clone(),
        );
        let expiration = Gauge::default();
        registry.register_with_unit(
            "handfast_mesh_certificate_expiration_timestamp",
            "When the workload's certificate ends, since 1970; 0 while there is none",
            Unit::Seconds,
            expiration.clone(),
        );
        let connected = Gauge::default();
        registry.register(
            "handfast_mesh_control_plane_connected",
            "Whether the control plane is heard",
            connected.clone(),
        );
        let restarts = Counter::default();
        registry.register(
            "handfast_mesh_proxy_restarts",
            "How often the proxy's process was killed and started again since its container began",
            restarts.clone(),
        );
        let istio = istio.then(|| {
            let istio = Istio::default();
            registry.register("istio_tcp_connections_opened", "Connections", istio.opened.clone());
            registry.register("istio_tcp_connections_closed", "Connections that ended", istio.closed.clone());
            registry.register("istio_tcp_sent_bytes", "Bytes to the caller", istio.sent.clone());
            registry.register("istio_tcp_received_bytes", "Bytes from the caller", istio.received.clone());
            istio
        });
        let registry = Mutex::new(registry);
        Self {
            registry,
            connections,
            tunnels,
            bytes,
            duration,
            would_refuse,
            expiration,
            connected,
            restarts,
            istio,
        }
    }

    /// Counts a connection or a refusal.
    pub fn count(&self, record: &Record) {
        let direction = record.direction.as_str();
        // A name that was not found is the caller's own word.
        let known = record.code.is_none();
        let service = if known { record.service.clone() } else { String::new() };
        let reason = match (record.code, record.secured) {
            (Some(code), _) => code.label,
            (None, Secured::Plain(why)) => why,
            (None, _) => "",
        };
        let (source, destination) = (record.source.clone(), record.destination.clone());
        let secured = record.secured.as_str();
        let labels = OfConnection { direction, source, destination, service, secured, reason };
        self.connections.get_or_create(&labels).inc();
        if !record.would_refuse.is_empty() {
            self.would_refuse.get_or_create(&OfDirection { direction }).inc();
        }
        if !matches!(record.secured, Secured::Refused) {
            self.duration.get_or_create(&OfDirection { direction }).observe(record.duration.as_secs_f64());
        }
        if !record.framing.is_empty() {
            self.tunnels.get_or_create(&OfTunnel { direction, framing: record.framing }).inc();
        }
        for (flow, bytes) in [("sent", record.sent), ("received", record.received)] {
            if bytes > 0 {
                let (source, destination) = (record.source.clone(), record.destination.clone());
                let labels = OfBytes { direction, source, destination, flow };
                self.bytes.get_or_create(&labels).inc_by(bytes);
            }
        }
        if let Some(istio) = &self.istio {
            istio.count(record, reason);
        }
    }

    /// When the certificate ends, seconds since 1970.
    pub fn set_expiration(&self, at: i64) {
        self.expiration.set(at);
    }

    /// Whether the control plane is heard.
    pub fn set_connected(&self, connected: bool) {
        self.connected.set(connected.into());
    }

    /// How often the process was killed and started again. Said once, at its start.
    pub fn set_restarts(&self, times: u32) {
        self.restarts.inc_by(times.into());
    }

    /// All of it, as OpenMetrics.
    pub fn text(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

impl Istio {
    fn count(&self, record: &Record, reason: &'static str) {
        let (namespace, host) = match record.code {
            None => record.service.split_once('/').unwrap_or_default(),
            Some(_) => ("", ""),
        };
        let principal = |identity: &str| match identity {
            "" => "unknown".to_owned(),
            identity => identity.to_owned(),
        };
        let labels = OfIstio {
            reporter: match record.direction {
                Direction::Inbound => "destination",
                Direction::Outbound => "source",
            },
            source_principal: principal(&record.source),
            destination_principal: principal(&record.destination),
            destination_service: host.to_owned(),
            destination_service_name: host.split('.').next().unwrap_or_default().to_owned(),
            destination_service_namespace: namespace.to_owned(),
            request_protocol: "tcp",
            connection_security_policy: match (record.secured, record.direction) {
                (Secured::Hbone, _) => "mutual_tls",
                // As Istio says it: only the called side knows.
                (_, Direction::Outbound) => "unknown",
                _ => "none",
            },
            response_flags: if record.code.is_some() { reason } else { "-" },
        };
        self.opened.get_or_create(&labels).inc();
        self.closed.get_or_create(&labels).inc();
        // Istio counts from the called side: sent is what it sent.
        self.sent.get_or_create(&labels).inc_by(record.received);
        self.received.get_or_create(&labels).inc_by(record.sent);
    }
}
