//! A control plane for a test, and those who call it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use handfast_wire::catalog::{Catalog, Type};
use handfast_wire::client::{Adopting, Backoff, Discovery, Node, Options, State, Target, discover};
use handfast_wire::convert::Context;
use handfast_wire::proto::discovery::{
    DELTA_AGGREGATED_RESOURCES, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node as ProtoNode,
};
use handfast_wire::server::{
    self, Authenticator, Authority, Caller, CertificateRequest, Limits, Listener, Proxies, serve,
};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::mesh::policy::Action;
use model::mesh::{Change, Mode, Policy, Service, ServiceName, Tunnel, Workload, World};
use rcgen::SanType;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use testkit::pki::{self, Issued};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

pub const NAME: &str = "plane.test";
/// Nothing takes as long as this on a machine that does other things as well.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Plane {
    pub authority: Arc<pki::Authority>,
    pub clients: Arc<pki::Authority>,
    pub catalog: watch::Sender<Arc<Catalog>>,
    pub proxies: Proxies,
    pub address: SocketAddr,
    /// The same without TLS.
    pub plain: SocketAddr,
    pub tls: watch::Sender<Arc<ServerConfig>>,
    pub applied: Arc<AtomicU64>,
    pub asked: Arc<Mutex<Vec<CertificateRequest>>>,
    world: World,
    ending: CancellationToken,
    task: JoinHandle<()>,
}

struct Gate(Arc<Mutex<Vec<CertificateRequest>>>);

impl Authenticator for Gate {
    fn authenticate<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<String, Status>> {
        Box::pin(async move {
            match (caller.token.as_deref(), caller.chain.len()) {
                (Some("good"), _) => Ok("system:serviceaccount:shop:proxy".to_owned()),
                (None, 1..) => Ok(format!("a chain of {}", caller.chain.len())),
                _ => Err(Status::unauthenticated("nobody I know")),
            }
        })
    }
}

impl Authority for Gate {
    fn sign(&self, request: CertificateRequest) -> BoxFuture<'_, Result<Vec<String>, Status>> {
        Box::pin(async move {
            if request.caller.token.as_deref() != Some("good") {
                return Err(Status::unauthenticated("nobody I know"));
            }
            self.0.lock().unwrap().push(request);
            Ok(["leaf", "issuing", "root"].map(str::to_owned).to_vec())
        })
    }
}

