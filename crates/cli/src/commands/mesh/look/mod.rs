//! What `handfast mesh status`, `check`, `explain`, `tap` and `strict` look at: the objects of the cluster, put together
//! as the control plane puts them together, and what control planes and proxies say of themselves.

pub mod reach;

use std::collections::BTreeMap;

use controller::Error;
use controller::inject::is_injected;
use controller::mesh::list::{self, Listed};
use controller::mesh::{Index, Options, index};
use controller::names::{MESH, MESH_DISABLED, MESH_ENABLED, MESH_LABEL, NODE, SYSTEM_NAMESPACE};
use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{Api, Client};
use model::codes::{Code, mesh as codes};
use model::mesh::{Workload, World};
use serde_json::Value;
use time::OffsetDateTime;

use super::node::judge;
use crate::failure::Failure;

/// Pods that are asked at one time.
const AT_ONCE: usize = 8;

/// The cluster as it is.
pub struct Look {
    /// Its objects, and Istio's kinds that it does not have.
    pub listed: Listed,
    /// Its NetworkPolicies; or why they cannot be listed.
    pub policies: Result<Vec<NetworkPolicy>, String>,
    /// What the mesh makes of the objects.
    pub index: Index,
    /// The same, to be asked.
    pub world: World,
    /// The control plane's Deployment.
    pub control_plane: Option<Deployment>,
}

/// Who carries a pod's connections.
#[derive(Clone, Copy, Debug)]
pub enum Carrier<'a> {
    /// A proxy beside its application.
    Sidecar,
    /// The proxy of its node, where it runs.
    Node(Option<&'a Pod>),
}

/// Why the proxy of a node does not carry a pod of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncarried {
    /// There is none.
    NodeAway,
    /// It could not take it in.
    NotTaken,
    /// It waits for the pod's certificate.
    NoCertificate,
}

impl Uncarried {
    /// Its code.
    pub fn code(self) -> &'static Code {
        match self {
            Self::NodeAway => &codes::NODE_AWAY,
            Self::NotTaken => &codes::NODE_POD,
            Self::NoCertificate => &codes::NO_CERTIFICATE,
        }
    }

    /// In words.
    pub fn why(self) -> &'static str {
        match self {
            Self::NodeAway => "no proxy of the mesh runs on its node",
            Self::NotTaken => "the proxy of its node has not taken it in",
            Self::NoCertificate => "the proxy of its node has no certificate for it yet",
        }
    }
}

/// A pod, and what its proxy or control plane says of itself.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Its words, or why there are none.
    pub status: Result<Value, String>,
    /// Why nobody carries it, though the proxy of its node should, where that is known.
    pub uncarried: Option<Uncarried>,
    /// When it was asked.
    pub asked: OffsetDateTime,
}

impl Look {
    /// Looks at a cluster.
    ///
    /// # Errors
    ///
    /// When what the mesh is made of cannot be listed.
    pub async fn at(client: &Client) -> Result<Self, Failure> {
        let api: Api<Deployment> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        let control_plane =
            api.get_opt(MESH).await.map_err(Error::api(format!("read the Deployment {MESH}")))?;
        let listed = list::list(client).await?;
        let policies = list::all(Api::all(client.clone()), "list the NetworkPolicies").await;
        let index = index(&listed.objects, &options(control_plane.as_ref()));
        let world = index.world();
        let policies = policies.map_err(|error| controller::error::chain(&error));
        Ok(Self { listed, policies, index, world, control_plane })
    }

    /// The pod of a workload.
    pub fn pod(&self, workload: &Workload) -> Option<&Pod> {
        let pods = &self.listed.objects.pods;
        pods.iter().find(|pod| name(pod) == workload.name && namespace(pod) == workload.namespace)
    }

    /// Pods with a proxy of their own, in `only` or in all namespaces.
    pub fn with_sidecar(&self, only: Option<&str>) -> Vec<&Pod> {
        self.running(only).filter(|pod| is_injected(pod)).collect()
    }

