//! Ways out for applications that are told of their proxy: HTTP with CONNECT or the whole address (RFC 9110, section
//! 7.1), SOCKS5 on the same port, and ports that stand for one service.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::codes::{Code, mesh as codes};
use model::mesh::ServiceName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::attached::Own;
use super::inbound::reset;
use super::outbound::{self, Call, Upstream};
use super::record::{Direction, Record};
use super::socks;

/// How long a client may take to say what it wants.
pub(super) const WORDS: Duration = Duration::from_secs(30);

/// How long the end of a connection is waited for after a whole response.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a refusal is made of.
pub(super) type Refusal = (&'static Code, String);

/// One client of the explicit proxy.
pub(super) async fn serve(own: Arc<Own>, socket: TcpStream, from: SocketAddr) {
    let cut = own.ending.cut.clone();
    let work = async {
        let mut first = [0];
        match tokio::time::timeout(WORDS, socket.peek(&mut first)).await {
            Ok(Ok(1)) if first == [socks::VERSION] => socks::serve(&own, socket, from).await,
            Ok(Ok(1)) => http1(&own, socket, from).await,
            // It said nothing, and went.
            _ => {}
        }
    };
    tokio::select! {
        // What is carried sees the cut itself: it resets both ends and has its record.
        biased;
        () = Box::pin(work) => {}
        () = cut.cancelled() => {}
    }
}

/// One client of a port that stands for a service's.
pub(super) async fn mapped(
    own: Arc<Own>,
    mut socket: TcpStream,
    from: SocketAddr,
    service: ServiceName,
    port: u16,
) {
    let cut = own.ending.cut.clone();
    let work = async {
        let called = match destination(&own, from, &service.hostname, port).await {
            Ok(destination) => outbound::call(&own, from, destination).await,
            Err(refusal) => Err(refusal),
        };
        match called {
            Ok(call) => call.carry(&own, &mut socket, reset).await,
            Err(_) => reset(&socket),
        }
    };
    tokio::select! {
        // What is carried sees the cut itself: it resets both ends and has its record.
        biased;
        () = Box::pin(work) => {}
        () = cut.cancelled() => {}
    }
}

/// The address of a name, as the workload would see it in its cluster. A refusal has its record by then.
pub(super) async fn destination(
    own: &Own,
    from: SocketAddr,
    host: &str,
    port: u16,
) -> Result<SocketAddr, Refusal> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let world = own.shared.now();
    let namespace = world.workload(&own.uid).map_or("", |workload| workload.namespace.as_str());
    if let Some(service) = world.service_called(host, namespace) {
        if let Some(ip) = service.addresses.first() {
            return Ok(SocketAddr::new(*ip, port));
        }
        // A headless service is its workloads.
        let ready = world.endpoints(&service.name).find(|workload| workload.healthy);
        if let Some(ip) = ready.and_then(|workload| workload.addresses.first()) {
            return Ok(SocketAddr::new(*ip, port));
        }
        return Err(unknown(
            own,
            from,
            host,
            &codes::NO_ENDPOINT,
            format!("{host}: nobody is ready behind it"),
        ));
    }
    let name = host.trim_end_matches('.');
    let is_ours = !name.contains('.') || name.ends_with(".svc") || name.contains(".svc.");
    if is_ours {
        let detail = format!("no Service is called {host:?} from namespace {namespace}");
        return Err(unknown(own, from, host, &codes::NAME_UNKNOWN, detail));
    }
    match tokio::net::lookup_host((name, port)).await.map(|mut found| found.next()) {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(unknown(own, from, host, &codes::NAME_UNKNOWN, format!("{host} has no address"))),
        Err(error) => Err(unknown(own, from, host, &codes::NAME_UNKNOWN, format!("{host}: {error}"))),
    }
}

fn unknown(own: &Own, from: SocketAddr, host: &str, code: &'static Code, detail: String) -> Refusal {
    let mut record = Record::new(Direction::Outbound, &own.uid, from).refused(code, detail.clone());
    record.source = own.credential.borrow().identity.to_string();
    record.service = host.to_owned();
    own.shared.observe(&record);
    (code, detail)
}

type Body = Either<Full<Bytes>, Incoming>;

async fn http1(own: &Arc<Own>, socket: TcpStream, from: SocketAddr) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let answer = match request.method() == Method::CONNECT {
            true => connect(own, from, request).await,
            false => forward(own, from, request).await,
        };
        Ok::<_, Infallible>(answer.unwrap_or_else(|refusal| refused(&refusal)))
    });
    let mut connection = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(WORDS)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
    );
    let drain = own.ending.drain.clone();
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended
        && error.is_parse()
    {
        let detail = format!("what arrived is no HTTP request: {error}");
        let record = Record::new(Direction::Outbound, &own.uid, from);
        own.shared.observe(&record.refused(&codes::PROXY_REQUEST_INVALID, detail));
    }
}

