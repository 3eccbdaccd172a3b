//! What a proxy says of itself, to whoever is in its pod: `/status` as a document, `/tap` as one line of JSON for each
//! connection from now on, `/try/ADDRESS:PORT` calls as the application would.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use proxy::mesh::{Credential, Mesh, Plain, Record, Secured};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast, watch};
use wire::client::Discovery;

use super::trial;

/// Connections at one time.
const CONNECTIONS: usize = 16;

/// What is shown.
#[derive(Clone)]
pub struct Shown {
    /// Whose connections are tapped.
    pub mesh: Mesh,
    /// How it stands with the control plane.
    pub discovery: Discovery,
    /// Whose connections.
    pub whose: Whose,
    /// Since when it remembers what it saw.
    pub started: SystemTime,
    /// What it proves itself with, once it has something.
    pub credential: Arc<OnceLock<watch::Receiver<Arc<Credential>>>>,
}

/// Whose connections a proxy carries.
#[derive(Clone)]
pub enum Whose {
    /// Those of one workload, by its uid.
    Workload(String),
    /// Those of a node's pods, as they are now.
    Node(Arc<dyn Fn() -> Value + Send + Sync>),
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
                let shown = shown.clone();
                async move { Ok::<_, Infallible>(answer(&request, &shown).await) }
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

async fn answer(request: &Request<Incoming>, shown: &Shown) -> Response<Body> {
    let path = request.uri().path();
    let wanted = path.strip_prefix("/try/").and_then(|address| address.parse::<SocketAddr>().ok());
    if let (&Method::GET, Some(wanted)) = (request.method(), wanted) {
        return document(StatusCode::OK, whole(trial::call(&shown.mesh, wanted).await.to_string() + "\n"));
    }
    let (status, body) = match (request.method(), path) {
        (&Method::GET, "/status") => (StatusCode::OK, whole(status(shown).to_string() + "\n")),
        (&Method::GET, "/tap") => (StatusCode::OK, tap(shown.mesh.tap())),
        _ => {
            let known = "{\"error\": \"there are GET /status, GET /tap and GET /try/ADDRESS:PORT\"}\n";
            (StatusCode::NOT_FOUND, whole(known.to_owned()))
        }
    };
    document(status, body)
}

fn document(status: StatusCode, body: Body) -> Response<Body> {
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

/// A connection, as `/tap` and `/try` tell it.
pub(super) fn line(record: &Record) -> Value {
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
        "framing": record.framing,
        "not_secured_because": why,
        "sent": record.sent,
        "received": record.received,
        "seconds": record.duration.as_secs_f64(),
        "detail": record.detail,
        "ending": record.ending,
        "code": record.code.map(|code| code.id),
        "would_refuse": record.would_refuse,
    })
}

fn status(shown: &Shown) -> Value {
    let state = shown.discovery.state.borrow().clone();
    let world = shown.discovery.world.borrow().clone();
    let mut status = json!({
        "version": 1,
        "handfast": env!("CARGO_PKG_VERSION"),
        "time": rfc3339(SystemTime::now()),
        "started": rfc3339(shown.started),
        "control_plane": {
            "connected": state.connected,
            "since": rfc3339(state.since),
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
        "certificate": shown.credential.get().map(|credential| certificate(&credential.borrow())),
        "plain": plain(&shown.mesh),
    });
    match &shown.whose {
        Whose::Workload(uid) => {
            let known = world.workload(uid);
            status["workload"] = json!(uid);
            status["known"] = json!(known.is_some());
            status["inbound_mode"] = json!(known.map(|own| own.modes.inbound.all.as_str()));
            status["outbound_mode"] = json!(known.map(|own| own.modes.outbound.all.as_str()));
            status["redirection"] = redirection();
            status["policies"] = json!(known.map(|own| own.policies.clone()));
        }
        Whose::Node(pods) => status["pods"] = pods(),
    }
    status
}

fn certificate(credential: &Credential) -> Value {
    let date = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map(certs::rfc3339).unwrap_or_default();
    json!({
        "identity": credential.identity.to_string(),
        "issuer": credential.issuer,
        "serial": credential.serial,
        "not_before": date(credential.not_before),
        "not_after": date(credential.not_after),
        "roots": credential.roots,
    })
}

/// What the kernel has in force in this network, and not what was once asked for.
fn redirection() -> Value {
    match sys::redirection::in_force() {
        Ok(rules) => {
            json!({ "in_force": rules.both(), "outbound_rules": rules.outbound, "inbound_rules": rules.inbound })
        }
        Err(error) => json!({ "in_force": null, "error": error.to_string() }),
    }
}

/// Between whom plain text went, as long as this process has run.
fn plain(mesh: &Mesh) -> Value {
    let (seen, forgotten) = mesh.plain_seen();
    let pair = |plain: &Plain| {
        json!({
            "direction": plain.direction.as_str(),
            "source": plain.source.to_string(),
            "destination": plain.destination.to_string(),
            "port": plain.port,
            "service": plain.service,
            "why": plain.why,
            "count": plain.count,
            "first": rfc3339(plain.first),
            "last": rfc3339(plain.last),
        })
    };
    json!({ "forgotten": forgotten, "pairs": seen.iter().map(pair).collect::<Vec<_>>() })
}

fn rfc3339(at: SystemTime) -> String {
    certs::rfc3339(OffsetDateTime::from(at))
}
