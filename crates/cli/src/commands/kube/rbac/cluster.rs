//! What is read for the check: which Secrets are managed, who is bound to what, which pods hold which Secret. Of a
//! Secret only its metadata is asked for, never a key.

use std::collections::{BTreeMap, BTreeSet};

use controller::names::MANAGED_LABEL;
use controller::rbac::{Binding, READERS_ANNOTATION, Subject};
use k8s_openapi::api::core::v1::{Pod, PodSpec, Secret};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use kube::api::ListParams;
use kube::{Api, Client};
use model::codes::kube::RBAC_CLUSTER;

use super::listing;
use crate::failure::Failure;

/// A managed Secret, without its content.
#[derive(Clone, Debug)]
pub(super) struct Managed {
    pub(super) namespace: String,
    pub(super) name: String,
    /// What its annotation says, and what of it is not understood.
    pub(super) readers: Vec<Result<Subject, String>>,
}

/// The managed Secrets of these namespaces, or of all.
pub(super) async fn secrets(client: &Client, namespaces: &[String]) -> Result<Vec<Managed>, Failure> {
    let params = ListParams::default().labels(&format!("{MANAGED_LABEL}=true"));
    let mut apis: Vec<Api<Secret>> =
        namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect();
    if apis.is_empty() {
        apis.push(Api::all(client.clone()));
    }
    let mut found = BTreeMap::new();
    for api in apis {
        let secrets = listing::all_metadata(&api, &params)
            .await
            .map_err(|error| listing::failed(&RBAC_CLUSTER, "cannot list the managed Secrets", &error))?;
        for secret in secrets {
            let namespace = secret.metadata.namespace.unwrap_or_default();
            let name = secret.metadata.name.unwrap_or_default();
            let annotation = secret.metadata.annotations.unwrap_or_default().remove(READERS_ANNOTATION);
            let readers = annotation
                .unwrap_or_default()
                .split(',')
                .filter(|text| !text.trim().is_empty())
                .map(str::parse)
                .collect();
            found.insert((namespace.clone(), name.clone()), Managed { namespace, name, readers });
        }
    }
    Ok(found.into_values().collect())
}

/// All bindings that matter in these namespaces, with the rules of their roles.
pub(super) async fn bindings(client: &Client, namespaces: &BTreeSet<&str>) -> Result<Vec<Binding>, Failure> {
    let failed =
        |error: kube::Error| listing::failed(&RBAC_CLUSTER, "cannot list roles and bindings", &error);
    let everything = ListParams::default();
    let cluster_roles: BTreeMap<String, Vec<PolicyRule>> =
        listing::all::<ClusterRole>(&Api::all(client.clone()), &everything)
            .await
            .map_err(failed)?
            .into_iter()
            .map(|role| (role.metadata.name.unwrap_or_default(), role.rules.unwrap_or_default()))
            .collect();
    let mut bindings = Vec::new();
    for binding in
        listing::all::<ClusterRoleBinding>(&Api::all(client.clone()), &everything).await.map_err(failed)?
    {
        let rules = cluster_roles.get(&binding.role_ref.name).cloned().unwrap_or_default();
        let subjects = binding.subjects.unwrap_or_default();
        bindings.push(Binding {
            namespace: None,
            name: binding.metadata.name.unwrap_or_default(),
            subjects: subjects.iter().filter_map(|subject| Subject::of_binding(subject, None)).collect(),
            role: (binding.role_ref.kind, binding.role_ref.name),
            rules,
        });
    }
    for namespace in namespaces {
        let roles: BTreeMap<String, Vec<PolicyRule>> =
            listing::all::<Role>(&Api::namespaced(client.clone(), namespace), &everything)
                .await
                .map_err(failed)?
                .into_iter()
                .map(|role| (role.metadata.name.unwrap_or_default(), role.rules.unwrap_or_default()))
                .collect();
        let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
        for binding in listing::all(&api, &everything).await.map_err(failed)? {
            let from = if binding.role_ref.kind == "Role" { &roles } else { &cluster_roles };
            let rules = from.get(&binding.role_ref.name).cloned().unwrap_or_default();
            let subjects = binding.subjects.unwrap_or_default();
            bindings.push(Binding {
                namespace: Some((*namespace).to_owned()),
                name: binding.metadata.name.unwrap_or_default(),
                subjects: subjects.iter().filter_map(|s| Subject::of_binding(s, Some(namespace))).collect(),
                role: (binding.role_ref.kind, binding.role_ref.name),
                rules,
            });
        }
    }
    Ok(bindings)
}

/// The most pods of a namespace that are asked about one by one; replicas are all alike.
const PODS: usize = 20;

/// Pods of a namespace that hold one of these Secrets.
pub(super) async fn holders(
    client: &Client,
    namespace: &str,
    secrets: &BTreeSet<&str>,
) -> Result<Vec<String>, Failure> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = listing::all(&api, &ListParams::default()).await.map_err(|error| {
        listing::failed(&RBAC_CLUSTER, &format!("cannot list the pods of {namespace}"), &error)
    })?;
    let mut names: Vec<String> = pods
        .into_iter()
        .filter(|pod| pod.spec.as_ref().is_some_and(|spec| holds(spec, secrets)))
        .filter_map(|pod| pod.metadata.name)
        .collect();
    names.sort();
    names.truncate(PODS);
    Ok(names)
}

fn holds(spec: &PodSpec, secrets: &BTreeSet<&str>) -> bool {
    let volumes = spec.volumes.iter().flatten().any(|volume| {
        let plain = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref());
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let mut projected =
            projected.filter_map(|source| source.secret.as_ref()).map(|secret| secret.name.as_str());
        plain.is_some_and(|name| secrets.contains(name)) || projected.any(|name| secrets.contains(name))
    });
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    volumes
        || containers.into_iter().any(|container| {
            let all = container.env_from.iter().flatten();
            let mut all = all.filter_map(|from| from.secret_ref.as_ref()).map(|from| from.name.as_str());
            let single = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
            let mut single =
                single.filter_map(|from| from.secret_key_ref.as_ref()).map(|from| from.name.as_str());
            all.any(|name| secrets.contains(name)) || single.any(|name| secrets.contains(name))
        })
}
