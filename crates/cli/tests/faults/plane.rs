//! A small mesh for one test: a control plane at the node's address, and pods in networks of their own, each with the real
//! `handfast mesh proxy` and packet rules.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::mesh::{AppProtocol, Change, Port, Service, ServiceName, Tunnel, Workload, World};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use testkit::network::{Network, Place};
use testkit::pki::{Authority, SanType};
use testkit::program::Program;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wire::catalog::Catalog;
use wire::server::{Authenticator, Caller, CertificateRequest, Limits, Listener, Options, Proxies, serve};

/// Nothing takes as long as this.
pub const SOON: Duration = Duration::from_secs(30);
const CONTROL_PLANE: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 77, 0, 1), 15012);

/// Who may know everything, and gets the certificate that he asks for: nobody but the test can reach it.
struct Gate(Arc<Authority>);

impl Authenticator for Gate {
    fn authenticate<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<String, Status>> {
        Box::pin(async move { caller.token.clone().ok_or_else(|| Status::unauthenticated("no token")) })
    }
}

impl wire::server::Authority for Gate {
    fn sign(&self, request: CertificateRequest) -> BoxFuture<'_, Result<Vec<String>, Status>> {
        Box::pin(async move { Ok(vec![self.0.sign_workload(&request.csr), self.0.pem()]) })
    }
}

/// A control plane that can be ended and come back.
pub struct Plane {
    authority: Arc<Authority>,
    network: Network,
    runtime: Runtime,
    world: World,
    ending: CancellationToken,
}

impl Plane {
    /// `None`, after the skip was said, where no networks can be made.
    pub fn start() -> Option<Self> {
        let network = Network::start()?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let authority = Arc::new(Authority::root("mesh"));
        let ending = CancellationToken::new();
        Some(Self { authority, network, runtime, world: World::default(), ending })
    }

    /// Listens, with what is known by now.
    pub fn listen(&mut self) {
        let namespace = sys::Namespace::open(&self.network.node().path()).unwrap();
        let socket = namespace.run(|| TcpListener::bind(CONTROL_PLANE)).unwrap().unwrap();
        socket.set_nonblocking(true).unwrap();
        let gate = Arc::new(Gate(Arc::clone(&self.authority)));
        let catalog = Arc::new(Catalog::default()).next(&Arc::new(self.world.clone()));
        let tls = self.tls();
        self.ending = CancellationToken::new();
        let ending = self.ending.clone();
        self.runtime.spawn(async move {
            let (_catalog, catalog) = watch::channel(catalog);
            let (_tls, tls) = watch::channel(tls);
            let options = Options {
                catalog,
                authenticator: gate.clone(),
                authority: Some(gate),
                proxies: Proxies::default(),
                limits: Limits { drain: Duration::from_millis(100), ..Limits::default() },
                applied: None,
            };
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            serve(vec![Listener::Tls(socket, tls)], options, ending).await;
        });
    }

    /// Ends every stream, and listens no more.
    pub fn end(&self) {
        self.ending.cancel();
    }

    fn tls(&self) -> Arc<ServerConfig> {
        let issued = self.authority.leaf("control plane", |params| {
            params.subject_alt_names = vec![SanType::IpAddress(CONTROL_PLANE.0.into())];
        });
        let chain = issued.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let mut tls =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(chain, key)
                .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(tls)
    }

    /// A service of this name, at `10.96.0.LAST`.
    pub fn know_service(&mut self, name: &str, last: u8) {
        self.world.apply(Change::Service(Service {
            name: service_name(name),
            short: name.into(),
            addresses: vec![Ipv4Addr::new(10, 96, 0, last).into()],
            ports: vec![port()],
            subject_alt_names: Vec::new(),
        }));
    }

    /// A pod of this name, `10.77.0.LAST`, that is to be in the mesh.
    pub fn know_pod(&mut self, name: &str, last: u8) {
        self.know_service(name, last);
        self.world.apply(Change::Workload(Workload {
            uid: format!("Kubernetes//Pod/bank/{name}"),
            name: name.into(),
            namespace: "bank".into(),
            addresses: vec![Ipv4Addr::new(10, 77, 0, last).into()],
            service_account: name.into(),
            tunnel: Tunnel::Hbone,
            workload_name: name.into(),
            healthy: true,
            services: [(service_name(name), vec![port()])].into(),
            ..Workload::default()
        }));
    }

