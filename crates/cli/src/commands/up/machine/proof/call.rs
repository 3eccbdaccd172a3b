//! A call of one pod to a Service: what should become of it, and what does.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::codes::{Code, mesh as codes};
use model::mesh::policy::{Arrival, decide};
use model::mesh::{Route, Workload, World, route};
use proxy::mesh::{Direction, Record, Secured};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::broadcast;

use super::LIMIT;
use crate::commands::up::machine::network::Sandbox;
use crate::commands::up::machine::started::Way;

/// What an application sees of a refusal where it knows no proxy.
const CLOSED: &str = "the connection was broken off";
/// An application that has not closed an empty connection by then waits for more.
const SILENCE: Duration = Duration::from_secs(2);

/// What becomes of a call.
#[derive(PartialEq, Eq)]
pub enum Fate {
    /// It is carried so.
    Carried(Secured),
    /// It is refused with this code.
    Refused(&'static str),
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Carried(Secured::Hbone) => f.write_str("accepted: mutual TLS"),
            Self::Carried(Secured::Plain(why)) => {
                write!(f, "accepted: plain text ({})", why.replace('_', " "))
            }
            Self::Carried(Secured::Refused) => f.write_str("accepted"),
            Self::Refused(_) => f.write_str("refused"),
        }
    }
}

/// What the policies say of a call, and why.
pub fn expected(world: &World, source: &Workload, to: SocketAddr) -> (Fate, String) {
    let refused = |code: &'static Code, why: String| (Fate::Refused(code.id), why);
    let identity = match source.identity() {
        Ok(identity) => identity,
        Err(error) => return refused(&codes::NO_IDENTITY, error.to_string()),
    };
    match route(world, source, to, |_| 0) {
        Err(why) => refused(why.code, why.detail),
        Ok(Route::Plain { why, .. }) => (Fate::Carried(Secured::Plain(why.as_str())), String::new()),
        Ok(Route::Mesh { workload, target, .. }) => {
            let own = source.addresses.first().copied().unwrap_or(target.ip());
            let arrival =
                Arrival { identity: Some(&identity), source: own, address: target.ip(), port: target.port() };
            let decision = decide(world, &workload, &arrival);
            match decision.is_allowed() {
                true => (Fate::Carried(Secured::Hbone), decision.reason.to_string()),
                // The called side decides, and tells the caller's proxy no more than that.
                false => refused(&codes::PEER_REFUSED, decision.reason.to_string()),
            }
        }
    }
}

/// What really became of it: the record of the caller's proxy, which has to agree with the answer that the application got.
pub async fn seen(
    tap: &mut broadcast::Receiver<Arc<Record>>,
    workload: &str,
    service: &str,
    answer: Result<(), String>,
) -> Result<Fate, String> {
    let record = async {
        loop {
            match tap.recv().await {
                Ok(record)
                    if record.direction == Direction::Outbound
                        && record.workload == workload
                        && record.service == service
                        // The application calls as well, and with more than an empty connection.
                        && record.sent == 0 =>
                {
                    return Some(record);
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    };
    match (answer, tokio::time::timeout(LIMIT, record).await.ok().flatten()) {
        (Ok(()), Some(record)) if record.code.is_none() => Ok(Fate::Carried(record.secured)),
        (Err(said), Some(record)) => match record.code {
            Some(code) if said.starts_with(code.id) || said == CLOSED => Ok(Fate::Refused(code.id)),
            // It was carried; what an application makes of an empty connection is its own business.
            None if said == CLOSED => Ok(Fate::Carried(record.secured)),
            _ => Err(said),
        },
        (Ok(()), _) => Err("accepted, and no record says how".to_owned()),
        (Err(said), None) => Err(said),
    }
}

/// Calls a Service as the pod's application does.
pub async fn call(way: &Way<'_>, host: &str, at: SocketAddr) -> Result<(), String> {
    match way {
        Way::Proxy(proxy) => through(*proxy, host, at.port()).await,
        Way::Redirected(sandbox) => straight(sandbox, at).await,
    }
}

/// Connects to the Service's address from inside of the pod. The connection itself is taken in any case, by the proxy: what
/// becomes of it afterwards is the answer, which may be there before it is looked for.
async fn straight(sandbox: &Sandbox, to: SocketAddr) -> Result<(), String> {
    let closed = |error: std::io::Error| match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::NotConnected | ErrorKind::BrokenPipe => CLOSED.to_owned(),
        _ => error.to_string(),
    };
    let mut socket = sandbox.connect(to).await.map_err(closed)?;
    socket.shutdown().await.map_err(closed)?;
    match tokio::time::timeout(SILENCE, socket.read(&mut [0])).await {
        Ok(read) => read.map(drop).map_err(closed),
        // It is open, and the application waits for more.
        Err(_) => Ok(()),
    }
}

/// CONNECT through a pod's own proxy.
async fn through(proxy: SocketAddr, host: &str, port: u16) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut socket = TcpStream::connect(proxy).await.map_err(failed)?;
    let request =
        format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if text.starts_with("HTTP/1.1 200") && text.contains("\r\n\r\n") {
            return Ok(());
        }
        if socket.read_buf(&mut answer).await.map_err(failed)? == 0 {
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim().to_owned();
            return Err(if body.is_empty() { format!("{:?}", text.lines().next()) } else { body });
        }
    }
}
