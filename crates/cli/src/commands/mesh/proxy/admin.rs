//! What a proxy says of itself, to whoever is in its pod: `/status` as a document, `/tap` as one line of JSON for each
//! connection from now on, `/try/ADDRESS:PORT` calls as the application would.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::mesh::World;
use proxy::mesh::{Credential, Mesh, Plain, Record, Secured};
use serde_json::{Map, Value, json};
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
    /// Those of a node's pods.
    Node(Arc<dyn Pods>),
}

/// The pods that a node's proxy carries.
pub trait Pods: Send + Sync {
    /// What is told of each, as of a pod with a proxy of its own ([`of_workload`]), with its name in `pod`.
    fn shown(&self) -> BoxFuture<'_, Vec<Map<String, Value>>>;

    /// The network of a pod, by its workload's uid.
    fn network(&self, workload: &str) -> BoxFuture<'_, Option<sys::Namespace>>;
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
        let said = attempt(shown, wanted, request.uri().query()).await;
        return document(StatusCode::OK, whole(said.to_string() + "\n"));
    }
    let (status, body) = match (request.method(), path) {
        (&Method::GET, "/status") => (StatusCode::OK, whole(status(shown).await.to_string() + "\n")),
        (&Method::GET, "/tap") => (StatusCode::OK, tap(shown.mesh.tap())),
        _ => {
            let known = "{\"error\": \"there are GET /status, GET /tap and GET /try/ADDRESS:PORT\"}\n";
            (StatusCode::NOT_FOUND, whole(known.to_owned()))
        }
    };
    document(status, body)
}

/// A call from the pod; of a node's pods, from the one whose workload the query names.
async fn attempt(shown: &Shown, to: SocketAddr, from: Option<&str>) -> Value {
    let network = match &shown.whose {
        Whose::Workload(_) => None,
        Whose::Node(pods) => {
            let workload = from.and_then(|query| query.strip_prefix("workload="));
            let Some(workload) = workload else { return json!({ "error": "which pod? ?workload=UID" }) };
            match pods.network(workload).await {
                Some(network) => Some(network),
                None => return json!({ "error": format!("{workload} is not carried by this node's proxy") }),
            }
        }
    };
    trial::call(&shown.mesh, to, network).await
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
        "protocol": (!record.protocol.is_empty()).then_some(record.protocol),
        "sent": record.sent,
        "received": record.received,
        "seconds": record.duration.as_secs_f64(),
        "detail": record.detail,
        "ending": record.ending,
        "code": record.code.map(|code| code.id),
        "would_refuse": record.would_refuse,
    })
}

async fn status(shown: &Shown) -> Value {
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
        "plain": plain(&shown.mesh),
    });
    match &shown.whose {
        Whose::Workload(uid) => {
            let credential = shown.credential.get().map(|credential| credential.borrow().clone());
            let own =
                of_workload(&world, uid, credential.as_deref(), &redirection(sys::redirection::in_force()));
            if let Value::Object(status) = &mut status {
                status.extend(own);
            }
        }
        Whose::Node(pods) => status["pods"] = json!(pods.shown().await),
    }
    status
}

/// What is told of a workload that is carried.
pub fn of_workload(
    world: &World,
    uid: &str,
    credential: Option<&Credential>,
    redirection: &Value,
) -> Map<String, Value> {
    let known = world.workload(uid);
    let told = json!({
        "workload": uid,
        "known": known.is_some(),
        "inbound_mode": known.map(|own| own.modes.inbound.all.as_str()),
        "outbound_mode": known.map(|own| own.modes.outbound.all.as_str()),
        "policies": known.map(|own| &own.policies),
        "certificate": credential.map(certificate),
        "redirection": redirection,
    });
    match told {
        Value::Object(told) => told,
        _ => Map::new(),
    }
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

/// What the kernel has in force in a network, and not what was once asked for.
pub fn redirection<E: std::fmt::Display>(asked: Result<sys::redirection::InForce, E>) -> Value {
    match asked {
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
            "workload": plain.workload,
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