pub fn server_config(authority: &pki::Authority, clients: &pki::Authority) -> Arc<ServerConfig> {
    let issued = authority.leaf("plane", |params| {
        params.subject_alt_names = vec![SanType::DnsName(NAME.try_into().unwrap())];
    });
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.der()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let (chain, key) = credential(&issued);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn credential(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = issued.chain.iter().map(|der| der.clone().into()).collect();
    (chain, PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap())
}

impl Plane {
    pub async fn start(world: World) -> Self {
        Self::start_with(world, Limits::default()).await
    }

    pub async fn start_with(world: World, limits: Limits) -> Self {
        let authority = Arc::new(pki::Authority::root("Test control plane"));
        let clients = Arc::new(pki::Authority::root("Test proxies"));
        let any = "127.0.0.1:0".parse().unwrap();
        Self::start_at(any, authority, clients, world, limits).await
    }

    pub async fn start_at(
        address: SocketAddr,
        authority: Arc<pki::Authority>,
        clients: Arc<pki::Authority>,
        world: World,
        limits: Limits,
    ) -> Self {
        let tcp = TcpListener::bind(address).await.unwrap();
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, plain_address) = (tcp.local_addr().unwrap(), plain.local_addr().unwrap());
        let (catalog, catalogs) = watch::channel(Arc::new(Catalog::default()).next(&Arc::new(world.clone())));
        let (tls, configs) = watch::channel(server_config(&authority, &clients));
        let (proxies, ending) = (Proxies::default(), CancellationToken::new());
        let (applied, asked) = (Arc::new(AtomicU64::new(0)), Arc::<Mutex<Vec<_>>>::default());
        let count = Arc::clone(&applied);
        let options = server::Options {
            catalog: catalogs,
            authenticator: Arc::new(Gate(Arc::clone(&asked))),
            authority: Some(Arc::new(Gate(Arc::clone(&asked)))),
            proxies: proxies.clone(),
            limits,
            applied: Some(Arc::new(move |_: Type, _: Duration| {
                count.fetch_add(1, Ordering::Relaxed);
            })),
        };
        let listeners = vec![Listener::Tls(tcp, configs), Listener::Plain(plain)];
        let task = tokio::spawn(serve(listeners, options, ending.clone()));
        Self {
            authority,
            clients,
            catalog,
            proxies,
            address,
            plain: plain_address,
            tls,
            applied,
            asked,
            world,
            ending,
            task,
        }
    }

    pub fn change(&mut self, changes: impl IntoIterator<Item = Change>) {
        changes.into_iter().for_each(|change| self.world.apply(change));
        let next = self.catalog.borrow().next(&Arc::new(self.world.clone()));
        self.catalog.send_replace(next);
    }

    pub async fn stop(self) -> (SocketAddr, Arc<pki::Authority>, Arc<pki::Authority>, World) {
        self.ending.cancel();
        tokio::time::timeout(LIMIT, self.task).await.unwrap().unwrap();
        (self.address, self.authority, self.clients, self.world)
    }

    pub fn client_config(&self, issued: Option<&Issued>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der()).unwrap();
        let builder =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots);
        let mut config = match issued.map(credential) {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    pub fn target(&self) -> Target {
        let (_, tls) = watch::channel(self.client_config(None));
        Target::new(self.address.to_string(), NAME.try_into().unwrap(), tls)
    }

    pub fn listen(&self, token: Option<&'static str>) -> Discovery {
        listen(self.target(), token)
    }

    /// A proxy that does as the test says.
    pub async fn raw(&self) -> Raw {
        self.channel().await.stream("ztunnel~10.0.0.1~p.shop~shop.svc.cluster.local").await
    }

    pub async fn channel(&self) -> Channel {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let connector = TlsConnector::from(self.client_config(None));
        let tls = connector.connect(NAME.try_into().unwrap(), tcp).await.unwrap();
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        Channel(sender)
    }
}

pub fn listen(target: Target, token: Option<&'static str>) -> Discovery {
    listen_adopting(target, token, None)
}

pub fn listen_adopting(target: Target, token: Option<&'static str>, adopting: Option<Adopting>) -> Discovery {
    let (discovery, run) = discover(Options {
        target,
        node: Node {
            id: "ztunnel~10.0.0.1~p.shop~shop.svc.cluster.local".into(),
            cluster: "here".into(),
            metadata: [("NODE_NAME".to_owned(), "n1".to_owned())].into(),
        },
        token: Arc::new(move || Ok(token.map(str::to_owned))),
        cluster: Some("here".into()),
        context: Context::default(),
        backoff: Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(200) },
        adopting,
    });
    tokio::spawn(run);
    discovery
}

#[derive(Clone)]
pub struct Channel(SendRequest<tonic::body::Body>);

impl tower_service::Service<http::Request<tonic::body::Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A stream that acknowledges nothing by itself.
pub struct Raw {
    node: Option<ProtoNode>,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    pub answers: Streaming<DeltaDiscoveryResponse>,
}

impl Channel {
    pub async fn stream(&self, node: &str) -> Raw {
        let (requests, receiver) = mpsc::channel(64);
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|request| (request, receiver))
        });
        let mut request = Request::new(stream);
        request.metadata_mut().insert("authorization", "Bearer good".parse().unwrap());
        let mut grpc = tonic::client::Grpc::with_origin(self.clone(), "https://plane.test".parse().unwrap());
        grpc.ready().await.unwrap();
        let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
        let path = PathAndQuery::from_static(DELTA_AGGREGATED_RESOURCES);
        let answers = grpc.streaming(request, path, codec).await.unwrap().into_inner();
        let node = Some(ProtoNode { id: node.to_owned(), ..ProtoNode::default() });
        Raw { node, requests, answers }
    }
}

