//! Raw TCP, with TLS ended here or passed through by server name: nothing is looked into but the ClientHello.

use std::io;
use std::sync::Arc;

use model::codes::{Code, Coded as _, refusals, serving};
use model::policy::Decision;
use model::snapshot::{ProxyProtocol, TcpListener};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::access_log::Sink;
use crate::authorize;
use crate::connection::Connection;
use crate::copy::{self, Copied, End};
use crate::detect::{self, Peeked};
use crate::error::Error;
use crate::refusal::{self, Facts};
use crate::state::Assembly;
use crate::tls::TlsStream;
use crate::transport::Transport;
use crate::upstream::{self, Application, EndpointState, ServiceState, UpstreamStream};

/// Where the connections of a TCP listener go.
pub struct Streams {
    peek: bool,
    routes: Vec<Route>,
    proxy_protocol: Option<ProxyProtocol>,
    log: Option<Arc<Sink>>,
    format: model::snapshot::LogFormat,
}

struct Route {
    names: Vec<String>,
    service: Arc<ServiceState>,
}

impl Streams {
    /// Resolves the services of a TCP listener.
    ///
    /// # Errors
    ///
    /// When a service is not defined, or the log cannot be written.
    pub(crate) fn assemble(spec: &TcpListener, assembly: &mut Assembly<'_>) -> Result<Self, Error> {
        let routes = spec
            .routes
            .iter()
            .map(|route| {
                let names = route.names.iter().map(|name| name.to_ascii_lowercase()).collect();
                Ok(Route { names, service: assembly.service(&route.service)? })
            })
            .collect::<Result<_, Error>>()?;
        let log = spec.access_log.as_ref().unwrap_or(&assembly.snapshot.access_log);
        Ok(Self {
            peek: spec.peek,
            routes,
            proxy_protocol: spec.proxy_protocol,
            log: assembly.log(log)?,
            format: log.format.clone(),
        })
    }

    fn choose(&self, name: Option<&str>) -> Option<&Arc<ServiceState>> {
        let fits = |pattern: &String| {
            name.is_some_and(|name| match pattern.strip_prefix("*.") {
                Some(domain) => name
                    .strip_suffix(domain)
                    .and_then(|label| label.strip_suffix('.'))
                    .is_some_and(|label| !label.is_empty()),
                None => pattern == name,
            })
        };
        self.routes
            .iter()
            .find(|route| route.names.is_empty() || route.names.iter().any(fits))
            .map(|route| &route.service)
    }
}

/// A client's stream: plain or TLS.
pub(crate) trait ClientStream: AsyncRead + AsyncWrite + Unpin {
    /// The bare socket, where nothing was ended here: for a look at the ClientHello.
    fn bare(&mut self) -> Option<&mut Transport>;
    /// Ends the connection such that the peer cannot take it for a clean end.
    fn reset(&self);
}

impl ClientStream for Transport {
    fn bare(&mut self) -> Option<&mut Transport> {
        Some(self)
    }

    fn reset(&self) {
        self.reset_on_close();
    }
}

impl ClientStream for Box<TlsStream> {
    fn bare(&mut self) -> Option<&mut Transport> {
        None
    }

    fn reset(&self) {
        // Without close_notify the end is no clean one in TLS; the reset says so below it too.
        self.io().reset_on_close();
    }
}

/// Carries a connection to its service and back.
pub(crate) async fn serve<IO: ClientStream>(mut io: IO, connection: &Connection, streams: &Streams) {
    let Some((mut upstream, service, peeked)) = Box::pin(open(&mut io, connection, streams)).await else {
        // An alert is of no use any more; close_notify ends the connection in order, with nothing sent.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), io.shutdown()).await;
        return;
    };
    let listener = &connection.listener;
    let counters = (&listener.metrics.bytes_in, &listener.metrics.bytes_out);
    let copied = copy::both_ways(&mut io, &mut upstream, listener.spec.timeouts.tcp_idle.0, counters).await;
    finish(&io, &upstream, &copied, connection);
    log(streams, connection, &service, peeked.as_deref(), &copied);
}

/// The gate, the service, a connection to one of its endpoints. None: refused or failed, and logged.
async fn open<IO: ClientStream>(
    io: &mut IO,
    connection: &Connection,
    streams: &Streams,
) -> Option<(UpstreamStream, Arc<ServiceState>, Option<Box<str>>)> {
    let listener = &connection.listener;
    if let Some(policy) = listener.host_policy(0)
        && let Decision::Refuse(_) = authorize::request(connection, policy).decision
    {
        return None;
    }
    let mut peeked = None;
    if streams.peek
        && let Some(transport) = io.bare()
    {
        match peek(transport, connection).await {
            Ok(name) => peeked = name,
            Err((code, detail)) => {
                refusal::handshake(listener, code, &Facts::of(connection, &detail));
                return None;
            }
        }
    }
    let name = peeked.as_deref().or_else(|| connection.tls.as_ref()?.sni.as_deref());
    let Some(service) = streams.choose(name) else {
        let detail = match name {
            Some(name) => format!("no route is for {name}"),
            None => "no server name was sent, and every route has one".to_owned(),
        };
        let facts = Facts { server_name: name, ..Facts::of(connection, &detail) };
        refusal::handshake(listener, &refusals::UNRECOGNIZED_NAME, &facts);
        if let Some(transport) = io.bare()
            && streams.peek
        {
            // unrecognized_name, in the clear: nothing was ended here.
            let _ = transport.write_all(&[0x15, 3, 3, 0, 2, 2, 112]).await;
        }
        return None;
    };
    let upstream = reach(service, connection, streams.proxy_protocol).await?;
    Some((upstream, Arc::clone(service), peeked))
}

