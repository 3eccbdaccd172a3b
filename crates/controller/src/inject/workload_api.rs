//! The socket of the SPIFFE Workload API, for pods whose application wants its identity itself.

use serde_json::{Value, json};

use super::{Refusal, prepend};
use crate::names::{
    WORKLOAD_API_ANNOTATION, WORKLOAD_API_MOUNT, WORKLOAD_API_SOCKET, WORKLOAD_API_VARIABLE,
    WORKLOAD_API_VOLUME,
};

/// Whether a pod asks for it.
///
/// # Errors
///
/// When the annotation has another value than `enabled` or `disabled`, or the volume's name is taken.
pub(super) fn is_wanted(pod: &Value) -> Result<bool, Refusal> {
    match pod["metadata"]["annotations"][WORKLOAD_API_ANNOTATION].as_str() {
        None | Some("disabled") => Ok(false),
        Some("enabled") if super::has(pod, "volumes", WORKLOAD_API_VOLUME) => {
            Err(Refusal::new("spec.volumes", format!("the name {WORKLOAD_API_VOLUME} is the mesh's own")))
        }
        Some("enabled") => Ok(true),
        Some(other) => {
            let field = format!("metadata.annotations[{WORKLOAD_API_ANNOTATION}]");
            Err(Refusal::new(field, format!("{other:?} is neither enabled nor disabled")))
        }
    }
}

/// Gives it to all containers that were there, to read, and to the proxy, to make it. Nothing of it is on a disk.
pub(super) fn give(spec: &mut Value, proxy: &mut Value) {
    let mount = |read_only: bool| json!({ "name": WORKLOAD_API_VOLUME, "mountPath": WORKLOAD_API_MOUNT, "readOnly": read_only });
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            prepend(container, "volumeMounts", [mount(true)]);
            let own = container["env"].as_array().into_iter().flatten();
            if !own.into_iter().any(|variable| variable["name"] == WORKLOAD_API_VARIABLE) {
                let value = format!("unix://{WORKLOAD_API_SOCKET}");
                prepend(container, "env", [json!({ "name": WORKLOAD_API_VARIABLE, "value": value })]);
            }
        }
    }
    prepend(spec, "volumes", [json!({ "name": WORKLOAD_API_VOLUME, "emptyDir": { "medium": "Memory" } })]);
    let mut mounts = proxy["volumeMounts"].as_array().cloned().unwrap_or_default();
    mounts.push(mount(false));
    proxy["volumeMounts"] = mounts.into();
    let mut args = proxy["args"].as_array().cloned().unwrap_or_default();
    args.extend([json!("--workload-api"), json!(WORKLOAD_API_SOCKET)]);
    proxy["args"] = args.into();
}
