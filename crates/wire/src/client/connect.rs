//! A connection to the control plane, for gRPC.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;

use crate::error::Error;

/// What may be under way on a stream, and on all of a connection, before it was read, bytes: everything comes at once.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
/// The longest headers of an answer, bytes.
const HEADERS: u32 = 16 << 10;

/// Makes a socket that is ready to connect to an address: for who has to mark his sockets. It does not block.
pub type Socket = Arc<dyn Fn(SocketAddr) -> io::Result<std::net::TcpStream> + Send + Sync>;

/// Where the control plane is, and how it proves to be that.
#[derive(Clone)]
pub struct Target {
    /// `host:port`; looked up at each connection.
    pub address: String,
    /// The name that its certificate has to have.
    pub server_name: ServerName<'static>,
    /// What TLS asks for; each connection takes the settings of its time. None speaks plain text: to who is on the same
    /// machine.
    pub tls: Option<watch::Receiver<Arc<ClientConfig>>>,
    /// Makes the sockets; none leaves it to the system.
    pub socket: Option<Socket>,
    /// How long it may take until a connection stands.
    pub timeout: Duration,
    /// How often it is asked whether the other end is still there, and how long the answer may take.
    pub keep_alive: Duration,
    /// How long the answer to that may take.
    pub keep_alive_timeout: Duration,
    /// The longest message, bytes.
    pub message: usize,
}

impl Target {
    /// A target with the usual limits.
    pub fn new(
        address: impl Into<String>,
        server_name: ServerName<'static>,
        tls: watch::Receiver<Arc<ClientConfig>>,
    ) -> Self {
        Self {
            address: address.into(),
            server_name,
            tls: Some(tls),
            socket: None,
            timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(20),
            message: 256 << 20,
        }
    }

    pub(super) async fn connect(&self) -> Result<Grpc<Channel>, Error> {
        let late = |_| Error::Unreachable {
            address: self.address.clone(),
            reason: format!("no connection within {} s", self.timeout.as_secs_f32()),
        };
        let channel = tokio::time::timeout(self.timeout, self.dial()).await.map_err(late)??;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let origin =
            Uri::builder().scheme(scheme).authority(self.address.as_str()).path_and_query("/").build();
        let origin = origin.map_err(|error| Error::unreachable(&self.address, &error))?;
        Ok(Grpc::with_origin(channel, origin).max_decoding_message_size(self.message))
    }

    async fn dial(&self) -> Result<Channel, Error> {
        let unreachable = |error: std::io::Error| Error::unreachable(&self.address, &error);
        let tcp = match &self.socket {
            None => TcpStream::connect(&self.address).await,
            Some(make) => connect(&self.address, make).await,
        };
        let tcp = tcp.map_err(unreachable)?;
        // Small messages are not held back for larger ones.
        let _ = tcp.set_nodelay(true);
        match &self.tls {
            None => self.handshake(tcp).await,
            Some(tls) => {
                let connector = TlsConnector::from(Arc::clone(&tls.borrow()));
                let tls = connector.connect(self.server_name.clone(), tcp).await.map_err(unreachable)?;
                self.handshake(tls).await
            }
        }
    }

    async fn handshake<S>(&self, stream: S) -> Result<Channel, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADERS)
            .keep_alive_interval(self.keep_alive)
            .keep_alive_timeout(self.keep_alive_timeout)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::unreachable(&self.address, &error))?;
        // How it ended is learnt by the request that was under way.
        let task = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Channel { sender, _task: Arc::new(Task(task.abort_handle())) })
    }
}

/// Connects to the first of a name's addresses that takes it.
async fn connect(address: &str, make: &Socket) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(address).await? {
        let connected = async { TcpSocket::from_std_stream(make(address)?).connect(address).await };
        match connected.await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("address", &self.address)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// Who we are, for each request.
pub(super) fn introduce(
    metadata: &mut MetadataMap,
    token: Option<&str>,
    cluster: Option<&str>,
) -> Result<(), Error> {
    if let Some(token) = token {
        let mut value: tonic::metadata::AsciiMetadataValue = format!("Bearer {}", token.trim())
            .parse()
            .map_err(|_| Error::Token("it has bytes that no token has".to_owned()))?;
        value.set_sensitive(true);
        metadata.insert("authorization", value);
    }
    if let Some(value) = cluster.and_then(|cluster| cluster.parse().ok()) {
        metadata.insert("clusterid", value);
    }
    Ok(())
}

/// A connection that ends with the last who uses it.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    sender: SendRequest<Body>,
    _task: Arc<Task>,
}

#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl tower_service::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}
