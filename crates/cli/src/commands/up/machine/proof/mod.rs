//! The proof: every pod calls every Service through its proxy, and what becomes of it is compared with what the policies
//! say; strangers call every proxy, and get nowhere.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::time::Duration;

use certs::{Authority, InitOptions, Request};
use model::codes::{Code, mesh as codes};
use model::identity::SpiffeId;
use model::mesh::policy::{Arrival, decide};
use model::mesh::{Route, Workload, World, route};
use probe::attempt::{Application, Attempt, Client, Version};
use probe::identity::ClientIdentity;
use proxy::mesh::{Direction, Record, Secured};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::broadcast;

use super::running::{Machine, uid};

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(20);

/// One call of the proof.
pub struct Row {
    pub good: bool,
    from: String,
    to: String,
    outcome: String,
}

/// Makes all calls.
pub async fn run(machine: &Machine) -> Vec<Row> {
    let mut rows = Vec::new();
    let world = machine.now();
    for started in machine.pods() {
        let (Some(proxy), Some(source)) = (started.proxy(), world.workload(&uid(&started.pod))) else {
            continue;
        };
        let mut services: Vec<_> = world.services().collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        for service in services {
            if world.endpoints(&service.name).any(|endpoint| endpoint.uid == source.uid) {
                continue;
            }
            for port in &service.ports {
                let Some(ip) = service.addresses.first() else { continue };
                let expected = expected(&world, source, SocketAddr::new(*ip, port.service));
                let mut tap = machine.mesh.tap();
                let call = call(proxy, &service.name.hostname, port.service);
                let answered = tokio::time::timeout(LIMIT, call).await;
                let seen = match answered {
                    Ok(answer) => seen(&mut tap, &source.uid, &service.name.to_string(), answer).await,
                    Err(_) => Err(format!("no answer within {LIMIT:?}")),
                };
                let to = format!("{}:{}", service.short, port.service);
                rows.push(row(started.pod.name.clone(), to, &expected, seen));
            }
        }
    }
    for started in machine.pods() {
        let Some(hbone) = started.hbone() else { continue };
        // The workload's own identity: no policy has to be in the way of a stranger who claims that.
        let Some(Ok(claims)) = world.workload(&uid(&started.pod)).map(|workload| workload.identity()) else {
            continue;
        };
        for stranger in [Stranger::Nobody, Stranger::Elsewhere, Stranger::Plain] {
            let claims = claims.clone();
            let tried = tokio::task::spawn_blocking(move || stranger.call(hbone, &claims)).await;
            let tried = tried.unwrap_or_else(|error| Err(error.to_string()));
            let (good, outcome) = match tried {
                Ok(outcome) => (true, outcome),
                Err(outcome) => (false, outcome),
            };
            rows.push(Row { good, from: stranger.to_string(), to: started.pod.name.clone(), outcome });
        }
    }
    rows
}

/// What becomes of a call.
#[derive(PartialEq, Eq)]
enum Fate {
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
fn expected(world: &World, source: &Workload, to: SocketAddr) -> (Fate, String) {
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
async fn seen(
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
            Some(code) if said.starts_with(code.id) => Ok(Fate::Refused(code.id)),
            _ => Err(said),
        },
        (Ok(()), _) => Err("accepted, and no record says how".to_owned()),
        (Err(said), None) => Err(said),
    }
}

fn row(from: String, to: String, (fate, why): &(Fate, String), seen: Result<Fate, String>) -> Row {
    let why = if why.is_empty() { String::new() } else { format!(", {why}") };
    let (good, outcome) = match seen {
        Ok(seen) if seen == *fate => (true, format!("{fate}{why}")),
        Ok(Fate::Refused(code)) => (false, format!("refused with {code}; expected: {fate}{why}")),
        Ok(seen) => (false, format!("{seen}; expected: {fate}{why}")),
        Err(said) => (false, format!("{said}; expected: {fate}{why}")),
    };
    Row { good, from, to, outcome }
}

