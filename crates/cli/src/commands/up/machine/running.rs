//! The machine as the folder says: pods are started, started again where they became others, and ended; the mesh is told
//! of all of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use controller::mesh::Index;
use k8s_openapi::api::core::v1::Service;
use manifests::folder::{Folder, LocalPod};
use model::codes::{mesh as codes, serving};
use model::identity::SpiffeId;
use model::mesh::{HBONE_PORT, Tunnel, Workload, World};
use proxy::mesh::{Attached, Attachment, Mesh, Options, WayOut};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::addresses::Addresses;
use super::identities::{self, Identities};
use super::processes::Running;
use super::report::Report;
use crate::failure::Failure;

/// The port of the explicit proxy at each pod's address.
const PROXY_PORT: u16 = 15080;
/// How long connections may finish when a pod ends.
const DRAIN: Duration = Duration::from_secs(2);

/// Everything that runs.
pub struct Machine {
    home: PathBuf,
    pub(super) mesh: Mesh,
    world: watch::Sender<Arc<World>>,
    folder: Option<Folder>,
    pods: BTreeMap<String, Started>,
    /// Pods that could not be started, and why.
    failed: BTreeMap<String, String>,
    addresses: Addresses,
    identities: Arc<tokio::sync::Mutex<Identities>>,
    renewal: JoinHandle<()>,
    /// Rung when a pod becomes ready, or unready.
    changed: Arc<Notify>,
}

