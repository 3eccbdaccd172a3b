//! Which pods of this node are carried: the labelled ones that run. They come by two ways, the plugin (before their first
//! container starts) and the watches (those that ran already, and all of them after this process was started anew), and
//! both end in [`Agent::take`].

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt as _};
use model::codes::mesh as codes;
use model::mesh::World;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::carried::{Carried, Leave, Shared, carry};
use super::find;
use super::hand_over::{Answer, Command, Question};
use super::identities::Identities;
use super::judge::{self, Node};
use super::namespaces::Namespaces;
use crate::commands::mesh::proxy::admin::{self, Pods};

/// What the plugin handed over is not judged by the watches for so long: they may be behind it.
const BEHIND: Duration = Duration::from_secs(5);
/// For one question to the API server while the runtime waits.
const ASK: Duration = Duration::from_secs(5);

/// Who decides.
pub struct Agent {
    /// For what the watches may not know yet.
    pub client: Client,
    /// The pods of this node.
    pub pods: Store<Pod>,
    /// All namespaces.
    pub namespaces: Store<Namespace>,
    /// What pods share.
    pub shared: Shared,
    /// Their certificates.
    pub identities: Identities,
    /// What is the same for all of them.
    pub node: Node,
    /// Those that are carried, by the uids of their pods.
    pub carried: Mutex<HashMap<String, Carried>>,
}

impl Agent {
    /// Which namespaces are the node's proxy's, as far as is known.
    pub fn known_namespaces(&self) -> Namespaces {
        let mut known = Namespaces::default();
        for namespace in self.namespaces.state() {
            match judge::is_labelled(&namespace) {
                true => known.node.insert(namespace.name_any()),
                false => known.other.insert(namespace.name_any()),
            };
        }
        known
    }

    /// Answers the plugin.
    pub async fn answer(&self, question: &Question, network: Option<OwnedFd>) -> Answer {
        match question.command {
            Command::Del => {
                let mut carried = self.carried.lock().await;
                let ended =
                    carried.values_mut().find(|one| one.container.as_ref() == Some(&question.container));
                if let Some(ended) = ended {
                    ended.leave(Leave::Gone);
                }
                Answer::NotOurs
            }
            Command::Check => {
                let carried = self.carried.lock().await;
                match carried.values().any(|one| one.container.as_ref() == Some(&question.container)) {
                    true => Answer::Carried,
                    false => Answer::NotOurs,
                }
            }
            Command::Add => match self.add(question, network).await {
                Ok(answer) => answer,
                Err(why) => {
                    let (code, pod) = (&codes::NODE_POD, format!("{}/{}", question.namespace, question.pod));
                    tracing::error!(code = code.id, pod, "{}: {why}; it is not started", code.title);
                    Answer::No(format!("{}: {}: {why}", code.id, code.title))
                }
            },
        }
    }

    async fn add(&self, question: &Question, network: Option<OwnedFd>) -> Result<Answer, String> {
        // As the API server has them now: the label may be a moment old. Should it be away, as the watches had them.
        let name = question.namespace.as_str();
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let namespace = match tokio::time::timeout(ASK, namespaces.get(name)).await {
            Ok(Ok(found)) => Arc::new(found),
            _ => self
                .namespaces
                .get(&ObjectRef::new(name))
                .ok_or(format!("the namespace {name} is not known"))?,
        };
        if !judge::is_labelled(&namespace) {
            return Ok(Answer::NotOurs);
        }
        let pods = Api::<Pod>::namespaced(self.client.clone(), name);
        let pod = match tokio::time::timeout(ASK, pods.get(&question.pod)).await {
            Ok(Ok(found)) => Arc::new(found),
            _ => {
                let reference = ObjectRef::new(&question.pod).within(name);
                self.pods.get(&reference).ok_or("the API server does not say what it is")?
            }
        };
        let uid = pod.uid().unwrap_or_default();
        if !question.uid.is_empty() && question.uid != uid {
            return Err(format!("it was replaced by another one: {uid}"));
        }
        if !judge::is_ours(&pod, &namespace) {
            return Ok(Answer::NotOurs);
        }
        let network = network.ok_or("its network was not handed over")?;
        let mut carried = self.carried.lock().await;
        let container = Some(question.container.clone());
        self.take(&mut carried, &pod, network, container, &question.addresses).await?;
        Ok(Answer::Carried)
    }

    /// Begins to carry a pod, unless it is carried in this network already.
    async fn take(
        &self,
        carried: &mut HashMap<String, Carried>,
        pod: &Pod,
        network: OwnedFd,
        container: Option<String>,
        addresses: &[std::net::IpAddr],
    ) -> Result<(), String> {
        let number = find::number(&network).map_err(|error| format!("its network: {error}"))?;
        if find::not_pods().contains(&number) {
            return Err("its network is the node's".to_owned());
        }
        let uid = pod.uid().unwrap_or_default();
        match carried.get(&uid).filter(|before| before.network == number && !before.is_over()) {
            Some(before) if before.is_leaving() => return Err("its connections are still ending".to_owned()),
            Some(_) => return Ok(()),
            None => {}
        }
        let mut wanted = self.node.wanted(pod, container.is_some())?;
        if wanted.addresses.is_empty() {
            wanted.addresses = addresses.to_vec();
        }
        let credential = self.identities.of(&wanted.identity);
        let begun = carry(&self.shared, wanted, (number, network), container, credential).await?;
        // A network that was made anew: nobody is in the one before.
        if let Some(mut before) = carried.insert(uid, begun) {
            before.leave(Leave::Gone);
        }
        Ok(())
    }