/// CONNECT through a pod's own proxy, as its application does.
async fn call(proxy: SocketAddr, host: &str, port: u16) -> Result<(), String> {
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

/// Somebody who is no workload.
#[derive(Clone, Copy)]
enum Stranger {
    /// Without a certificate.
    Nobody,
    /// With one of another authority, that claims to be a workload here.
    Elsewhere,
    /// Without TLS.
    Plain,
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nobody => "no certificate",
            Self::Elsewhere => "another authority's",
            Self::Plain => "plain text",
        })
    }
}

impl Stranger {
    /// Ok: refused, and how. Err: let in, or it could not be tried.
    fn call(self, to: SocketAddr, claims: &SpiffeId) -> Result<String, String> {
        let failed = |error: &dyn std::fmt::Display| format!("it could not be tried: {error}");
        let mut socket = StdStream::connect_timeout(&to, LIMIT).map_err(|error| failed(&error))?;
        socket.set_read_timeout(Some(LIMIT)).map_err(|error| failed(&error))?;
        if matches!(self, Self::Plain) {
            socket
                .write_all(b"GET / HTTP/1.1\r\nhost: application\r\n\r\n")
                .map_err(|error| failed(&error))?;
            let mut answer = Vec::new();
            return match socket.read_to_end(&mut answer) {
                Ok(_) if answer.starts_with(b"HTTP") => Err("answered in plain text".to_owned()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Err("neither answered nor closed".to_owned())
                }
                _ => Ok("refused: closed without an answer".to_owned()),
            };
        }
        let config = self.config(claims).map_err(|error| failed(&error))?;
        let mut tls = ClientConnection::new(Arc::new(config), ServerName::IpAddress(to.ip().into()))
            .map_err(|error| failed(&error))?;
        let mut stream = rustls::Stream::new(&mut tls, &mut socket);
        // In TLS 1.3 the refusal comes after the client's own handshake is over: with the first read.
        let done = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        let mut first = [0];
        match done.and_then(|()| stream.read_exact(&mut first)) {
            Ok(()) => Err("accepted".to_owned()),
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::AlertReceived(alert)) => Ok(format!("refused: alert {alert:?}")),
                _ if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Err("neither answered nor closed".to_owned())
                }
                _ => Ok(format!("refused: {error}")),
            },
        }
    }

    /// Of a client that takes any server: it is he who is tried.
    fn config(self, claims: &SpiffeId) -> Result<ClientConfig, Box<dyn std::error::Error>> {
        let client = match self {
            Self::Nobody | Self::Plain => None,
            Self::Elsewhere => {
                let folder = tempfile::tempdir()?;
                let now = OffsetDateTime::now_utc();
                let mut authority =
                    Authority::init(folder.path(), &InitOptions::default(), "the proof", now)?;
                let request = Request::new("stranger").with(certs::AltName::from(claims));
                let issued = authority.issue(&request, "the proof", now)?;
                let key = issued.key_pem.as_ref().map(|key| key.as_bytes()).unwrap_or_default();
                Some(ClientIdentity::from_pem(issued.chain_pem.as_bytes(), key)?)
            }
        };
        let attempt = Attempt {
            version: Some(Version::Tls13),
            name: String::new(),
            alpn: vec!["h2".to_owned()],
            client,
            application: Application::Tcp,
            timeout: LIMIT,
        };
        Ok(Client::new(&attempt, None)?.config().clone())
    }
}

/// The rows as a table, and their count.
pub fn table(rows: &[Row]) -> String {
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).len()).max().unwrap_or_default();
    let (from, to) = (width(|row| &row.from), width(|row| &row.to));
    let mut text = String::from("\n");
    for row in rows {
        let mark = if row.good { "ok" } else { "FAIL" };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{mark:<4}  {:<from$} -> {:<to$}  {}", row.from, row.to, row.outcome);
    }
    if rows.is_empty() {
        text.push_str("nothing is proven: no pod is in the mesh\n");
    }
    let failed = rows.iter().filter(|row| !row.good).count();
    let _ = writeln!(text, "\n{} ok, {failed} failed", rows.len() - failed);
    text
}
