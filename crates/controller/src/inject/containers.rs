//! The containers that a pod gets, and what is asked of its own.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{MESH_MOUNT, MESH_PROXY, MESH_REDIRECT, MESH_USER, MESH_VOLUME, Redirected, Refusal, Settings};
use crate::names::SIDECAR_READY_PORT;

/// The proxy's metrics.
const METRICS_PORT: u16 = 15020;

/// Has the pod's connections redirected, and ends.
pub(super) fn redirect(settings: &Settings, redirected: &Redirected) -> Value {
    let mut args = vec!["mesh".to_owned(), "redirect".to_owned()];
    args.extend(list("--skip-inbound-ports", &redirected.skip_inbound_ports));
    args.extend(list("--skip-outbound-ports", &redirected.skip_outbound_ports));
    args.extend(list("--skip-outbound-subnets", &redirected.skip_outbound_subnets));
    json!({
        "name": MESH_REDIRECT,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "args": args,
        "resources": resources(),
        "securityContext": privileges(&["NET_ADMIN"]),
    })
}

/// Carries the pod's connections, from before its application starts until after that has ended.
pub(super) fn proxy(settings: &Settings, probe_ports: &BTreeSet<u16>, redirected: &Redirected) -> Value {
    let mut args: Vec<String> = ["mesh", "proxy", "--control-plane"].map(str::to_owned).to_vec();
    args.push(settings.control_plane.clone());
    args.extend(["--cluster".to_owned(), settings.cluster.clone()]);
    args.extend(["--trust-domain".to_owned(), settings.trust_domain.clone()]);
    args.extend(list("--probe-ports", &probe_ports.iter().copied().collect::<Vec<_>>()));
    args.extend(list("--skip-inbound-ports", &redirected.skip_inbound_ports));
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    json!({
        "name": MESH_PROXY,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "args": args,
        "restartPolicy": "Always",
        "env": [
            field("HANDFAST_POD_NAME", "metadata.name"),
            field("HANDFAST_POD_NAMESPACE", "metadata.namespace"),
            field("HANDFAST_SERVICE_ACCOUNT", "spec.serviceAccountName"),
            field("HANDFAST_POD_IPS", "status.podIPs"),
            field("HANDFAST_NODE_IPS", "status.hostIPs"),
        ],
        "ports": [{ "name": "handfast-stats", "containerPort": METRICS_PORT }],
        // The application starts when this has succeeded.
        "startupProbe": {
            "httpGet": { "path": "/readyz", "port": SIDECAR_READY_PORT },
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 600,
        },
        "readinessProbe": {
            "httpGet": { "path": "/readyz", "port": SIDECAR_READY_PORT },
            "periodSeconds": 10,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        },
        "resources": resources(),
        // NET_ADMIN alone: for the mark of its packets, and for calling the application with the address of its client.
        // User 0 without any other right, because that is whom kubelet gives the token's file to in every kind of pod.
        "securityContext": privileges(&["NET_ADMIN"]),
        "volumeMounts": [{ "name": MESH_VOLUME, "mountPath": MESH_MOUNT, "readOnly": true }],
    })
}

fn list<T: ToString>(option: &str, values: &[T]) -> Vec<String> {
    if values.is_empty() {
        return Vec::new();
    }
    vec![option.to_owned(), values.iter().map(T::to_string).collect::<Vec<_>>().join(",")]
}

fn privileges(add: &[&str]) -> Value {
    json!({
        "runAsUser": 0,
        "runAsGroup": 0,
        "runAsNonRoot": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"], "add": add },
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

fn resources() -> Value {
    json!({ "requests": { "cpu": "10m", "memory": "24Mi" }, "limits": { "memory": "256Mi" } })
}

/// Nobody but a proxy runs as the proxies' user: where a proxy has no right to mark its packets, what that user calls is
/// not redirected.
pub(super) fn check_users(pod: &Value) -> Result<(), Refusal> {
    let refuse = |field: String| {
        Err(Refusal::new(
            field,
            format!("the user {MESH_USER} is kept for proxies of the mesh"),
        ))
    };
    if pod["spec"]["securityContext"]["runAsUser"] == MESH_USER {
        return refuse("spec.securityContext.runAsUser".to_owned());
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in pod["spec"][list].as_array().into_iter().flatten().enumerate() {
            if container["securityContext"]["runAsUser"] == MESH_USER {
                return refuse(format!("spec.{list}[{index}].securityContext.runAsUser"));
            }
        }
    }
    Ok(())
}

/// The ports that kubelet asks on: plain text from the node is let in there, whatever the mode.
pub fn probe_ports(pod: &Value) -> BTreeSet<u16> {
    let lists = ["initContainers", "containers"];
    let containers = lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    containers.flat_map(asked).collect()
}

/// The ports of one container that probes and hooks name, by number or as one of its own.
fn asked(container: &Value) -> Vec<u16> {
    let named = |name: &str| {
        let own = container["ports"].as_array().into_iter().flatten();
        own.into_iter().find(|port| port["name"] == name).and_then(|port| port["containerPort"].as_u64())
    };
    let lifecycle = &container["lifecycle"];
    let handlers = [
        &container["startupProbe"],
        &container["readinessProbe"],
        &container["livenessProbe"],
        &lifecycle["postStart"],
        &lifecycle["preStop"],
    ];
    let ports = handlers.iter().flat_map(|handler| {
        ["httpGet", "tcpSocket", "grpc"].map(|how| {
            let port = &handler[how]["port"];
            port.as_u64().or_else(|| port.as_str().and_then(|text| text.parse().ok().or_else(|| named(text))))
        })
    });
    ports.flatten().filter_map(|port| u16::try_from(port).ok()).collect()
}