/// A pod that was started.
pub struct Started {
    pub(super) pod: LocalPod,
    /// None for one that is not in the mesh.
    attached: Option<Attached>,
    stop: watch::Sender<bool>,
    ready: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Started {
    /// Where its processes call out; none for one that is not in the mesh.
    pub(super) fn proxy(&self) -> Option<std::net::SocketAddr> {
        self.attached.as_ref().and_then(|attached| attached.ways_out().first().copied())
    }

    /// Where tunnels arrive.
    pub(super) fn hbone(&self) -> Option<std::net::SocketAddr> {
        self.attached.as_ref().map(Attached::hbone)
    }

    async fn end(self) {
        let _ = self.stop.send(true);
        if let Some(attached) = self.attached {
            attached.drain(DRAIN).await;
        }
        // It fails only when it panicked, which was printed.
        let _ = self.task.await;
    }
}

impl Machine {
    /// A machine without pods.
    pub fn new(folder: PathBuf, identities: Identities, report: Arc<Report>) -> Result<Self, Failure> {
        let (world, receiver) = watch::channel(Arc::new(World::default()));
        let observer = Arc::new(move |record: &proxy::mesh::Record| report.take(record));
        let mesh = Mesh::start(Options { world: receiver, observer });
        let home = match folder.is_dir() {
            true => folder,
            false => around(&folder),
        };
        let home = std::path::absolute(&home).map_err(|error| Failure::reading(&home, &error))?;
        let identities = Arc::new(tokio::sync::Mutex::new(identities));
        let renewed = Arc::clone(&identities);
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(identities::LOOK).await;
                let mut held = Arc::clone(&renewed).lock_owned().await;
                // The ledger waits for the disk.
                let _ = tokio::task::spawn_blocking(move || held.renew()).await;
            }
        });
        Ok(Self {
            home,
            mesh,
            world,
            folder: None,
            pods: BTreeMap::new(),
            failed: BTreeMap::new(),
            addresses: Addresses::take()?,
            identities,
            renewal,
            changed: Arc::default(),
        })
    }

    /// Makes the machine what a folder says. Pods that cannot be started are tried again by [`Machine::start_missing`].
    pub async fn apply(&mut self, mut folder: Folder) {
        let addresses = std::cell::RefCell::new(&mut self.addresses);
        folder.assign(
            |pod| addresses.borrow_mut().pod(&pod.key()),
            |service| addresses.borrow_mut().service(&key_of(service)),
        );
        let index = folder.world(|_| false);
        let carried = |pod: &LocalPod| {
            let uid = uid(pod);
            index.workloads.iter().any(|workload| workload.uid == uid && workload.tunnel == Tunnel::Hbone)
        };
        // The same pod is another one where it comes into the mesh, or leaves it.
        let same = |key: &str, started: &Started| {
            folder.pods.iter().any(|wanted| {
                wanted.key() == key && *wanted == started.pod && carried(wanted) == started.attached.is_some()
            })
        };
        let over: Vec<String> = self
            .pods
            .iter()
            .filter(|(key, started)| !same(key, started))
            .map(|(key, _)| key.clone())
            .collect();
        let ending: Vec<Started> = over.iter().filter_map(|key| self.pods.remove(key)).collect();
        self.failed.retain(|key, _| folder.pods.iter().any(|pod| pod.key() == *key));
        self.addresses.keep_pods(|key| {
            folder.pods.iter().any(|pod| pod.key() == key) || over.iter().any(|ending| ending == key)
        });
        self.folder = Some(folder);
        // Policies first: who is kept out is kept out now, and not when the last process has ended.
        self.publish();
        end_all(ending).await;
        self.start_missing();
    }

    /// Starts the pods of the folder that do not run.
    pub fn start_missing(&mut self) {
        let Some(folder) = &self.folder else { return };
        let missing: Vec<LocalPod> =
            folder.pods.iter().filter(|pod| !self.pods.contains_key(&pod.key())).cloned().collect();
        if missing.is_empty() {
            return;
        }
        let (index, node) = (folder.world(|_| false), folder.node().to_owned());
        for pod in missing {
            let (uid, key) = (uid(&pod), pod.key());
            let workload = index.workloads.iter().find(|workload| workload.uid == uid);
            match self.start(pod, workload, &index, node.clone()) {
                Ok(started) => {
                    self.failed.remove(&key);
                    self.pods.insert(key, started);
                }
                Err(failure) => {
                    self.failed.insert(key, failure.sentence());
                }
            }
        }
        self.publish();
    }

    /// Says which pods could not be started, and why.
    pub fn complain(&self) {
        for (key, why) in &self.failed {
            eprintln!("{key} is not started, and is tried again: {why}");
        }
    }

    fn start(
        &self,
        pod: LocalPod,
        workload: Option<&Workload>,
        index: &Index,
        node: String,
    ) -> Result<Started, Failure> {
        let address = pod.address.unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let mut given = BTreeMap::from([("HOSTNAME".to_owned(), pod.name.clone())]);
        let attached = match workload.filter(|workload| workload.tunnel == Tunnel::Hbone) {
            Some(workload) => Some(self.attach(&pod, workload, address, index, &mut given)?),
            None => None,
        };
        let (stop, stopped) = watch::channel(false);
        let (tell, ready) = watch::channel(false);
        let changed = Arc::clone(&self.changed);
        let mut news = ready.clone();
        tokio::spawn(async move {
            while news.changed().await.is_ok() {
                changed.notify_one();
            }
        });
        let running = Running { pod: pod.clone(), node, given, folder: self.home.clone() };
        let task = tokio::spawn(running.run(stopped, tell));
        Ok(Started { pod, attached, stop, ready, task })
    }

    fn attach(
        &self,
        pod: &LocalPod,
        workload: &Workload,
        address: IpAddr,
        index: &Index,
        given: &mut BTreeMap<String, String>,
    ) -> Result<Attached, Failure> {
        let listen = |port: u16| {
            TcpListener::bind((address, port)).map_err(|error| {
                Failure::new(&serving::LISTEN_FAILED, format!("{address}:{port} for {}: {error}", pod.key()))
            })
        };
        let local = |socket: &TcpListener| {
            socket.local_addr().map_err(|error| Failure::new(&serving::LISTEN_FAILED, error))
        };
        let identity: SpiffeId = workload
            .identity()
            .map_err(|error| Failure::new(&codes::NO_IDENTITY, format!("{}: {error}", pod.key())))?;
        let credential = tokio::task::block_in_place(|| self.identities.blocking_lock().of(&identity))?;
        let proxy = listen(PROXY_PORT)?;
        let mut ways_out = vec![WayOut::Proxy(proxy)];
        for service in &index.services {
            // Kubernetes gives a pod the variables of its own namespace's Services (and of the API server).
            if service.name.namespace != pod.namespace || service.ports.is_empty() {
                continue;
            }
            let prefix = service.short.to_uppercase().replace(['-', '.'], "_");
            for (number, port) in service.ports.iter().enumerate() {
                let socket = listen(0)?;
                let mapped = local(&socket)?;
                if number == 0 {
                    given.insert(format!("{prefix}_SERVICE_HOST"), mapped.ip().to_string());
                    given.insert(format!("{prefix}_SERVICE_PORT"), mapped.port().to_string());
                }
                given.insert(format!("{prefix}_PORT_{}_TCP_ADDR", port.service), mapped.ip().to_string());
                given.insert(format!("{prefix}_PORT_{}_TCP_PORT", port.service), mapped.port().to_string());
                ways_out.push(WayOut::Mapped { socket, service: service.name.clone(), port: port.service });
            }
        }
        let (http, socks) =
            (format!("http://{address}:{PROXY_PORT}"), format!("socks5h://{address}:{PROXY_PORT}"));
        for (names, value) in [
            (["HTTP_PROXY", "http_proxy"], &http),
            (["HTTPS_PROXY", "https_proxy"], &http),
            (["ALL_PROXY", "all_proxy"], &socks),
            (["NO_PROXY", "no_proxy"], &format!("localhost,127.0.0.1,::1,{address}")),
        ] {
            for name in names {
                given.insert(name.to_owned(), value.clone());
            }
        }
        let attachment = Attachment {
            uid: workload.uid.clone(),
            credential,
            address: Some(address),
            hbone: listen(HBONE_PORT)?,
            ways_out,
            pod: None,
        };
        self.mesh.attach(attachment).map_err(|error| Failure::new(&serving::LISTEN_FAILED, error))
    }

    /// Tells the mesh what is now.
    pub fn publish(&mut self) {
        let Some(folder) = &self.folder else { return };
        let ready = |pod: &LocalPod| self.pods.get(&pod.key()).is_some_and(|started| *started.ready.borrow());
        self.world.send_replace(Arc::new(folder.world(ready).world()));
    }

    /// Returns when a pod became ready or unready.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until all pods are ready; says who is not in time.
    pub async fn wait_ready(&mut self, limit: Duration) -> Option<String> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            self.publish();
            let slow: Vec<&str> = self
                .pods
                .iter()
                .filter(|(_, started)| !*started.ready.borrow() && !started.task.is_finished())
                .map(|(key, _)| key.as_str())
                .collect();
            if slow.is_empty() {
                return None;
            }
            let slow = slow.join(", ");
            if tokio::time::timeout_at(deadline, self.changed.notified()).await.is_err() {
                return Some(slow);
            }
        }
    }

    /// What the mesh knows now.
    pub fn now(&self) -> Arc<World> {
        Arc::clone(&self.world.borrow())
    }

    /// The pods in the order of their names, as far as they run.
    pub fn pods(&self) -> impl Iterator<Item = &Started> {
        self.pods.values()
    }

    /// Who is there, as a table.
    pub fn table(&self) -> String {
        let width = self.pods.keys().map(String::len).max().unwrap_or_default().max(3);
        let mut text = format!("{:<width$}  {:<15}  IDENTITY\n", "POD", "ADDRESS");
        let world = self.now();
        for (key, started) in &self.pods {
            let workload = world.workload(&uid(&started.pod));
            let identity = match workload.filter(|workload| workload.tunnel == Tunnel::Hbone) {
                Some(workload) => workload.identity().map(|id| id.to_string()).unwrap_or_default(),
                None => "not in the mesh".to_owned(),
            };
            let address = started.pod.address.map(|address| address.to_string()).unwrap_or_default();
            // Writing to a String does not fail.
            let _ = writeln!(text, "{key:<width$}  {address:<15}  {identity}");
        }
        text
    }

    /// Ends everything.
    pub async fn stop(mut self) {
        self.renewal.abort();
        end_all(std::mem::take(&mut self.pods).into_values()).await;
    }
}

/// Ends pods, all at one time.
async fn end_all(pods: impl IntoIterator<Item = Started>) {
    let mut ending = tokio::task::JoinSet::new();
    for started in pods {
        ending.spawn(started.end());
    }
    while ending.join_next().await.is_some() {}
}

/// The folder that a file lies in.
pub(super) fn around(file: &std::path::Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The uid of a pod's workload, as the index gives it.
pub(super) fn uid(pod: &LocalPod) -> String {
    format!("local//Pod/{}/{}", pod.namespace, pod.name)
}

fn key_of(service: &Service) -> String {
    let metadata = &service.metadata;
    format!(
        "{}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    )
}
