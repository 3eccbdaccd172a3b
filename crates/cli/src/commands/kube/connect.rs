//! The way to a cluster: the kubeconfig of kubectl, or the service account of the pod that this runs in.

use std::time::Duration;

use controller::error::chain;
use controller::names;
use k8s_openapi::api::apps::v1::Deployment;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};
use model::codes::kube as codes;

use crate::failure::Failure;

/// Which cluster.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Cluster {
    /// Context of the kubeconfig; by default its current one. `KUBECONFIG` names the file.
    #[arg(long, env = "HANDFAST_KUBE_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
}

impl Cluster {
    /// A client for it. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When there is no kubeconfig, or it cannot be used.
    pub async fn client(&self) -> Result<Client, Failure> {
        let failed = |why: &dyn std::error::Error| {
            Failure::new(&codes::KUBE_NOT_REACHED, format!("no cluster is known: {}", chain(why)))
        };
        let mut config = match &self.context {
            Some(context) => {
                let options =
                    KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
                Config::from_kubeconfig(&options).await.map_err(|why| failed(&why))?
            }
            None => Config::infer().await.map_err(|why| failed(&why))?,
        };
        config.connect_timeout = Some(Duration::from_secs(10));
        Client::try_from(config).map_err(|why| failed(&why))
    }
}

/// Handfast's image: the one that was asked for, else the one that the cluster's controller runs, which the nodes have.
pub async fn image(client: &Client, asked: Option<&str>) -> String {
    if let Some(image) = asked {
        return image.to_owned();
    }
    let api: Api<Deployment> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    // Whoever may not look there says it with --image.
    let found = api.get_opt(names::CONTROLLER).await.ok().flatten();
    let pod = found.and_then(|deployment| deployment.spec?.template.spec);
    let image = pod.and_then(|pod| pod.containers.into_iter().next()?.image);
    image.unwrap_or_else(|| names::IMAGE.to_owned())
}

/// Runs a future on a runtime of its own.
///
/// # Errors
///
/// When no runtime can be made, and what the future says.
pub fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&model::codes::usage::INTERNAL, error))?;
    runtime.block_on(future)
}
