//! A pod that is being made gets its proxy: two init containers, of which the second stays (a native sidecar, KEP-753)
//! and carries the pod's connections, and a volume with what it proves itself by. Pure: a pod goes in, a pod comes out.
//!
//! The first init container has the connections redirected, so that nothing of the pod ever calls, or is called, around
//! the proxy: while that is not there, connections are refused by the kernel, not let through. Both stand before all
//! others, whose own calls go through the mesh too.

mod annotations;
mod containers;
mod review;
mod workload_api;

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::names::{
    INJECTED_ANNOTATION, MESH_DISABLED, MESH_LABEL, MESH_MOUNT, MESH_PROXY, MESH_REDIRECT, MESH_USER,
    MESH_VOLUME, TRUST_CONFIG_MAP,
};

pub use annotations::{Redirected, opaque_ports};
pub use containers::probe_ports;
pub use review::answer;

/// The file of the proxy's token, in its volume.
pub const TOKEN_FILE: &str = "token";
/// The file of the trusted roots, in its volume.
pub const ROOTS_FILE: &str = "ca.crt";
/// How long a token is good. Kubelet brings a new one after four fifths.
const TOKEN_SECONDS: u32 = 12 * 3600;

/// What a pod gets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Image of the proxy.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
    /// Where the control plane is reached: `HOST:PORT`.
    pub control_plane: String,
    /// Name of the cluster, as the uids of its workloads have it.
    pub cluster: String,
    /// The trust domain.
    pub trust_domain: String,
}

/// What became of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Injected {
    /// It stays as it is, and why.
    Left(&'static str),
    /// It has its proxy now.
    Pod(Value),
}

/// A pod that cannot be in the mesh as it is: which field, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Refusal {
    /// Its place in the pod.
    pub field: String,
    /// Why, in one sentence.
    pub why: String,
}

impl Refusal {
    fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

/// Gives a pod its proxy.
///
/// # Errors
///
/// When something in it contradicts that.
pub fn inject(pod: &Value, settings: &Settings) -> Result<Injected, Refusal> {
    let text = |map: &str, key: &str| pod["metadata"][map][key].as_str();
    if text("annotations", MESH_LABEL) == Some(MESH_DISABLED)
        || text("labels", MESH_LABEL) == Some(MESH_DISABLED)
    {
        return Ok(Injected::Left("it was left out by its annotation or label"));
    }
    if pod["spec"]["hostNetwork"] == true {
        return Ok(Injected::Left("it shares the node's network, whose connections are not its own"));
    }
    if text("annotations", INJECTED_ANNOTATION).is_some() && has(pod, "initContainers", MESH_PROXY) {
        return Ok(Injected::Left("it has its proxy already"));
    }
    for (list, name) in
        [("initContainers", MESH_PROXY), ("initContainers", MESH_REDIRECT), ("volumes", MESH_VOLUME)]
    {
        if has(pod, list, name) {
            return Err(Refusal::new(format!("spec.{list}"), format!("the name {name} is the mesh's own")));
        }
    }
    containers::check_users(pod)?;
    let redirected = Redirected::read(&pod["metadata"]["annotations"])?;
    let mut next = pod.clone();
    let mut proxy = containers::proxy(settings, &containers::probe_ports(pod));
    let spec = &mut next["spec"];
    if workload_api::is_wanted(pod)? {
        workload_api::give(spec, &mut proxy);
    }
    let redirect = containers::redirect(settings, &containers::tcp_probe_ports(pod), &redirected);
    prepend(spec, "initContainers", [redirect, proxy]);
    prepend(spec, "volumes", [volume()]);
    next["metadata"]["annotations"][INJECTED_ANNOTATION] = json!(env!("CARGO_PKG_VERSION"));
    Ok(Injected::Pod(next))
}

/// Whether a pod was given its proxy.
pub fn is_injected(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    let init = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
    annotations.is_some_and(|all| all.contains_key(INJECTED_ANNOTATION))
        && init.into_iter().flatten().any(|container| container.name == MESH_PROXY)
}

fn has(pod: &Value, list: &str, name: &str) -> bool {
    pod["spec"][list].as_array().into_iter().flatten().any(|entry| entry["name"] == name)
}

fn prepend<const N: usize>(spec: &mut Value, list: &str, entries: [Value; N]) {
    let before = spec[list].as_array().cloned().unwrap_or_default();
    spec[list] = entries.into_iter().chain(before).collect();
}

/// Without the roots nothing can be proved: kubelet starts no container before they are there.
fn volume() -> Value {
    json!({
        "name": MESH_VOLUME,
        "projected": {
            "defaultMode": 0o444,
            "sources": [
                { "serviceAccountToken": {
                    "audience": crate::mesh::issue::AUDIENCES[0],
                    "expirationSeconds": TOKEN_SECONDS,
                    "path": TOKEN_FILE,
                } },
                { "configMap": {
                    "name": TRUST_CONFIG_MAP,
                    "items": [{ "key": ROOTS_FILE, "path": ROOTS_FILE }],
                } },
            ],
        },
    })
}