    /// Compares what is with what should be. Says whether every pod that should be is carried. Processes are looked through
    /// for pods that are not; `thorough`: for all, should one have another network than it had.
    pub async fn reconcile(&self, thorough: bool) -> bool {
        let pods: HashMap<String, Arc<Pod>> =
            self.pods.state().into_iter().filter_map(|pod| Some((pod.uid()?, pod))).collect();
        let namespace =
            |pod: &Pod| self.namespaces.get(&ObjectRef::new(&pod.namespace().unwrap_or_default()));
        let is_ours = |pod: &Pod| namespace(pod).is_some_and(|namespace| judge::is_ours(pod, &namespace));
        let mut carried = self.carried.lock().await;
        carried.retain(|_, one| !one.is_over());
        let ours: HashSet<&str> =
            pods.iter().filter(|(_, pod)| is_ours(pod)).map(|(uid, _)| uid.as_str()).collect();
        for (uid, one) in carried.iter_mut() {
            if ours.contains(uid.as_str()) || (one.container.is_some() && one.since.elapsed() < BEHIND) {
                continue;
            }
            let goes_on = pods.get(uid).is_some_and(|pod| !judge::is_over(pod));
            one.leave(if goes_on { Leave::Released } else { Leave::Gone });
        }
        let mut all = true;
        let looked_for: HashSet<&str> =
            ours.into_iter().filter(|uid| thorough || !carried.contains_key(*uid)).collect();
        let found = match looked_for.is_empty() {
            true => HashMap::new(),
            // Hundreds of small files.
            false => tokio::task::block_in_place(|| find::networks(&looked_for)),
        };
        for (uid, network) in found {
            let there = find::number(&network).ok();
            let known = carried.get(&uid);
            let is_known = known.is_some();
            if known.is_some_and(|one| Some(one.network) == there || one.is_leaving()) {
                continue;
            }
            // Without an address it cannot be proved to be its network.
            let Some(pod) = pods.get(&uid).filter(|pod| judge::has_address(pod)) else { continue };
            if let Err(why) = self.take(&mut carried, pod, network, None, &[]).await {
                // A process that is just made may not be in its network yet; the pod is carried where it is.
                if is_known {
                    continue;
                }
                all = false;
                let (code, pod) =
                    (&codes::NODE_POD, format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any()));
                tracing::error!(code = code.id, pod, "{}: {why}; it is tried again", code.title);
            }
        }
        self.identities.keep_only(&carried.values().map(|one| one.identity.clone()).collect());
        all && carried
            .values()
            .all(|one| one.attached.load(Ordering::Acquire) || one.since.elapsed() < BEHIND)
    }

    /// Ends: connections may finish, and the rules stay.
    pub async fn end(&self) {
        let mut carried = self.carried.lock().await;
        for one in carried.values_mut() {
            one.leave(Leave::Handed);
        }
        futures_util::future::join_all(carried.drain().map(|(_, one)| one.over())).await;
    }
}

impl Pods for Agent {
    fn shown(&self) -> BoxFuture<'_, Vec<Map<String, Value>>> {
        Box::pin(async {
            let world = self.shared.world.borrow().clone();
            let carried = self.carried.lock().await;
            // The kernel is asked in each network.
            let mut all: Vec<_> =
                carried.values().map(|one| tokio::task::block_in_place(|| shown(one, &world))).collect();
            all.sort_by_key(|one| one["pod"].as_str().unwrap_or_default().to_owned());
            all
        })
    }

    fn network(&self, workload: &str) -> BoxFuture<'_, Option<sys::Namespace>> {
        let workload = workload.to_owned();
        Box::pin(async move {
            let carried = self.carried.lock().await;
            carried.values().find(|one| one.workload == workload).map(|one| one.namespace.clone())
        })
    }
}

fn shown(one: &Carried, world: &World) -> Map<String, Value> {
    let credential = one.credential.borrow().as_ref().map(|credential| credential.borrow().clone());
    let redirection = match one.namespace.run(sys::redirection::in_force) {
        Ok(asked) => admin::redirection(asked),
        Err(error) => admin::redirection(Err(error)),
    };
    let mut told = admin::of_workload(world, &one.workload, credential.as_deref(), &redirection);
    told.extend([
        ("pod".to_owned(), json!(one.name)),
        ("identity".to_owned(), json!(one.identity.to_string())),
        ("carried".to_owned(), json!(one.attached.load(Ordering::Acquire))),
        ("leaving".to_owned(), json!(one.is_leaving())),
        ("by".to_owned(), json!(if one.container.is_some() { "plugin" } else { "watch" })),
        ("seconds".to_owned(), json!(one.since.elapsed().as_secs())),
    ]);
    told
}
