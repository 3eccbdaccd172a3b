//! What the API server knows of a requester, asked for now: a refusal is for good, so it must not come from a watch
//! that lags behind.

use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use kube::api::ListParams;
use kube::{Api, Client};

use super::Vouched;
use crate::error::{Error, Result};

/// The pod, its service account, and the Services that may select it.
///
/// # Errors
///
/// When the API server cannot be asked; what does not exist is no error.
pub(super) async fn look_up(
    client: &Client,
    namespace: &str,
    service_account: &str,
    pod: &str,
) -> Result<Vouched> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let found = pods.get_opt(pod).await;
    let pod = found.map_err(Error::api(format!("read the pod {namespace}/{pod}")))?;
    let found = accounts.get_opt(service_account).await;
    let service_account =
        found.map_err(Error::api(format!("read the service account {namespace}/{service_account}")))?;
    let found = services.list(&ListParams::default()).await;
    let services = found.map_err(Error::api(format!("list the Services of {namespace}")))?.items;
    Ok(Vouched { pod, service_account, services })
}
