//! The machine as the folder says: pods are started, started again where they became others, and ended; the mesh is told
//! of all of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use controller::mesh::Index;
use k8s_openapi::api::core::v1::Service;
use manifests::folder::{Folder, LocalPod};
use model::codes::{mesh as codes, serving};
use model::identity::SpiffeId;
use model::mesh::{Tunnel, Workload, World};
use proxy::mesh::{Attached, Attachment, Mesh, Options};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::identities::{self, Identities};
use super::network::{Network, Sandbox, hosts};
use super::processes::Running;
use super::report::Report;
use super::started::{Started, address_of, end_all, reader, uid};
use super::{explicit, intercepted};
use crate::failure::Failure;

/// Everything that runs.
pub struct Machine {
    home: PathBuf,
    pub(super) mesh: Mesh,
    world: watch::Sender<Arc<World>>,
    folder: Option<Folder>,
    pods: BTreeMap<String, Started>,
    /// Pods that could not be started, and why.
    failed: BTreeMap<String, String>,
    pub(super) network: Network,
    identities: Arc<tokio::sync::Mutex<Identities>>,
    renewal: JoinHandle<()>,
    /// Rung when a pod becomes ready, or unready.
    changed: Arc<Notify>,
}

impl Machine {
    /// A machine without pods.
    pub fn new(
        folder: PathBuf,
        identities: Identities,
        network: Network,
        report: Arc<Report>,
    ) -> Result<Self, Failure> {
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
            network,
            identities,
            renewal,
            changed: Arc::default(),
        })
    }

    /// Makes the machine what a folder says. Pods that cannot be started are tried again by [`Machine::start_missing`].
    pub async fn apply(&mut self, mut folder: Folder) {
        let network = std::cell::RefCell::new(&mut self.network);
        folder.assign(
            |pod| network.borrow_mut().pod(&pod.key()),
            |service| network.borrow_mut().service(&key_of(service)),
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
        self.network.keep_pods(|key| {
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
        // Of those that run it is known who is ready; nobody else's address changes with it.
        let world = self.now();
        for pod in missing {
            let (uid, key) = (uid(&pod), pod.key());
            let workload = index.workloads.iter().find(|workload| workload.uid == uid);
            match self.start(pod, workload, &index, &world, node.clone()) {
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

    /// Starts pods again that somebody else has ended as a whole, and those that could not be started before.
    pub async fn mend(&mut self) {
        let is_over = |started: &Started| started.sandbox.as_ref().is_some_and(|sandbox| sandbox.is_over());
        let over: Vec<String> =
            self.pods.iter().filter(|(_, started)| is_over(started)).map(|(key, _)| key.clone()).collect();
        for key in &over {
            eprintln!("{key}: its first process was ended, and all others with it; the pod is started again");
        }
        let over: Vec<Started> = over.iter().filter_map(|key| self.pods.remove(key)).collect();
        end_all(over).await;
        self.start_missing();
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
        world: &World,
        node: String,
    ) -> Result<Started, Failure> {
        let mut given = BTreeMap::from([("HOSTNAME".to_owned(), pod.name.clone())]);
        let workload = workload.filter(|workload| workload.tunnel == Tunnel::Hbone);
        let reader = reader(&pod, workload.is_some());
        let sandbox = tokio::task::block_in_place(|| self.network.sandbox(&reader, world))?.map(Arc::new);
        let attached = match workload {
            Some(workload) => Some(self.attach(&pod, workload, sandbox.as_deref(), index, &mut given)?),
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
        let running =
            Running { pod: pod.clone(), node, given, folder: self.home.clone(), sandbox: sandbox.clone() };
        let task = tokio::spawn(running.run(stopped, tell));
        Ok(Started { pod, attached, sandbox, stop, ready, task })
    }

    fn attach(
        &self,
        pod: &LocalPod,
        workload: &Workload,
        sandbox: Option<&Sandbox>,
        index: &Index,
        given: &mut BTreeMap<String, String>,
    ) -> Result<Attached, Failure> {
        let address = address_of(pod);
        let identity: SpiffeId = workload
            .identity()
            .map_err(|error| Failure::new(&codes::NO_IDENTITY, format!("{}: {error}", pod.key())))?;
        let credential = tokio::task::block_in_place(|| self.identities.blocking_lock().of(&identity))?;
        let (hbone, ways_out, own) = match sandbox {
            Some(sandbox) => {
                intercepted::tell(pod, index, given);
                let (hbone, own) = intercepted::listen(pod, sandbox)?;
                (hbone, Vec::new(), Some(own))
            }
            None => {
                let (hbone, ways_out) = explicit::listen(pod, address, index, given)?;
                (hbone, ways_out, None)
            }
        };
        let attachment = Attachment {
            uid: workload.uid.clone(),
            credential,
            address: Some(address),
            hbone,
            ways_out,
            pod: own,
        };
        self.mesh.attach(attachment).map_err(|error| Failure::new(&serving::LISTEN_FAILED, error))
    }

    /// Tells the mesh what is now.
    pub fn publish(&mut self) {
        let Some(folder) = &self.folder else { return };
        let ready = |pod: &LocalPod| self.pods.get(&pod.key()).is_some_and(|started| *started.ready.borrow());
        let world = Arc::new(folder.world(ready).world());
        self.world.send_replace(Arc::clone(&world));
        self.network.keep_doors(&self.world.subscribe());
        for (key, started) in &self.pods {
            let Some(sandbox) = &started.sandbox else { continue };
            if let Err(error) = sandbox.set_hosts(hosts(&world, &started.reader())) {
                tracing::error!(pod = key, "it goes on with the names that it had: {error}");
            }
        }
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
        let doors = self.network.doors();
        let width = doors.iter().map(|(service, _)| service.len()).max().unwrap_or_default();
        if width > 0 {
            text.push_str("from this machine, in plain text and as nobody in particular:\n");
        }
        for (service, at) in doors {
            let _ = writeln!(text, "{service:<width$}  {at}");
        }
        text
    }

    /// Ends everything.
    pub async fn stop(mut self) {
        self.renewal.abort();
        end_all(std::mem::take(&mut self.pods).into_values()).await;
    }
}

/// The folder that a file lies in.
pub(super) fn around(file: &std::path::Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn key_of(service: &Service) -> String {
    let metadata = &service.metadata;
    format!(
        "{}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    )
}
