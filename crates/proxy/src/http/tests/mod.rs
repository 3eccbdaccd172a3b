//! Whole requests over loopback: a listener made from a snapshot, real clients, real applications.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::peer::Peer;
use model::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::access_log::Logs;
use crate::connection::{Address, Alpn, Connection, TlsSession};
use crate::metrics::Metrics;
use crate::source::Files;
use crate::state::{State, Surroundings};

mod access;
mod application;
mod client;
mod content;
mod framing;
mod gate;
mod http2;
mod identity;
mod paths;
mod proxying;
mod retries;
mod routing;
mod times;

/// A listener on loopback, made from the first one of a snapshot.
pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) state: Arc<State>,
    _folder: tempfile::TempDir,
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// What the handshake would have found.
#[derive(Clone, Default)]
pub(crate) struct FakeTls {
    pub(crate) peer: Option<Peer>,
    pub(crate) h2: bool,
    /// The host that SNI chose.
    pub(crate) host: usize,
}

impl Served {
    /// Serves plain HTTP.
    pub(crate) fn plain(snapshot: Value) -> Self {
        Self::start(snapshot, None)
    }

    /// Serves as if each connection had had this handshake.
    pub(crate) fn tls(snapshot: Value, tls: FakeTls) -> Self {
        Self::start(snapshot, Some(tls))
    }

    fn start(mut snapshot: Value, tls: Option<FakeTls>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        snapshot["version"] = json!(1);
        for listener in snapshot["listeners"].as_array_mut().unwrap() {
            listener["name"] = json!("test");
            listener["bind"] = json!(["127.0.0.1:1"]);
        }
        if snapshot.get("access_log").is_none() {
            snapshot["access_log"] = json!({"to": {"file": folder.path().join("access.log")}});
        }
        let snapshot: Snapshot = serde_json::from_value(snapshot).unwrap();
        let metrics = Arc::new(Metrics::default());
        let surroundings = Surroundings {
            metrics: Arc::clone(&metrics),
            logs: Logs::new(folder.path(), Default::default()),
            ticketers: Default::default(),
            source: Arc::new(Files::new()),
        };
        let (state, _) = State::assemble(Arc::new(snapshot), &surroundings, None);
        let state = Arc::new(state.unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let listeners = Arc::clone(&state.listeners[0]);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let mut id = 0;
                loop {
                    let accepted = tokio::select! {
                        accepted = listener.accept() => accepted,
                        _ = &mut stopped => return,
                    };
                    let (socket, peer) = accepted.unwrap();
                    id += 1;
                    let tls = tls.as_ref().map(|tls| session(tls, &listeners));
                    let connection = Connection {
                        id,
                        listener: Arc::clone(&listeners),
                        peer_addr: Address::Ip(peer),
                        local_addr: Address::Ip(addr),
                        accepted: Instant::now(),
                        tls,
                        worker: 0,
                        drain: listeners.drain.subscribe(),
                        decisions: Default::default(),
                        held: None,
                    };
                    tokio::spawn(super::serve(socket, Arc::new(connection)));
                }
            });
        });
        Self { addr, metrics, state, _folder: folder, _stop: stop }
    }

    /// Sends bytes on a new connection and reads until it is closed, or a second of silence.
    pub(crate) fn raw(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.addr).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        read_all(&mut socket)
    }

    /// GET of a path, the connection closed afterwards.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// A request with headers and body, the connection closed afterwards. Host is `localhost` unless given.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request.push_str("Host: localhost\r\n");
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        Answer::parse(&self.raw_bytes(request.as_bytes()))
    }

    /// As [`raw`](Self::raw), in bytes.
    pub(crate) fn raw_bytes(&self, request: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.addr).unwrap();
        socket.write_all(request).unwrap();
        read_bytes(&mut socket)
    }

    /// The access log so far, once it has this many lines.
    pub(crate) fn log(&self, lines: usize) -> Vec<String> {
        let path = self._folder.path().join("access.log");
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if text.lines().count() >= lines || Instant::now() > deadline {
                return text.lines().map(str::to_owned).collect();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn session(tls: &FakeTls, listener: &crate::state::ListenerState) -> TlsSession {
    TlsSession {
        version: rustls::ProtocolVersion::TLSv1_3,
        cipher: rustls::CipherSuite::TLS13_AES_128_GCM_SHA256,
        group: Some(rustls::NamedGroup::X25519),
        sni: Some("localhost".into()),
        alpn: Some(if tls.h2 { Alpn::H2 } else { Alpn::Http11 }),
        resumed: false,
        peer: tls.peer.clone().map(Arc::new),
        host: Some(tls.host),
        policy_key: listener.policy_key(tls.host),
    }
}

pub(crate) fn read_all(socket: &mut TcpStream) -> String {
    String::from_utf8_lossy(&read_bytes(socket)).into_owned()
}

fn read_bytes(socket: &mut TcpStream) -> Vec<u8> {
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut out = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => return out,
            Ok(n) => out.extend_from_slice(&buffer[..n]),
        }
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap_or((line, ""));
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        let mut body = bytes[end + 4..].to_vec();
        if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            body = dechunk(&body);
        }
        Self { status, headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON: what the application saw.
    pub(crate) fn seen(&self) -> testkit::http_upstream::Asked {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    out
}

/// One host with these routes, and one service `app` with these endpoints.
pub(crate) fn snapshot(routes: Value, endpoints: &[SocketAddr]) -> Value {
    let endpoints: Vec<Value> = endpoints.iter().map(|addr| json!({"address": addr.to_string()})).collect();
    json!({
        "listeners": [{"hosts": [{"names": ["localhost"], "routes": routes}]}],
        "services": {"app": {"endpoints": endpoints}},
    })
}

/// A route that sends everything to `app`.
pub(crate) fn to_app() -> Value {
    json!([{"path": "/", "proxy": {"service": "app"}}])
}
