//! What HTTP counts. Handles are looked up once, when a route is compiled.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::state::Assembly;

/// The families.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<OfRequest, Counter>,
    durations: Family<OfRoute, Histogram, Buckets>,
    /// Whether an endpoint may be used.
    pub endpoints: Family<OfEndpoint, Gauge>,
}

/// Labels: a listener, a service and a class of statuses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfRequest {
    listener: String,
    service: String,
    code: &'static str,
}

/// Labels: a listener and a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfRoute {
    listener: String,
    service: String,
}

/// Labels: an endpoint of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfEndpoint {
    /// The service.
    pub service: String,
    /// The endpoint's address.
    pub endpoint: String,
}

/// Makes histograms.
#[derive(Debug, Clone)]
pub struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
        ])
    }
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(Buckets),
            endpoints: Family::default(),
        }
    }
}

impl HttpMetrics {
    /// Registers the families.
    pub fn fill(&self, registry: &mut Registry) {
        registry.register(
            "handfast_http_requests",
            "Requests, by class of their status",
            self.requests.clone(),
        );
        registry.register(
            "handfast_http_request_duration_seconds",
            "From a request's headers to the last byte of its answer",
            self.durations.clone(),
        );
        registry.register(
            "handfast_endpoint_healthy",
            "1 while an endpoint of a service may be used",
            self.endpoints.clone(),
        );
    }
}

/// The handles of one listener and service.
#[derive(Debug)]
pub struct RouteMetrics {
    classes: [Counter; 5],
    duration: Histogram,
}

impl RouteMetrics {
    /// Looks the handles up.
    pub fn new(assembly: &Assembly<'_>, listener: &str, service: &str) -> Arc<Self> {
        let metrics = &assembly.metrics.http;
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|code| {
            let labels = OfRequest { listener: listener.to_owned(), service: service.to_owned(), code };
            metrics.requests.get_or_create_owned(&labels)
        });
        let labels = OfRoute { listener: listener.to_owned(), service: service.to_owned() };
        Arc::new(Self { classes, duration: metrics.durations.get_or_create_owned(&labels) })
    }

    /// Counts a request.
    pub fn request(&self, status: u16, duration: Duration) {
        if let Some(counter) = self.classes.get(usize::from(status / 100).wrapping_sub(1)) {
            counter.inc();
        }
        self.duration.observe(duration.as_secs_f64());
    }
}
