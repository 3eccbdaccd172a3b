//! Workloads on loopback addresses, each with its own proxy, over real sockets and real TLS.

mod arriving;
mod breaking;
mod calling;
mod changing;
mod direct;
mod pods;
mod proofs;
mod slow;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::mesh::policy::{Action, Clause, Field, Match, Network, Policy, Rule, Text};
use model::mesh::{AppProtocol, Change, HBONE_PORT, Port, Service, ServiceName, Tunnel, Workload, World};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Attached, Attachment, Credential, Mesh, Options, Record, WayOut};
use crate::tunnel::Patience;

/// An authority of one trust domain.
pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Ca {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "test root");
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// A chain and its key for URIs.
    pub(super) fn pair(
        &self,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    pub(super) fn credential(&self, account: &str) -> Arc<Credential> {
        self.credential_that_trusts(account, &self.root)
    }

    pub(super) fn credential_that_trusts(&self, account: &str, roots: &str) -> Arc<Credential> {
        let uri = format!("spiffe://cluster.local/ns/bank/sa/{account}");
        let (chain, key) = self.pair(&[&uri], |_| ());
        Arc::new(Credential::new(chain.as_bytes(), key.as_bytes(), roots.as_bytes()).unwrap())
    }
}

/// A machine with a mesh: its loopback addresses are its own.
pub(super) struct Machine {
    pub(super) ca: Ca,
    pub(super) mesh: Mesh,
    world: watch::Sender<Arc<World>>,
    records: Arc<Mutex<Vec<Record>>>,
    subnet: u8,
}

static SUBNET: AtomicU8 = AtomicU8::new(1);

impl Machine {
    pub(super) fn new() -> Self {
        Self::with_patience(Patience::default())
    }

    pub(super) fn with_patience(patience: Patience) -> Self {
        let (world, receiver) = watch::channel(Arc::new(World::default()));
        let records: Arc<Mutex<Vec<Record>>> = Arc::default();
        let seen = Arc::clone(&records);
        let options = Options {
            world: receiver,
            observer: Arc::new(move |record| seen.lock().unwrap().push(record.clone())),
        };
        let mesh = Mesh::with_patience(options, patience);
        Self { ca: Ca::new(), mesh, world, records, subnet: SUBNET.fetch_add(1, Ordering::Relaxed) }
    }

    /// An address of the machine. Each process of the tests has its own, so that test programs may run at one time.
    pub(super) fn ip(&self, last: u8) -> IpAddr {
        let process = u16::try_from(std::process::id() % 250).unwrap() as u8;
        Ipv4Addr::new(127, 32 + process % 128, self.subnet, last).into()
    }

    pub(super) fn change(&self, change: Change) {
        self.world.send_modify(|world| Arc::make_mut(world).apply(change));
    }

    pub(super) fn workload(&self, name: &str, last: u8) -> Workload {
        let mut workload = Workload {
            uid: format!("here//Pod/bank/{name}"),
            name: name.into(),
            namespace: "bank".into(),
            addresses: vec![self.ip(last)],
            service_account: name.into(),
            tunnel: Tunnel::Hbone,
            workload_name: name.into(),
            healthy: true,
            ..Workload::default()
        };
        let port = Port { service: 80, target: 8080, protocol: AppProtocol::Unknown };
        workload.services.insert(service_name(name), vec![port]);
        workload
    }

    /// A workload with a service of its name, with a proxy of its own.
    pub(super) fn join(&self, name: &str, last: u8) -> Joined {
        let service = Service {
            name: service_name(name),
            short: name.into(),
            addresses: vec![self.ip(100 + last)],
            ports: vec![Port { service: 80, target: 8080, protocol: AppProtocol::Unknown }],
            subject_alt_names: Vec::new(),
        };
        self.change(Change::Service(service));
        self.change(Change::Workload(self.workload(name, last)));
        self.attach(name, last, self.ca.credential(name))
    }

    pub(super) fn attach(&self, name: &str, last: u8, credential: Arc<Credential>) -> Joined {
        let (renew, credential) = watch::channel(credential);
        let attached = self.mesh.attach(Attachment {
            uid: format!("here//Pod/bank/{name}"),
            credential,
            address: Some(self.ip(last)),
            hbone: StdListener::bind((self.ip(last), HBONE_PORT)).unwrap(),
            ways_out: vec![
                WayOut::Proxy(StdListener::bind((self.ip(last), 0)).unwrap()),
                WayOut::Mapped {
                    socket: StdListener::bind((self.ip(last), 0)).unwrap(),
                    service: service_name("ledger"),
                    port: 80,
                },
            ],
            pod: None,
        });
        Joined { attached: attached.unwrap(), renew }
    }

    /// The records so far; they are taken away. Waits for at least so many.
    pub(super) async fn records(&self, count: usize) -> Vec<Record> {
        for _ in 0..500 {
            if self.records.lock().unwrap().len() >= count {
                return std::mem::take(&mut *self.records.lock().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} records were expected: {:#?}", self.records.lock().unwrap());
    }
}

/// A workload that joined.
pub(super) struct Joined {
    pub(super) attached: Attached,
    pub(super) renew: watch::Sender<Arc<Credential>>,
}

impl Joined {
    pub(super) fn proxy(&self) -> SocketAddr {
        self.attached.ways_out()[0]
    }

    pub(super) fn mapped(&self) -> SocketAddr {
        self.attached.ways_out()[1]
    }
}

pub(super) fn service_name(name: &str) -> ServiceName {
    ServiceName { namespace: "bank".into(), hostname: format!("{name}.bank.svc.cluster.local") }
}

/// Who may call: service accounts of namespace bank.
pub(super) fn allow(name: &str, accounts: &[&str]) -> Policy {
    let any =
        accounts.iter().map(|account| Text::Exact(format!("cluster.local/ns/bank/sa/{account}"))).collect();
    let part = Match { principals: Field { any, none: Vec::new() }, ..Match::default() };
    Policy {
        namespace: "bank".into(),
        name: name.into(),
        action: Action::Allow,
        rules: vec![Rule { clauses: vec![Clause { matches: vec![part] }] }],
        ..Policy::default()
    }
}

/// An application that sends back what it gets, and counts who came. To "GET" it says hello in HTTP.
pub(super) struct Application {
    pub(super) connections: Arc<AtomicUsize>,
}

impl Application {
    pub(super) async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let connections: Arc<AtomicUsize> = Arc::default();
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(socket));
            }
        });
        Self { connections }
    }

    pub(super) fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn answer(mut socket: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    let n = socket.read(&mut buffer).await.unwrap_or(0);
    if buffer[..n].starts_with(b"GET ") {
        let head = String::from_utf8_lossy(&buffer[..n]).into_owned();
        let body = format!("hello from the application\n{head}");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let _ = socket.write_all(answer.as_bytes()).await;
        return;
    }
    if socket.write_all(&buffer[..n]).await.is_err() {
        return;
    }
    let (mut read, mut write) = socket.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
    let _ = write.shutdown().await;
}

/// Runs curl; gives its code, what it wrote and what it said.
pub(super) async fn curl(words: &[&str]) -> (Option<i32>, String, String) {
    let done = tokio::process::Command::new("curl")
        .args(["-sS", "--noproxy", "", "--max-time", "20"])
        .args(words)
        .env_clear()
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}
