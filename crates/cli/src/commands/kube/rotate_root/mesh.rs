//! What the mesh says of a step. Its proxies are told by their control planes whom to trust, and say yes when new
//! handshakes trust exactly that and their certificates are of who issues now; so nothing has to be seen in their pods.
//! [`look`] asks every control plane, [`judge`] decides. Pure but for the former.

use std::collections::BTreeMap;

use controller::authority::State;
use controller::names::{INJECTED_ANNOTATION, MESH, MESH_PROXY, NODE};
use controller::{Error, error::chain};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use serde::Deserialize;
use time::OffsetDateTime;

use super::super::listing;
use super::evidence::new_roots;
use super::judge::{Choices, Finding, Kind};
use crate::commands::mesh::ask;
use crate::failure::Failure;

#[cfg(test)]
mod tests;

/// Control planes that are asked at one time.
const AT_ONCE: usize = 8;

/// The mesh at one moment.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    /// The namespace of the control planes.
    pub system: String,
    /// What each control plane said, by the name of its pod.
    pub planes: BTreeMap<String, Result<Said, String>>,
    /// Running pods that have a proxy beside them, and the proxies of nodes.
    pub pods: Vec<Carried>,
    /// What the API server knows the webhook by, DER; none where there is no webhook.
    pub webhook: Option<Vec<Vec<u8>>>,
}

/// A pod with a proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Carried {
    /// As in `shop/web-1`.
    pub name: String,
    /// As in `shop/web`.
    pub workload: String,
    /// Its service account.
    pub account: String,
}

/// A control plane's `/status`, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Said {
    /// Whom proxies are told to trust.
    trust: Option<Told>,
    proxies: Vec<Connected>,
}

#[derive(Clone, Debug, Deserialize)]
struct Told {
    step: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Connected {
    node: String,
    identity: String,
    since: String,
    types: Types,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Types {
    trust: Option<Progress>,
}

#[derive(Clone, Debug, Deserialize)]
struct Progress {
    behind: Option<serde::de::IgnoredAny>,
    refused: Option<Refused>,
}

#[derive(Clone, Debug, Deserialize)]
struct Refused {
    why: String,
}

/// Asks; none where there is no mesh.
pub async fn look(client: &Client, system: &str) -> Result<Option<Mesh>, Failure> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), system);
    let found = deployments.get_opt(MESH).await.map_err(Error::api(format!("read the Deployment {MESH}")))?;
    if found.is_none() {
        return Ok(None);
    }
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let webhook = api.get_opt(MESH).await.map_err(Error::api(format!("read the webhook {MESH}")))?;
    let webhook = webhook.map(|found| {
        let hooks = found.webhooks.unwrap_or_default().into_iter();
        let bundles = hooks.map(|hook| {
            let pem = hook.client_config.ca_bundle.map(|bundle| bundle.0).unwrap_or_default();
            certs::certificates_of_pem(&String::from_utf8_lossy(&pem)).unwrap_or_default()
        });
        // What all of them have.
        bundles
            .reduce(|all, one| all.into_iter().filter(|root| one.contains(root)).collect())
            .unwrap_or_default()
    });
    let pods = listing::all(&Api::<Pod>::all(client.clone()), &ListParams::default()).await;
    let pods = pods.map_err(|error| Error::api("list the pods")(error))?;
    let planes: Vec<String> = pods
        .iter()
        .filter(|pod| is_control_plane(pod, system))
        .filter_map(|pod| pod.metadata.name.clone())
        .collect();
    let answers = planes.into_iter().map(|pod| async move {
        let answer = ask::get(client, system, &pod, ask::ADMIN_PORT, "/status").await;
        let said = answer.and_then(|bytes| {
            serde_json::from_slice(&bytes)
                .map_err(|error| format!("its answer is not understood: {}", chain(&error)))
        });
        (pod, said)
    });
    let planes = stream::iter(answers).buffer_unordered(AT_ONCE).collect().await;
    let pods = pods.iter().filter_map(carried).collect();
    Ok(Some(Mesh { system: system.to_owned(), planes, pods, webhook }))
}