    /// Pods that the proxy of their node carries, or should, with that one where it runs.
    pub fn by_node(&self, only: Option<&str>) -> Vec<(&Pod, Option<&Pod>)> {
        let with_node = |pod| match self.carrier(pod)? {
            Carrier::Node(proxy) => Some((pod, proxy)),
            Carrier::Sidecar => None,
        };
        self.running(only).filter_map(with_node).collect()
    }

    /// Pods that are carried, or should be, in `only` or in all namespaces.
    pub fn carried(&self, only: Option<&str>) -> Vec<&Pod> {
        self.running(only).filter(|pod| self.carrier(pod).is_some()).collect()
    }

    fn running(&self, only: Option<&str>) -> impl Iterator<Item = &Pod> {
        let here = move |pod: &&Pod| is_running(pod) && only.is_none_or(|only| namespace(pod) == only);
        self.listed.objects.pods.iter().filter(here)
    }

    /// Who carries a pod's connections; nobody where it is not in the mesh, or was made before its namespace's label.
    pub fn carrier(&self, pod: &Pod) -> Option<Carrier<'_>> {
        if is_injected(pod) {
            return Some(Carrier::Sidecar);
        }
        let objects = &self.listed.objects;
        let own =
            objects.namespaces.iter().find(|found| found.metadata.name.as_deref() == Some(namespace(pod)))?;
        if !judge::is_ours(pod, own) {
            return None;
        }
        let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let here = node(pod);
        let is_proxy = |pod: &Pod| {
            let labels = pod.metadata.labels.as_ref();
            let label = labels.and_then(|labels| labels.get("app.kubernetes.io/name"));
            namespace(pod) == NODE && label.is_some_and(|label| label == NODE) && is_running(pod)
        };
        let of = objects.pods.iter().filter(|found| is_proxy(found) && node(found) == here);
        // During an update, the one that stays.
        Some(Carrier::Node(of.min_by_key(|found| found.metadata.deletion_timestamp.is_some())))
    }

    /// Pods that run, would get a sidecar by their namespace's label, and have none: they were made before.
    pub fn without_proxy(&self, only: Option<&str>) -> Vec<&Pod> {
        let labelled = |wanted: &str| {
            let found = self
                .listed
                .objects
                .namespaces
                .iter()
                .find(|found| found.metadata.name.as_deref() == Some(wanted));
            let labels = found.and_then(|found| found.metadata.labels.as_ref());
            labels.and_then(|labels| labels.get(MESH_LABEL)).is_some_and(|value| value == MESH_ENABLED)
                && ![SYSTEM_NAMESPACE, "kube-system"].contains(&wanted)
        };
        let left_out = |pod: &Pod| {
            let out = |map: &Option<BTreeMap<String, String>>| {
                map.as_ref().and_then(|map| map.get(MESH_LABEL)).is_some_and(|value| value == MESH_DISABLED)
            };
            out(&pod.metadata.labels)
                || out(&pod.metadata.annotations)
                || pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
        };
        let pods = self.listed.objects.pods.iter();
        let mut pods: Vec<&Pod> = pods
            .filter(|pod| only.is_none_or(|only| namespace(pod) == only) && labelled(namespace(pod)))
            .filter(|pod| !left_out(pod) && is_running(pod) && !is_injected(pod))
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect();
        pods.sort_by_key(|pod| (namespace(pod).to_owned(), name(pod).to_owned()));
        pods
    }

    /// Pods of the control plane.
    pub fn control_planes(&self) -> Vec<&Pod> {
        let of = |pod: &&Pod| {
            let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get("app.kubernetes.io/name"));
            namespace(pod) == SYSTEM_NAMESPACE && label.is_some_and(|label| label == MESH) && is_running(pod)
        };
        self.listed.objects.pods.iter().filter(of).collect()
    }
}

/// What a Deployment says that objects do not.
fn options(control_plane: Option<&Deployment>) -> Options {
    let args = control_plane.and_then(|deployment| {
        deployment.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.args.clone()
    });
    let args = args.unwrap_or_default();
    let of = |flag: &str| {
        let at = args.iter().position(|arg| arg == flag)?;
        args.get(at + 1).cloned()
    };
    let mut options = Options { injected: true, ..Options::default() };
    if let Some(domain) = of("--trust-domain").and_then(|text| text.parse().ok()) {
        options.trust_domain = domain;
    }
    options.dns_domain = of("--cluster-domain").unwrap_or(options.dns_domain);
    options.cluster = of("--cluster-name").unwrap_or(options.cluster);
    options
}

