//! What the API server knows, once: for whoever looks, and does not stay.

use std::fmt::Debug;

use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use super::{Custom, Objects, istio};
use crate::error::{Error, Result};

/// Objects that one answer has.
const PAGE: u32 = 500;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The objects.
    pub objects: Objects,
    /// Istio's kinds that the cluster does not have.
    pub absent: Vec<&'static str>,
}

/// Lists all that the mesh is made of.
///
/// # Errors
///
/// When the API server does not answer, or does not allow it.
pub async fn list(client: &Client) -> Result<Listed> {
    let (namespaces, services, pods, endpoint_slices) = tokio::try_join!(
        all(Api::all(client.clone()), "list the namespaces"),
        all(Api::all(client.clone()), "list the Services"),
        all(Api::all(client.clone()), "list the pods"),
        all(Api::all(client.clone()), "list the EndpointSlices"),
    )?;
    let mut absent = Vec::new();
    let authorization_policies =
        customs(client, "AuthorizationPolicy", "authorizationpolicies", &mut absent).await?;
    let peer_authentications =
        customs(client, "PeerAuthentication", "peerauthentications", &mut absent).await?;
    let objects = Objects {
        namespaces,
        service_accounts: Vec::new(),
        services,
        pods,
        endpoint_slices,
        authorization_policies,
        peer_authentications,
    };
    Ok(Listed { objects, absent })
}

/// All objects of a kind, page by page.
///
/// # Errors
///
/// As [`list`].
pub async fn all<K>(api: Api<K>, action: &str) -> Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    pages(&api, |object| object).await.map(|(items, _)| items).map_err(Error::api(action.to_owned()))
}

/// All objects of a kind, each made into what is kept of it, and the version of the list: where a watch may begin.
pub(super) async fn pages<K, T>(
    api: &Api<K>,
    keep: impl Fn(K) -> T,
) -> std::result::Result<(Vec<T>, String), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut items = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let (list, whole) = match api.list(&page).await {
            // So much changed meanwhile that the rest is gone: once more, in one piece.
            Err(kube::Error::Api(status)) if status.code == 410 => {
                items.clear();
                (api.list(&ListParams::default()).await?, true)
            }
            listed => (listed?, false),
        };
        items.extend(list.items.into_iter().map(&keep));
        match list.metadata.continue_ {
            Some(token) if !token.is_empty() && !whole => {
                page = ListParams::default().limit(PAGE).continue_token(&token);
            }
            _ => return Ok((items, list.metadata.resource_version.unwrap_or_default())),
        }
    }
}

/// The version that a list of a kind has now, whatever is in it.
pub(super) async fn newest<K>(api: &Api<K>) -> std::result::Result<String, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let list = api.list(&ListParams::default().limit(1)).await?;
    Ok(list.metadata.resource_version.unwrap_or_default())
}

async fn customs(
    client: &Client,
    kind: &'static str,
    plural: &str,
    absent: &mut Vec<&'static str>,
) -> Result<Vec<Custom>> {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(istio::GROUP, "v1", kind), plural);
    match pages(&Api::<DynamicObject>::all_with(client.clone(), &resource), custom).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            absent.push(kind);
            Ok(Vec::new())
        }
        found => Ok(found.map_err(Error::api(format!("list the objects of kind {kind}")))?.0),
    }
}

/// What is kept of an object of one of Istio's kinds.
pub(super) fn custom(found: DynamicObject) -> Custom {
    Custom { metadata: found.metadata, spec: found.data.get("spec").cloned().unwrap_or_default() }
}