/// The server name in the ClientHello. All bytes are put back.
async fn peek(
    transport: &mut Transport,
    connection: &Connection,
) -> Result<Option<Box<str>>, (&'static Code, String)> {
    let spec = &connection.listener.spec;
    let most = usize::try_from(spec.limits.handshake_bytes.0).unwrap_or(usize::MAX);
    let limit = spec.timeouts.handshake.0;
    let Ok(read) = tokio::time::timeout(limit, detect::read(transport, most)).await else {
        return Err((&refusals::HANDSHAKE_TIMEOUT, format!("no ClientHello within {limit:?}")));
    };
    match read {
        Ok((Peeked::Incomplete, _)) => {
            Err((&refusals::PEER_CLOSED, "closed before the ClientHello was complete".to_owned()))
        }
        Ok((peeked, bytes)) => {
            transport.put_back(bytes);
            Ok(match peeked {
                Peeked::Tls(hello) => hello.server_name,
                _ => None,
            })
        }
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<crate::transport::TooLarge>()) => {
            Err((&refusals::HANDSHAKE_TOO_LARGE, refusals::HANDSHAKE_TOO_LARGE.title.to_owned()))
        }
        Err(error) => Err((&refusals::PEER_CLOSED, error.to_string())),
    }
}

/// A connection to the first endpoint that can be reached; each is tried once.
async fn reach(
    service: &Arc<ServiceState>,
    connection: &Connection,
    header: Option<ProxyProtocol>,
) -> Option<UpstreamStream> {
    let mut tried: Vec<Arc<EndpointState>> = Vec::new();
    let failed = |code: &'static Code, reason: &'static Code, detail: &str| {
        tracing::warn!(
            code = code.id,
            reason = reason.label,
            listener = &*connection.listener.name,
            service = &*service.name,
            peer = %connection.peer_addr,
            detail,
            "{}",
            code.title
        );
    };
    while let Some(endpoint) = service.endpoint_for_stream(connection, &tried) {
        let application = Application::Stream(header);
        match upstream::connect(&service.connector, &endpoint.target, Some(connection), application).await {
            Ok(stream) => return Some(stream),
            Err(error) => failed(error.code(), error.reason(), &error.to_string()),
        }
        tried.push(endpoint);
    }
    if tried.is_empty() {
        let code = &serving::NO_ENDPOINT;
        failed(code, code, "no endpoint is usable");
    }
    None
}

/// A stream that was cut off must not look like one that was closed in order: the other end is reset.
fn finish<IO: ClientStream>(io: &IO, upstream: &UpstreamStream, copied: &Copied, connection: &Connection) {
    let (side, error) = match &copied.end {
        End::FirstBroke(error) => ("client", error),
        End::SecondBroke(error) => ("upstream", error),
        End::Idle => {
            io.reset();
            upstream.reset_on_close();
            return;
        }
        End::Complete => return,
    };
    io.reset();
    upstream.reset_on_close();
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let code = &serving::TRUNCATED;
        connection.listener.metrics.truncated.inc();
        tracing::warn!(
            code = code.id,
            listener = &*connection.listener.name,
            peer = %connection.peer_addr,
            side,
            "{}",
            code.title
        );
    }
}

fn log(
    streams: &Streams,
    connection: &Connection,
    service: &ServiceState,
    peeked: Option<&str>,
    copied: &Copied,
) {
    let Some(sink) = &streams.log else { return };
    let tls = connection.tls.as_ref();
    let end = match copied.end {
        End::Complete => "complete",
        End::Idle => "idle",
        End::FirstBroke(_) => "client_broke",
        End::SecondBroke(_) => "upstream_broke",
    };
    let name = peeked.or_else(|| tls?.sni.as_deref());
    let identity = tls.and_then(|tls| tls.peer.as_deref()).map(model::peer::Peer::name);
    let seconds = connection.accepted.elapsed().as_secs_f64();
    let time = crate::tls::certificates::date(authorize::now());
    let line = match streams.format {
        model::snapshot::LogFormat::Json | model::snapshot::LogFormat::JsonTemplate(_) => serde_json::json!({
            "time": time,
            "listener": &*connection.listener.name,
            "peer": connection.peer_addr.to_string(),
            "server_name": name,
            "identity": identity,
            "service": &*service.name,
            "bytes_in": copied.forth,
            "bytes_out": copied.back,
            "seconds": (seconds * 1000.0).round() / 1000.0,
            "end": end,
        })
        .to_string(),
        _ => format!(
            "{time} {} {} {} {} {}/{} {seconds:.3} {end}",
            connection.peer_addr,
            name.unwrap_or("-"),
            identity.unwrap_or("-"),
            service.name,
            copied.forth,
            copied.back
        ),
    };
    sink.write(line.as_bytes());
}
