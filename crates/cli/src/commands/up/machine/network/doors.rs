//! How a person at this machine reaches Services whose pods have networks of their own: a loopback address for each
//! Service, with its ports. Who calls there is no workload: his connection arrives at the pod's proxy in plain text, from
//! the switch, and the policies decide.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use model::mesh::{ServiceName, World};
use sys::Namespace;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use super::addresses::Addresses;
use super::sandbox::connect;

/// Connections through one door at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// How long a pod may take to accept one.
const CONNECT: Duration = Duration::from_secs(10);
/// Wait after a failure to accept.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The doors of all Services.
pub struct Doors {
    addresses: Addresses,
    open: BTreeMap<(ServiceName, u16), Door>,
}

/// One door. Dropping it closes it, and cuts off what goes through it.
struct Door {
    at: SocketAddr,
    short: String,
    _task: AbortOnDropHandle<()>,
}

impl Doors {
    /// No door, at these addresses.
    pub fn new(addresses: Addresses) -> Self {
        Self { addresses, open: BTreeMap::new() }
    }

    /// Has a door for each port of each Service that has an address, and no other. Where somebody else listens there is
    /// none, and it is tried again with the next change.
    pub fn keep(&mut self, world: &watch::Receiver<Arc<World>>, switch: &Namespace) {
        let now = Arc::clone(&world.borrow());
        let mut wanted = BTreeMap::new();
        for service in now.services().filter(|service| !service.addresses.is_empty()) {
            for port in &service.ports {
                wanted.insert((service.name.clone(), port.service), service.short.clone());
            }
        }
        self.open.retain(|key, _| wanted.contains_key(key));
        for ((name, port), short) in wanted {
            if self.open.contains_key(&(name.clone(), port)) {
                continue;
            }
            let at = SocketAddr::new(IpAddr::V4(self.addresses.service(&name.to_string())), port);
            let listener = StdListener::bind(at).and_then(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            });
            let Ok(listener) = listener else { continue };
            let way = Way { service: name.clone(), port, world: world.clone(), switch: switch.clone() };
            let task = AbortOnDropHandle::new(tokio::spawn(serve(listener, Arc::new(way))));
            self.open.insert((name, port), Door { at, short, _task: task });
        }
    }

    /// The doors: what stands behind each, and where it is.
    pub fn all(&self) -> impl Iterator<Item = (String, SocketAddr)> {
        self.open
            .iter()
            .map(|((name, port), door)| (format!("{}/{}:{port}", name.namespace, door.short), door.at))
    }
}

/// What stands behind a door.
struct Way {
    service: ServiceName,
    port: u16,
    world: watch::Receiver<Arc<World>>,
    switch: Namespace,
}

async fn serve(listener: TcpListener, way: Arc<Way>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = tokio::task::JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        // It is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let way = Arc::clone(&way);
                open.spawn(async move {
                    way.carry(socket).await;
                    drop(slot);
                });
            }
            Err(_) => tokio::time::sleep(BACK_OFF).await,
        }
    }
}

impl Way {
    /// Both ends see a reset where the other was refused, not an end that could be taken for an orderly one.
    async fn carry(&self, mut here: TcpStream) {
        let reset = |socket: &TcpStream| socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
        let Some(pod) = self.pod() else {
            let _ = reset(&here);
            return;
        };
        let connected = tokio::time::timeout(CONNECT, connect(&self.switch, pod)).await;
        let Ok(Ok(mut there)) = connected else {
            let _ = reset(&here);
            return;
        };
        if tokio::io::copy_bidirectional(&mut here, &mut there).await.is_err() {
            let _ = (reset(&here), reset(&there));
        }
    }

    /// One of the Service's pods that are ready.
    fn pod(&self) -> Option<SocketAddr> {
        let world = Arc::clone(&self.world.borrow());
        let ready: Vec<SocketAddr> = world
            .endpoints(&self.service)
            .filter(|workload| workload.healthy)
            .filter_map(|workload| {
                let ports = workload.services.get(&self.service)?;
                let port = ports.iter().find(|port| port.service == self.port)?;
                Some(SocketAddr::new(*workload.addresses.first()?, port.target))
            })
            .collect();
        let chosen = rand::random_range(0..ready.len().max(1));
        ready.get(chosen).copied()
    }
}
