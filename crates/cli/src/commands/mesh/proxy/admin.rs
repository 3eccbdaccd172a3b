//! What a proxy says of itself, to whoever is in its pod: `/status` as a document, `/tap` as one line of JSON for each
//! connection from now on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use proxy::mesh::{Mesh, Record, Secured};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};
use wire::client::Discovery;

/// Connections at one time.
const CONNECTIONS: usize = 16;

/// What is shown.
#[derive(Clone)]
pub struct Shown {
    /// Whose connections are tapped.
    pub mesh: Mesh,
    /// How it stands with the control plane.
    pub discovery: Discovery,
    /// The workload.
    pub uid: String,
}

type Body = BoxBody<Bytes, Infallible>;

/// Answers until it is dropped.
pub async fn serve(socket: TcpListener, shown: Shown) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else { continue };
        let shown = shown.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, &shown);
                async move { Ok::<_, Infallible>(answer) }
            });
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(seat);
        });
    }
}

fn answer(request: &Request<Incoming>, shown: &Shown) -> Response<Body> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => (StatusCode::OK, whole(status(shown).to_string() + "\n")),
        (&Method::GET, "/tap") => (StatusCode::OK, tap(shown.mesh.tap())),
        _ => (StatusCode::NOT_FOUND, whole("{\"error\": \"there are GET /status and GET /tap\"}\n".to_owned())),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn whole(text: String) -> Body {
    Full::new(Bytes::from(text)).boxed()
}

/// One line for each connection that ends; whoever is slow is told how many he missed.
fn tap(records: broadcast::Receiver<Arc<Record>>) -> Body {
    let lines = stream::unfold(records, |mut records| async move {
        let line = match records.recv().await {
            Ok(record) => line(&record),
            Err(broadcast::error::RecvError::Lagged(missed)) => json!({ "missed": missed }),
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        Some((Frame::data(Bytes::from(line.to_string() + "\n")), records))
    });
    BodyExt::boxed(StreamBody::new(lines.map(Ok)))
}

fn line(record: &Record) -> Value {
    let why = match record.secured {
        Secured::Plain(why) => Some(why),
        _ => None,
    };
    json!({
        "time": certs::rfc3339(OffsetDateTime::now_utc()),
        "direction": record.direction.as_str(),
        "workload": record.workload,
        "source": record.source,
        "source_address": record.source_address.to_string(),
        "destination": record.destination,
        "destination_address": record.destination_address.map(|address| address.to_string()),
        "service": record.service,
        "secured": record.secured.as_str(),
        "not_secured_because": why,
        "sent": record.sent,
        "received": record.received,
        "seconds": record.duration.as_secs_f64(),
        "detail": record.detail,
        "code": record.code.map(|code| code.id),
        "would_refuse": record.would_refuse,
    })
}

fn status(shown: &Shown) -> Value {
    let state = shown.discovery.state.borrow().clone();
    let world = shown.discovery.world.borrow().clone();
    let known = world.workload(&shown.uid);
    json!({
        "version": 1,
        "handfast": env!("CARGO_PKG_VERSION"),
        "workload": shown.uid,
        "known": known.is_some(),
        "inbound_mode": known.map(|own| own.modes.inbound.all.as_str()),
        "outbound_mode": known.map(|own| own.modes.outbound.all.as_str()),
        "policies": known.map(|own| own.policies.clone()),
        "control_plane": {
            "connected": state.connected,
            "since": certs::rfc3339(OffsetDateTime::from(state.since)),
            "error": state.error,
            "ready": state.ready,
            "generation": state.generation,
            "taken": state.taken,
            "refused": state.refused,
            "not_understood": state.not_understood,
        },
        "trust": shown.discovery.trust.borrow().as_ref().map(|trust| json!({
            "step": trust.step,
            "issuer": trust.issuer,
            "roots": trust.roots.matches("-----BEGIN CERTIFICATE-----").count(),
        })),
        "workloads": world.workloads().count(),
        "services": world.services().count(),
    })
}