/// Asks who carries these pods what they say of them, in the order of the pods' names. What the proxy of a node says of one
/// of its pods is put in the form of that pod's own.
pub async fn ask_of(client: &Client, look: &Look, pods: &[&Pod]) -> Vec<Told> {
    let (mut sidecars, mut of_nodes) = (Vec::new(), Vec::new());
    for pod in pods {
        match look.carrier(pod) {
            Some(Carrier::Sidecar) => sidecars.push(*pod),
            Some(Carrier::Node(proxy)) => of_nodes.push((*pod, proxy)),
            None => {}
        }
    }
    let mut proxies: Vec<&Pod> = of_nodes.iter().filter_map(|(_, proxy)| *proxy).collect();
    proxies.sort_by_key(|pod| name(pod));
    proxies.dedup_by_key(|pod| name(pod).to_owned());
    let (mut told, nodes) = tokio::join!(ask(client, &sidecars), ask(client, &proxies));
    told.extend(of_nodes.into_iter().map(|(pod, proxy)| {
        let said = proxy.and_then(|proxy| nodes.iter().find(|one| one.pod == name(proxy)));
        of_node(pod, said)
    }));
    told.sort_by(|a, b| (&a.namespace, &a.pod).cmp(&(&b.namespace, &b.pod)));
    told
}

/// What the proxy of a node says of one of its pods.
fn of_node(pod: &Pod, said: Option<&Told>) -> Told {
    let place = format!("{}/{}", namespace(pod), name(pod));
    let own = |status: &Value| {
        let all = status["pods"].as_array().into_iter().flatten();
        all.into_iter().find(|one| one["pod"] == place.as_str()).and_then(Value::as_object).cloned()
    };
    let uncarried = match said.map(|said| &said.status) {
        None => Some(Uncarried::NodeAway),
        Some(Err(_)) => None,
        Some(Ok(status)) => match own(status) {
            None => Some(Uncarried::NotTaken),
            Some(own) if own["carried"] == true => None,
            Some(own) if own["certificate"].is_null() => Some(Uncarried::NoCertificate),
            Some(_) => Some(Uncarried::NotTaken),
        },
    };
    let status = match (uncarried, said.map(|said| (said, &said.status))) {
        (Some(uncarried), _) => Err(format!("{} ({})", uncarried.why(), uncarried.code().id)),
        (None, None) => Err("nobody was asked".to_owned()),
        (None, Some((said, Err(why)))) => Err(format!("the proxy of its node, {}: {why}", said.pod)),
        (None, Some((_, Ok(status)))) => {
            let mut whole = status.clone();
            if let Value::Object(whole) = &mut whole {
                whole.remove("pods");
                whole.extend(own(status).unwrap_or_default());
            }
            Ok(whole)
        }
    };
    Told {
        namespace: namespace(pod).to_owned(),
        pod: name(pod).to_owned(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        status,
        uncarried,
        asked: said.map_or_else(OffsetDateTime::now_utc, |said| said.asked),
    }
}

/// Asks pods for their `/status`, in the order of their names.
pub async fn ask(client: &Client, pods: &[&Pod]) -> Vec<Told> {
    let asking = pods.iter().map(|pod| {
        let (namespace, pod_name) = (namespace(pod).to_owned(), name(pod).to_owned());
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        let client = client.clone();
        async move {
            let status = reach::get(&client, &namespace, &pod_name, "/status").await;
            Told { namespace, pod: pod_name, node, status, uncarried: None, asked: OffsetDateTime::now_utc() }
        }
    });
    let mut told: Vec<Told> = futures_util::stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
    told.sort_by(|a, b| (&a.namespace, &a.pod).cmp(&(&b.namespace, &b.pod)));
    told
}

/// Whether its containers run.
pub fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    // A sidecar runs before the pod counts as running.
    let starting =
        phase == Some("Pending") && pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
    phase == Some("Running") || starting
}

/// A pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// A pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}