impl Raw {
    pub async fn say(&mut self, request: DeltaDiscoveryRequest) {
        let node = self.node.take();
        let node = request.node.clone().or(node);
        let _ = self.requests.send(DeltaDiscoveryRequest { node, ..request }).await;
    }

    pub async fn ask(&mut self, of: Type) {
        self.say(DeltaDiscoveryRequest { type_url: of.url().into(), ..Default::default() }).await;
    }

    pub async fn yes(&mut self, answer: &DeltaDiscoveryResponse) {
        let (type_url, response_nonce) = (answer.type_url.clone(), answer.nonce.clone());
        self.say(DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }).await;
    }

    pub async fn hear(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let heard = tokio::time::timeout(LIMIT, self.answers.message()).await.expect("nothing was said");
        heard.map(|answer| answer.expect("the stream is over"))
    }

    /// Nothing comes for a while.
    pub async fn hears_nothing(&mut self) {
        let heard = tokio::time::timeout(Duration::from_millis(400), self.answers.message()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

pub fn workload(number: usize) -> Workload {
    let name = ServiceName { namespace: "shop".into(), hostname: "web.shop.svc.cluster.local".into() };
    Workload {
        uid: format!("here//Pod/shop/web-{number}"),
        name: format!("web-{number}"),
        namespace: "shop".into(),
        addresses: vec![[10, 1, (number >> 8) as u8, number as u8].into()],
        service_account: "web".into(),
        node: "n1".into(),
        tunnel: Tunnel::Hbone,
        workload_name: "web".into(),
        services: [(name, vec![])].into(),
        healthy: true,
        modes: model::mesh::Modes { inbound: Mode::Strict.into(), outbound: Mode::Strict.into() },
        ..Workload::default()
    }
}

pub fn service() -> Service {
    Service {
        name: ServiceName { namespace: "shop".into(), hostname: "web.shop.svc.cluster.local".into() },
        short: "web".into(),
        addresses: vec![[10, 96, 0, 7].into()],
        ports: vec![],
        subject_alt_names: vec![],
    }
}

pub fn policy(name: &str) -> Policy {
    Policy { namespace: "shop".into(), name: name.into(), action: Action::Allow, ..Policy::default() }
}

/// A service, a policy and so many workloads.
pub fn world(workloads: usize) -> World {
    let mut world = World::default();
    world.apply(Change::Service(service()));
    world.apply(Change::Policy(policy("p")));
    (0..workloads).for_each(|number| world.apply(Change::Workload(workload(number))));
    world
}

/// Waits until the world of a proxy is so.
pub async fn until(discovery: &Discovery, what: &str, so: impl Fn(&World) -> bool) {
    let mut worlds = discovery.world.clone();
    let waited = tokio::time::timeout(LIMIT, worlds.wait_for(|world| so(world))).await;
    waited.unwrap_or_else(|_| panic!("{what}: {:?}", discovery.state.borrow())).unwrap();
}

/// Waits until it stands so with the control plane.
pub async fn until_state(discovery: &Discovery, what: &str, so: impl Fn(&State) -> bool) -> State {
    let mut states = discovery.state.clone();
    let waited = tokio::time::timeout(LIMIT, states.wait_for(|state| so(state))).await;
    waited.unwrap_or_else(|_| panic!("{what}: {:?}", discovery.state.borrow())).unwrap().clone()
}

/// Waits until something is so that nobody tells of.
pub async fn wait(what: &str, mut so: impl FnMut() -> bool) {
    let until = tokio::time::Instant::now() + LIMIT;
    while !so() {
        assert!(tokio::time::Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
