//! Pods in network namespaces of their own, with unchanged applications: what the kernel redirects, the proxies carry.

mod capture;
mod plain;
mod process;
mod through;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;

use model::mesh::{Mode, Tunnel};
use sys::{Namespace, Redirection};
use testkit::network::{Network, Place};

use super::*;
use crate::mesh::{Pod, Probes};

/// A cluster of one node.
struct Cluster {
    network: Network,
    ca: Ca,
    world: watch::Sender<Arc<World>>,
    records: Arc<Mutex<Vec<Record>>>,
}

/// A pod with its applications, and with a proxy of its own where it is in the mesh.
struct Member {
    place: Place,
    namespace: Namespace,
    attached: Option<Attached>,
}

fn uid(name: &str) -> String {
    format!("here//Pod/bank/{name}")
}

/// A pod of bank with these addresses, and what is in the world of it: a service on port 80 for its port 8080.
fn workload(name: &str, addresses: Vec<IpAddr>) -> Workload {
    let port = Port { service: 80, target: 8080, protocol: AppProtocol::Unknown };
    Workload {
        uid: uid(name),
        name: name.into(),
        namespace: "bank".into(),
        addresses,
        service_account: name.into(),
        tunnel: Tunnel::Hbone,
        workload_name: name.into(),
        healthy: true,
        services: [(service_name(name), vec![port])].into(),
        ..Workload::default()
    }
}

/// The address of a pod's service: nothing has it, as in a cluster.
fn cluster_ip(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 96, 0, last).into()
}

fn service(name: &str, last: u8) -> Service {
    Service {
        name: service_name(name),
        short: name.into(),
        addresses: vec![cluster_ip(last)],
        ports: vec![Port { service: 80, target: 8080, protocol: AppProtocol::Unknown }],
        subject_alt_names: Vec::new(),
    }
}

/// A proxy for one pod, within its network or from outside, with the right to mark its sockets or without.
fn attach(
    mesh: &Mesh,
    name: &str,
    address: Option<IpAddr>,
    credential: Arc<Credential>,
    namespace: Option<Namespace>,
    (may, probes): (bool, Probes),
) -> std::io::Result<Attached> {
    let listen = |port| match &namespace {
        Some(namespace) => namespace.run(move || sys::listen(port)).unwrap().unwrap(),
        None => sys::listen(port).unwrap(),
    };
    let hbone = listen(HBONE_PORT);
    let pod = Pod {
        outbound: listen(15001),
        inbound: listen(15006),
        mark: may.then_some(1337),
        keeps_client_address: may,
        namespace,
        probes,
    };
    let attachment = Attachment {
        uid: uid(name),
        credential: watch::channel(credential).1,
        address,
        hbone,
        ways_out: Vec::new(),
        pod: Some(pod),
    };
    mesh.attach(attachment)
}

impl Cluster {
    fn start() -> Option<Self> {
        Some(Self {
            network: Network::start()?,
            ca: Ca::new(),
            world: watch::channel(Arc::new(World::default())).0,
            records: Arc::default(),
        })
    }

    fn change(&self, change: Change) {
        self.world.send_modify(|world| Arc::make_mut(world).apply(change));
    }

    /// A pod that is in the mesh, with a proxy of its own within this process.
    fn join(&self, name: &str, last: u8) -> Member {
        self.join_as(name, last, &Redirection::default(), Probes::default())
    }

    fn join_as(&self, name: &str, last: u8, redirection: &Redirection, probes: Probes) -> Member {
        let mut member = self.stranger(last);
        self.change(Change::Service(service(name, last)));
        self.change(Change::Workload(workload(name, member.place.addresses())));
        let attached = attach(
            &self.mesh(),
            name,
            Some(member.place.v4.into()),
            self.ca.credential(name),
            Some(member.namespace.clone()),
            (true, probes),
        );
        member.attached = Some(attached.unwrap());
        let redirection = redirection.clone();
        member.namespace.run(move || redirection.apply()).unwrap().unwrap();
        member
    }

    /// A proxy, for one pod or for several.
    fn mesh(&self) -> Mesh {
        let seen = Arc::clone(&self.records);
        let observer = Arc::new(move |record: &Record| seen.lock().unwrap().push(record.clone()));
        Mesh::start(Options { world: self.world.subscribe(), observer })
    }

    /// A pod that nobody knows.
    fn stranger(&self, last: u8) -> Member {
        let place = self.network.pod(last);
        let namespace = Namespace::open(&place.path()).unwrap();
        Member { place, namespace, attached: None }
    }

    /// How securely a pod wants to be called.
    fn mode(&self, name: &str, member: &Member, mode: Mode) {
        let mut changed = workload(name, member.place.addresses());
        changed.modes.inbound = mode.into();
        self.change(Change::Workload(changed));
    }

    /// The records so far, at least so many; they are taken away.
    async fn records(&self, count: usize) -> Vec<Record> {
        for _ in 0..500 {
            if self.records.lock().unwrap().len() >= count {
                return std::mem::take(&mut *self.records.lock().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} records were expected: {:#?}", self.records.lock().unwrap());
    }
}

impl Member {
    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.place.v4.into(), port)
    }

    /// Runs curl in the pod; gives its code and what it got.
    async fn curl(&self, url: &str) -> (Option<i32>, String) {
        let mut command = tokio::process::Command::from(self.place.command("curl"));
        command.args(["-sS", "--noproxy", "*", "--max-time", "10", url]).stdin(Stdio::null());
        let done = command.output().await.unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// A connection of the pod's application.
    async fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = self.namespace.run(move || sys::outgoing(to, &sys::Outgoing::default())).unwrap()?;
        let connecting = tokio::net::TcpSocket::from_std_stream(socket).connect(to);
        tokio::time::timeout(Duration::from_secs(5), connecting).await.map_err(std::io::Error::other)?
    }

    /// An application of the pod that says `first`, then who called it if it is asked in HTTP, else sends back what
    /// it gets.
    fn serve(&self, port: u16, first: &'static str) -> Server {
        let listener = self.namespace.run(move || sys::listen(port)).unwrap().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let callers: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let seen = Arc::clone(&callers);
        tokio::spawn(async move {
            loop {
                let (socket, from) = listener.accept().await.unwrap();
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                seen.lock().unwrap().push(from);
                tokio::spawn(serve(socket, from, first));
            }
        });
        Server { callers }
    }
}

struct Server {
    callers: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Server {
    /// Who called so far.
    fn callers(&self) -> Vec<IpAddr> {
        self.callers.lock().unwrap().iter().map(SocketAddr::ip).collect()
    }
}

async fn serve(mut socket: TcpStream, from: SocketAddr, first: &str) -> std::io::Result<()> {
    socket.write_all(first.as_bytes()).await?;
    let mut buffer = vec![0; 64 << 10];
    let n = socket.read(&mut buffer).await?;
    if buffer[..n].starts_with(b"GET ") {
        let body = format!("you are {}\n", from.ip());
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        return socket.write_all(format!("{head}{body}").as_bytes()).await;
    }
    socket.write_all(&buffer[..n]).await?;
    let (mut read, mut write) = socket.split();
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}
