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
    let failed = || Error::api(format!("list the objects of kind {kind}"));
    let Some(version) = served(client, plural).await.map_err(failed())? else {
        absent.push(kind);
        return Ok(Vec::new());
    };
    let found = pages(&customs_in(client, version, kind, plural), custom).await;
    Ok(found.map_err(failed())?.0)
}

/// One of Istio's kinds, in a version that the API server has: they have the same form, and what is kept is found by name
/// alone.
pub(super) fn customs_in(client: &Client, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(istio::GROUP, version, kind);
    Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, plural))
}

/// The newest version in which the API server has a kind of Istio's: older installations have some as `v1beta1` only.
pub(super) async fn served(
    client: &Client,
    plural: &str,
) -> std::result::Result<Option<&'static str>, kube::Error> {
    let groups = client.list_api_groups().await?;
    let Some(group) = groups.groups.into_iter().find(|group| group.name == istio::GROUP) else {
        return Ok(None);
    };
    for version in istio::VERSIONS {
        if group.versions.iter().any(|served| served.version == version) {
            let list = client.list_api_group_resources(&format!("{}/{version}", istio::GROUP)).await?;
            if list.resources.iter().any(|resource| resource.name == plural) {
                return Ok(Some(version));
            }
        }
    }
    Ok(None)
}

/// What is kept of an object of one of Istio's kinds.
pub(super) fn custom(found: DynamicObject) -> Custom {
    Custom { metadata: found.metadata, spec: found.data.get("spec").cloned().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::api_server::{Request, serve};
    use super::*;

    /// What a cluster answers that has a kind in these versions.
    fn answer(request: &Request, versions: &[&str]) -> (u16, serde_json::Value) {
        let group = format!("/apis/{}", istio::GROUP);
        let all: Vec<_> = ["v1", "v1beta1"]
            .iter()
            .map(|version| json!({ "version": version, "groupVersion": format!("{}/{version}", istio::GROUP) }))
            .collect();
        let Some(rest) = request.path.strip_prefix(&group) else {
            return match &*request.path {
                "/apis" => (
                    200,
                    json!({ "kind": "APIGroupList", "groups": [
                    { "name": istio::GROUP, "versions": all, "preferredVersion": all[0] }] }),
                ),
                _ => (200, json!({ "metadata": { "resourceVersion": "1" }, "items": [] })),
            };
        };
        let (version, plural) = rest.trim_start_matches('/').split_once('/').unwrap_or((&rest[1..], ""));
        let has = versions.contains(&version);
        match plural {
            "" => {
                let resources = ["authorizationpolicies", "peerauthentications"].map(|name| {
                    json!({ "name": name, "singularName": "", "namespaced": true, "kind": "K", "verbs": ["list"] })
                });
                let resources = if has { resources.to_vec() } else { Vec::new() };
                (
                    200,
                    json!({ "groupVersion": format!("{}/{version}", istio::GROUP), "resources": resources }),
                )
            }
            plural if has => (
                200,
                json!({ "metadata": { "resourceVersion": "1" }, "items": [
                { "metadata": { "name": plural, "namespace": version }, "spec": {} }] }),
            ),
            _ => (
                404,
                json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound",
                               "message": "no such thing", "metadata": {} }),
            ),
        }
    }

    #[tokio::test]
    async fn istios_kinds_are_read_in_the_version_that_the_cluster_has() {
        let cases: [(&'static [&'static str], Option<&str>); 4] = [
            (&["v1", "v1beta1"], Some("v1")),
            (&["v1"], Some("v1")),
            (&["v1beta1"], Some("v1beta1")),
            (&[], None),
        ];
        for (versions, read) in cases {
            let client = serve(move |request| answer(request, versions)).await;
            let listed = list(&client).await.unwrap();
            let found =
                listed.objects.authorization_policies.iter().chain(&listed.objects.peer_authentications);
            let found: Vec<_> = found.map(|custom| custom.metadata.namespace.as_deref().unwrap()).collect();
            assert_eq!(found, read.into_iter().cycle().take(found.len()).collect::<Vec<_>>(), "{versions:?}");
            let (there, absent) = if read.is_some() { (2, 0) } else { (0, 2) };
            assert_eq!((found.len(), listed.absent.len()), (there, absent), "{versions:?}");
        }
    }
}
