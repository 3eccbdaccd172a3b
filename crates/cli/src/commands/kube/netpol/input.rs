//! Where workloads, Services and edges come from: manifests, or the namespaces of a cluster.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use controller::netpol::{Edge, Graph, Objects, resolve};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use model::codes::kube::{NETPOL_CLUSTER, NETPOL_OBJECT};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{connect, listing};
use crate::failure::{EXIT_USAGE, Failure};

/// A manifest larger than this is a mistake.
const LARGEST: u64 = 64 << 20;

/// Options that say what there is and who calls whom.
#[derive(clap::Args)]
pub(super) struct Source {
    #[command(flatten)]
    cluster: connect::Cluster,
    /// Manifests with the workloads and Services; `-` is standard input. Without any, the cluster is read.
    #[arg(
        short = 'f',
        long = "filename",
        env = "HANDFAST_FILENAME",
        value_delimiter = ',',
        value_name = "FILE"
    )]
    files: Vec<PathBuf>,
    /// Namespaces to read from the cluster; with -f the namespace of objects that name none.
    #[arg(short = 'n', long, env = "HANDFAST_NAMESPACE", value_delimiter = ',', value_name = "NAMESPACE")]
    namespace: Vec<String>,
    /// Who may call whom, as in client=web:8443, batch/job=shop/web or 10.0.0.0/8=web; beside what the workloads'
    /// annotation handfast.dev/calls says.
    #[arg(long, env = "HANDFAST_EDGE", value_delimiter = ',', value_name = "CLIENT=SERVER[:PORT]")]
    edge: Vec<Edge>,
}

impl Source {
    /// Whether the options name this namespace, whatever is in it.
    pub(super) fn names(&self, namespace: &str) -> bool {
        self.namespace.iter().any(|named| named == namespace)
    }
}

/// A client that is made when it is needed: writing policies from files needs no cluster.
pub(super) struct Cluster {
    which: connect::Cluster,
    client: Option<Client>,
}

impl Cluster {
    /// The one that the options name.
    pub(super) fn of(source: &Source) -> Self {
        Self { which: source.cluster.clone(), client: None }
    }

    /// The client.
    pub(super) async fn client(&mut self) -> Result<Client, Failure> {
        match &self.client {
            Some(client) => Ok(client.clone()),
            None => Ok(self.client.insert(self.which.client().await?).clone()),
        }
    }
}

/// Everything, with names and ports resolved.
pub(super) async fn graph(source: &Source, cluster: &mut Cluster) -> Result<Graph, Failure> {
    let mut objects = Objects::default();
    let namespace = if source.files.is_empty() {
        let client = cluster.client().await?;
        let mut namespaces = source.namespace.clone();
        if namespaces.is_empty() {
            namespaces.push(client.default_namespace().to_owned());
        }
        for namespace in &namespaces {
            read_cluster(&client, namespace, &mut objects).await?;
        }
        namespaces.swap_remove(0)
    } else {
        let namespace = match source.namespace.as_slice() {
            [] => "default".to_owned(),
            [one] => one.clone(),
            _ => {
                return Err(Failure::usage(
                    "with -f there is one --namespace, that of objects that name none",
                ));
            }
        };
        for file in &source.files {
            read_file(file, &namespace, &mut objects)?;
        }
        // Names in --edge mean the namespace that the manifests speak of, when it is one.
        let mut named: Vec<&String> = objects.workloads.iter().map(|workload| &workload.namespace).collect();
        named.dedup();
        match named.as_slice() {
            [one] if source.namespace.is_empty() => (*one).clone(),
            _ => namespace,
        }
    };
    if objects.workloads.is_empty() {
        return Err(Failure::new(
            &NETPOL_OBJECT,
            format!("there is no workload in {}", place(source, &namespace)),
        )
        .fix("name manifests with -f, or a namespace that has workloads with -n")
        .exit(EXIT_USAGE));
    }
    Ok(resolve(objects, &source.edge, &namespace)?)
}

fn place(source: &Source, namespace: &str) -> String {
    match source.files.as_slice() {
        [] => format!("namespace {namespace}"),
        files => files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}

fn read_file(path: &Path, namespace: &str, objects: &mut Objects) -> Result<(), Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(LARGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::reading(path, &error).exit(EXIT_USAGE))?;
    let documents: Vec<Option<Value>> = serde_saphyr::from_multiple(&text).map_err(|error| {
        Failure::new(&NETPOL_OBJECT, format!("{} is no YAML: {error}", path.display())).exit(EXIT_USAGE)
    })?;
    for document in documents.into_iter().flatten() {
        objects
            .add(&document, namespace)
            .map_err(|error| Failure::from(error).with("file", path.display()))?;
    }
    Ok(())
}

async fn read_cluster(client: &Client, namespace: &str, objects: &mut Objects) -> Result<(), Failure> {
    add::<Service>(client, namespace, objects).await?;
    add::<Deployment>(client, namespace, objects).await?;
    add::<StatefulSet>(client, namespace, objects).await?;
    add::<DaemonSet>(client, namespace, objects).await?;
    add::<ReplicaSet>(client, namespace, objects).await?;
    add::<CronJob>(client, namespace, objects).await?;
    add::<Job>(client, namespace, objects).await?;
    add::<Pod>(client, namespace, objects).await
}

async fn add<K>(client: &Client, namespace: &str, objects: &mut Objects) -> Result<(), Failure>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let what = format!("cannot list {} of namespace {namespace}", K::plural(&()));
    let items = listing::all(&api, &ListParams::default())
        .await
        .map_err(|error| listing::failed(&NETPOL_CLUSTER, &what, &error))?;
    for item in items {
        let value = serde_json::to_value(item)
            .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, format!("{what}: {error}")))?;
        objects.add(&value, namespace)?;
    }
    Ok(())
}