fn is_control_plane(pod: &Pod, system: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    pod.metadata.namespace.as_deref() == Some(system)
        && pod.metadata.deletion_timestamp.is_none()
        && labels.and_then(|labels| labels.get("app.kubernetes.io/name")).is_some_and(|name| name == MESH)
        && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

/// A pod whose proxy runs. One that is being made asks for whom to trust when it begins; one that goes serves to its end.
fn carried(pod: &Pod) -> Option<Carried> {
    let status = pod.status.as_ref()?;
    let is_running =
        |container: &ContainerStatus| container.state.as_ref().is_some_and(|state| state.running.is_some());
    let annotations = pod.metadata.annotations.as_ref();
    let runs = match annotations.is_some_and(|all| all.contains_key(INJECTED_ANNOTATION)) {
        true => {
            let init = status.init_container_statuses.iter().flatten();
            init.into_iter().any(|container| container.name == MESH_PROXY && is_running(container))
        }
        // Whom the proxy of a node carries can be called by nobody that it does not trust yet.
        false => is_of_node(pod) && status.container_statuses.iter().flatten().any(is_running),
    };
    if !runs || matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let namespace = pod.metadata.namespace.as_deref()?;
    let account = pod.spec.as_ref()?.service_account_name.as_deref().filter(|name| !name.is_empty());
    Some(Carried {
        name: format!("{namespace}/{}", pod.metadata.name.as_deref()?),
        workload: format!("{namespace}/{}", super::super::test::find::workload(pod)),
        account: account.unwrap_or("default").to_owned(),
    })
}

/// Whether it is the proxy of a node.
fn is_of_node(pod: &Pod) -> bool {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    (pod.metadata.namespace.as_deref(), account) == (Some(NODE), Some(NODE))
}

/// Why a step is not safe: who does not trust, or does not show, what the step before it asked for.
///
/// Once the authority that issues has ended, no control plane can prove itself to a proxy that comes anew, until another one
/// issues. Then nothing is lost that could be waited for: the proxies count again after the switch.
pub fn judge(state: &State, mesh: &Mesh, choices: &Choices, now: OffsetDateTime) -> Vec<Finding> {
    let step = state.taken.last().map_or(0, |taken| taken.number);
    let mut findings = Vec::new();
    let mut found = |kind, object: &str, why: String| {
        findings.push(Finding { kind, object: object.to_owned(), why });
    };
    let roots = new_roots(state);
    if mesh.webhook.as_ref().is_some_and(|held| !roots.iter().all(|root| held.contains(root))) {
        let object = format!("MutatingWebhookConfiguration {MESH}");
        found(
            Kind::Stale,
            &object,
            "its caBundle lacks the new root: the control plane writes it within half a minute".into(),
        );
    }
    if mesh.planes.is_empty() {
        let object = format!("Deployment {}/{MESH}", mesh.system);
        found(
            Kind::Stale,
            &object,
            "no control plane of the mesh runs, so no proxy is told whom to trust".into(),
        );
    }
    let mut connected: Vec<&Connected> = Vec::new();
    for (pod, said) in &mesh.planes {
        let object = format!("Pod {}/{pod}", mesh.system);
        match said {
            Err(why) => {
                found(Kind::Stale, &object, format!("the control plane does not say who is connected: {why}"))
            }
            Ok(said) => {
                connected.extend(&said.proxies);
                match &said.trust {
                    Some(told) if told.step == step => {}
                    _ => {
                        found(Kind::Stale, &object, "the control plane has not heard of this step yet".into())
                    }
                }
            }
        }
    }
    if has_ended(state, now) {
        return findings;
    }
    // A proxy whose connection broke may be there twice for a while: its newest one counts.
    let mut newest: BTreeMap<(String, &str), &Connected> = BTreeMap::new();
    for one in connected {
        let place = newest.entry((one.pod(), &one.identity)).or_insert(one);
        if one.since > place.since {
            *place = one;
        }
    }
    for ((pod, _), proxy) in &newest {
        let object = format!("Pod {pod}");
        match &proxy.types.trust {
            None => {
                let workload = mesh.pods.iter().find(|own| own.name == *pod).map(|own| own.workload.as_str());
                let accepted = |name: &String| name == pod || Some(name.as_str()) == workload;
                if !choices.accept_unseen.iter().any(accepted) {
                    found(
                        Kind::Unseen,
                        &object,
                        "its proxy does not ask whom to trust: it is an older one, or not Handfast's".into(),
                    );
                }
            }
            Some(Progress { behind: Some(_), refused }) => {
                let why = refused.as_ref().map_or_else(
                    || "it takes a few seconds, up to a minute in a large mesh".to_owned(),
                    |refused| format!("it said last: {}", refused.why),
                );
                found(Kind::Stale, &object, format!("its proxy has not taken up this step yet: {why}"));
            }
            Some(Progress { behind: None, .. }) => {}
        }
    }
    for pod in &mesh.pods {
        let (namespace, _) = pod.name.split_once('/').unwrap_or_default();
        let suffix = format!("/ns/{namespace}/sa/{}", pod.account);
        // What it calls itself is its own word; who it proved to be is not.
        let known = newest.keys().any(|(name, identity)| *name == pod.name && identity.ends_with(&suffix));
        if !known {
            let object = format!("Pod {}", pod.name);
            found(Kind::Stale, &object, "its proxy is not connected to the control plane: restart or delete the pod, or leave it behind".into());
        }
    }
    findings
}

/// Whether the authority that issues, or one above it, has ended.
fn has_ended(state: &State, now: OffsetDateTime) -> bool {
    let Ok((active, _)) = state.active() else { return false };
    let above = state.above(active).unwrap_or_default();
    above.iter().chain([&active.certificate]).any(|authority| authority.not_after <= now)
}

impl Connected {
    /// As in `shop/web-1`: from `ztunnel~10.0.0.1~web-1.shop~shop.svc.cluster.local`.
    fn pod(&self) -> String {
        let own = self.node.split('~').nth(2).and_then(|name| name.rsplit_once('.'));
        own.map_or_else(|| self.node.clone(), |(pod, namespace)| format!("{namespace}/{pod}"))
    }
}