    /// A pod without a proxy.
    pub fn pod(&self, last: u8) -> Pod {
        let place = self.network.pod(last);
        let namespace = sys::Namespace::open(&place.path()).unwrap();
        Pod { place, namespace, folder: tempfile::tempdir().unwrap() }
    }

    /// A pod with its proxy, which may have so many file descriptors; it is ready.
    pub fn carry(&self, name: &str, last: u8, files: u32) -> (Pod, Program) {
        let pod = self.pod(last);
        let folder = pod.folder.path();
        std::fs::write(folder.join("ca.crt"), self.authority.pem()).unwrap();
        std::fs::write(folder.join("token"), name).unwrap();
        let program = testkit::binary!().to_str().unwrap();
        pod.place.run(program, &["mesh", "redirect", "--skip-outbound-ports", "15012"]);
        let mut command = pod.place.command("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\""), program, "mesh", "proxy"]);
        command.env("HANDFAST_LOG_FORMAT", "json");
        for (flag, value) in self.arguments(name, &pod, folder) {
            command.args([flag, &value]);
        }
        let mut proxy = Program::start(&mut command);
        proxy.wait_for("it is ready", SOON, |proxy| {
            proxy.stderr().contains("the pod's connections are carried")
        });
        (pod, proxy)
    }

    fn arguments(&self, name: &str, pod: &Pod, folder: &Path) -> HashMap<&'static str, String> {
        let (address, port) = CONTROL_PLANE;
        HashMap::from([
            ("--control-plane", format!("{address}:{port}")),
            ("--pod-name", name.to_owned()),
            ("--pod-namespace", "bank".to_owned()),
            ("--service-account", name.to_owned()),
            ("--pod-ips", pod.place.v4.to_string()),
            ("--node-ips", self.network.node().v4.to_string()),
            ("--identity-dir", folder.display().to_string()),
        ])
    }
}

fn port() -> Port {
    Port { service: 80, target: 8080, protocol: AppProtocol::Unknown }
}

fn service_name(name: &str) -> ServiceName {
    ServiceName { namespace: "bank".into(), hostname: format!("{name}.bank.svc.cluster.local") }
}

/// A pod: its network, and the folder of its token and the roots.
pub struct Pod {
    pub place: Place,
    namespace: sys::Namespace,
    folder: tempfile::TempDir,
}

impl Pod {
    /// A connection of its application.
    pub fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = self.namespace.run(move || TcpStream::connect_timeout(&to, SOON)).unwrap()?;
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
        Ok(socket)
    }

    /// Its application: what comes to `port` is handed to `serve`, each connection in a thread.
    pub fn serve(&self, port: u16, serve: impl Fn(TcpStream) + Clone + Send + 'static) {
        let listener = self.namespace.run(move || sys::listen(port)).unwrap().unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let serve = serve.clone();
                std::thread::spawn(move || serve(socket));
            }
        });
    }

    /// A page of its proxy, as somebody in the pod sees it.
    pub fn page(&self, port: u16, path: &str) -> String {
        let mut socket = self.connect(SocketAddr::new(IpAddr::from(Ipv4Addr::LOCALHOST), port)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// `/status` of its proxy.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.page(15000, "/status")).unwrap()
    }
}

/// An application that sends back what it gets.
pub fn echo(mut socket: TcpStream) {
    let mut space = [0; 1024];
    while let Ok(n @ 1..) = socket.read(&mut space) {
        if socket.write_all(&space[..n]).is_err() {
            return;
        }
    }
    let _ = socket.shutdown(Shutdown::Both);
}

/// Whether a connection is served: what it says comes back.
pub fn is_served(socket: &mut TcpStream) -> bool {
    let mut back = [0; 5];
    socket.write_all(b"hello").and_then(|()| socket.read_exact(&mut back)).is_ok() && &back == b"hello"
}