/// A refusal in the words of HTTP; the reason is the workload's own, so its client may read it.
fn refused((code, detail): &Refusal) -> Response<Body> {
    let status = if *code == &codes::PROXY_REQUEST_INVALID {
        StatusCode::BAD_REQUEST
    } else if *code == &codes::WOULD_BE_PLAIN || *code == &codes::PEER_REFUSED {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::BAD_GATEWAY
    };
    let mut response =
        Response::new(Either::Left(Full::from(format!("{}: {}: {detail}\n", code.id, code.title))));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn invalid(own: &Own, from: SocketAddr, detail: &str) -> Refusal {
    let record = Record::new(Direction::Outbound, &own.uid, from);
    own.shared.observe(&record.refused(&codes::PROXY_REQUEST_INVALID, detail));
    (&codes::PROXY_REQUEST_INVALID, detail.to_owned())
}

async fn connect(
    own: &Arc<Own>,
    from: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let authority = request.uri().authority().cloned();
    let asked = authority.as_ref().and_then(|authority| Some((authority.host(), authority.port_u16()?)));
    let Some((host, port)) = asked else {
        return Err(invalid(own, from, "CONNECT needs a host and a port"));
    };
    let destination = destination(own, from, host, port).await?;
    let call = outbound::call(own, from, destination).await?;
    let upgraded = hyper::upgrade::on(request);
    let kept = Arc::clone(own);
    own.ending.tasks.spawn(async move {
        // The socket itself: what is broken off on the other side must not look like an end to the client.
        let parts = upgraded.await.ok().and_then(|client| client.downcast::<TokioIo<TcpStream>>().ok());
        match parts {
            Some(parts) => call.carry_after(&kept, &parts.read_buf, parts.io.into_inner()).await,
            None => call.finish(&kept, 0, 0),
        }
    });
    Ok(Response::new(Either::Left(Full::default())))
}

/// Headers that are the connection's own (RFC 9110, section 7.6.1), and what is said to proxies only.
const OF_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
];

async fn forward(
    own: &Arc<Own>,
    from: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let uri = request.uri();
    if uri.scheme() != Some(&http::uri::Scheme::HTTP) {
        return Err(invalid(own, from, "a request to a proxy needs the whole http:// address, or CONNECT"));
    }
    let Some(authority) = uri.authority().cloned() else {
        return Err(invalid(own, from, "the address has no host"));
    };
    let destination = destination(own, from, authority.host(), authority.port_u16().unwrap_or(80)).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let origin = Uri::try_from(path).map_err(|_| invalid(own, from, "the path cannot be read"))?;
    // Who was asked for is in the address; another word beside it must not decide (RFC 9112, section 3.2.2).
    let host = match authority.as_str().rsplit_once('@') {
        Some((_, host)) => host,
        None => authority.as_str(),
    };
    let host = HeaderValue::from_str(host).map_err(|_| invalid(own, from, "the host cannot be read"))?;
    let call = outbound::call(own, from, destination).await?;
    *request.uri_mut() = origin;
    strip(request.headers_mut());
    request.headers_mut().insert(header::HOST, host);
    let carried = Carried { call: Some(call), own: Arc::clone(own), sent: 0, received: 0, is_shut: false };
    let lost = |error: hyper::Error| (&codes::PEER_UNREACHABLE, format!("{destination}: {error}"));
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(carried)).await.map_err(lost)?;
    own.ending.tasks.spawn(async move {
        // What goes wrong is seen by the request.
        let _ = connection.await;
    });
    let mut response = send.send_request(request).await.map_err(lost)?;
    strip(response.headers_mut());
    Ok(response.map(Either::Right))
}

fn strip(headers: &mut http::HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_CONNECTION) {
        headers.remove(name);
    }
}

/// A call whose bytes somebody else carries: it counts them, and has its record at the end.
struct Carried {
    call: Option<Call>,
    own: Arc<Own>,
    sent: u64,
    received: u64,
    /// All that was to be sent is, and its end.
    is_shut: bool,
}

impl Carried {
    fn upstream(&mut self) -> std::io::Result<Pin<&mut Upstream>> {
        match &mut self.call {
            Some(call) => Ok(Pin::new(&mut call.upstream)),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let Some(mut call) = self.call.take() else { return };
        let (own, sent, mut received) = (Arc::clone(&self.own), self.sent, self.received);
        let Some(runtime) = Handle::try_current().ok().filter(|_| self.is_shut) else {
            return call.finish(&own, sent, received);
        };
        // The response was whole, but for the end of the connection: with that it is free for the next one.
        let tasks = own.ending.tasks.clone();
        let to_end = async move {
            let end = async {
                let mut space = [0; 1024];
                while let Ok(n @ 1..) = call.upstream.read(&mut space).await {
                    received += n as u64;
                }
            };
            tokio::select! {
                _ = tokio::time::timeout(FAREWELL, end) => {}
                () = own.ending.cut.cancelled() => {}
            }
            call.finish(&own, sent, received);
        };
        drop(tasks.spawn_on(to_end, &runtime));
    }
}

impl AsyncRead for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let done = self.upstream()?.poll_read(cx, buf);
        self.received += (buf.filled().len() - before) as u64;
        done
    }
}

impl AsyncWrite for Carried {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let done = self.upstream()?.poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = &done {
            self.sent += *n as u64;
        }
        done
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.upstream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let done = self.upstream()?.poll_shutdown(cx);
        self.is_shut |= matches!(done, Poll::Ready(Ok(())));
        done
    }
}
