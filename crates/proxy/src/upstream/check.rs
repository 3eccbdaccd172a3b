//! Active health checks: endpoints are asked at their intervals, and left out while they do not answer well.
//! The checks run on the control thread, apart from traffic. They end by themselves when their service is gone.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::snapshot::{ActiveHealth, Protocol};
use prometheus_client::metrics::gauge::Gauge;

use super::service::{EndpointState, ServiceState};
use super::{Application, UpstreamStream, connect};
use crate::connection::Alpn;
use crate::http::body::RequestBody;
use crate::http::metrics::{HttpMetrics, OfEndpoint};

#[cfg(test)]
mod tests;

/// Starts the checks of services that have any, and shows the health of all their endpoints. To be called on
/// the control thread for each new set of services; services that were carried over go on as they are.
pub fn start<'a>(services: impl IntoIterator<Item = &'a Arc<ServiceState>>, metrics: &HttpMetrics) {
    for service in services {
        for endpoint in &service.endpoints {
            let labels =
                OfEndpoint { service: service.name.to_string(), endpoint: endpoint.address.to_string() };
            let gauge = metrics.endpoints.get_or_create_owned(&labels);
            gauge.set(i64::from(!endpoint.down && !endpoint.health.is_ill()));
            let watched = (Arc::downgrade(service), Arc::downgrade(endpoint), gauge);
            match &service.spec.active_health {
                Some(rules) => drop(tokio::spawn(watch(watched, rules.clone()))),
                None => drop(tokio::spawn(show(watched))),
            }
        }
    }
}

type Watched = (Weak<ServiceState>, Weak<EndpointState>, Gauge);

/// Shows what passive health says.
async fn show((service, endpoint, gauge): Watched) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (Some(_), Some(endpoint)) = (service.upgrade(), endpoint.upgrade()) else { return };
        gauge.set(i64::from(!endpoint.down && endpoint.health.is_usable(super::health::now_ms())));
    }
}

async fn watch((service, endpoint, gauge): Watched, rules: ActiveHealth) {
    let interval = rules.interval.0.max(Duration::from_millis(100));
    // Not all endpoints of all services at the same moment.
    tokio::time::sleep(interval.mul_f64(rand::random::<f64>() * 0.2)).await;
    loop {
        {
            let (Some(service), Some(endpoint)) = (service.upgrade(), endpoint.upgrade()) else { return };
            if !endpoint.down {
                let answer = tokio::time::timeout(rules.timeout.0, ask(&service, &endpoint, &rules)).await;
                let problem = match answer {
                    Ok(Ok(())) => None,
                    Ok(Err(problem)) => Some(problem),
                    Err(_) => Some(format!("no answer within {:?}", rules.timeout.0)),
                };
                let changed = endpoint.health.checked(problem.is_none(), rules.rise, rules.fall);
                gauge.set(i64::from(endpoint.health.is_usable(super::health::now_ms())));
                if changed {
                    let (service, endpoint) = (&*service.name, &*endpoint.address);
                    match problem {
                        Some(problem) => tracing::warn!(service, endpoint, problem, "endpoint is ill"),
                        None => tracing::info!(service, endpoint, "endpoint is well again"),
                    }
                }
            }
        }
        tokio::time::sleep(interval).await;
    }
}

/// One question: a connection, and the GET where there is one. The reason, where it is not well.
async fn ask(service: &ServiceState, endpoint: &EndpointState, rules: &ActiveHealth) -> Result<(), String> {
    let stream = connect(&service.connector, &endpoint.target, None, Application::Http)
        .await
        .map_err(|error| error.to_string())?;
    let Some(path) = &rules.path else { return Ok(()) };
    let status = get(service, endpoint, stream, path).await.map_err(|error| error.to_string())?;
    if (200..400).contains(&status) { Ok(()) } else { Err(format!("status {status}")) }
}

async fn get(
    service: &ServiceState,
    endpoint: &EndpointState,
    stream: UpstreamStream,
    path: &str,
) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let host = if endpoint.address.starts_with("unix:") { "localhost" } else { &endpoint.address };
    let http2 = match service.spec.protocol {
        Protocol::Http2 => true,
        Protocol::Auto => stream.alpn == Some(Alpn::H2),
        Protocol::Http1 | Protocol::Http10 => false,
    };
    let io = TokioIo::new(stream);
    let request = Request::builder().header(header::USER_AGENT, "handfast-health-check");
    if http2 {
        let scheme = if service.connector.is_tls() { "https" } else { "http" };
        let request = request.uri(format!("{scheme}://{host}{path}")).body(RequestBody::Empty)?;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
        let driven = tokio::spawn(connection);
        let status = sender.send_request(request).await?.status();
        driven.abort();
        return Ok(status.as_u16());
    }
    let request = request
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONNECTION, "close")
        .body(RequestBody::Empty)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let driven = tokio::spawn(connection);
    let status = sender.send_request(request).await?.status();
    driven.abort();
    Ok(status.as_u16())
}
