//! The proxy of each node as objects: a DaemonSet in a namespace of its own, which may read pods and namespaces, and
//! nothing else of the API server.

use serde_json::{Value, json};

use super::mesh::{CONTROL_PORT, MeshInstallation};
use super::rights::{binding_of, rule};
use super::{labelled, object, resources};
use crate::inject::{ROOTS_FILE, TOKEN_FILE};
use crate::mesh::issue::AUDIENCES;
use crate::names::{
    MESH, MESH_MOUNT, NODE, SIDECAR_READY_PORT, SYSTEM_NAMESPACE, TRUST_CONFIG_MAP, TRUST_LABEL,
};

/// The proxy's metrics.
const METRICS_PORT: u16 = 15020;
/// Where the plugin hands networks over, and finds out whom it must not start: on the node and in the pod alike.
pub const RUN_DIR: &str = "/run/handfast-node";
/// Where the CNI's folders are seen in the pod.
pub const HOST_CONF_DIR: &str = "/host/cni/net.d";
/// See [`HOST_CONF_DIR`].
pub const HOST_BIN_DIR: &str = "/host/cni/bin";

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct NodeInstallation {
    /// The node's folder with the CNI's configuration.
    pub cni_conf_dir: String,
    /// The node's folder with the CNI's plugins.
    pub cni_bin_dir: String,
    /// Whether a plugin is put into the CNI; else pods are found by watching.
    pub plugin: bool,
}

impl NodeInstallation {
    /// The objects, in the order in which they are applied.
    pub(super) fn objects(&self, mesh: &MeshInstallation) -> Vec<Value> {
        let namespace = labelled(json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": NODE, "labels": {
                // What it does is not allowed to pods elsewhere: see the container.
                "pod-security.kubernetes.io/enforce": "privileged",
                TRUST_LABEL: "enabled",
            } },
        }));
        let rights = json!({ "rules": [rule("", &["namespaces", "pods"], &[], &["get", "list", "watch"])] });
        const RBAC: &str = "rbac.authorization.k8s.io/v1";
        vec![
            namespace,
            named("v1", "ServiceAccount", json!({ "automountServiceAccountToken": false })),
            object(RBAC, "ClusterRole", NODE, None, rights),
            object(RBAC, "ClusterRoleBinding", NODE, None, binding_of("ClusterRole", NODE, NODE)),
            self.daemon_set(mesh),
        ]
    }

    fn daemon_set(&self, mesh: &MeshInstallation) -> Value {
        let labels = json!({ "app.kubernetes.io/name": NODE, "app.kubernetes.io/part-of": "handfast" });
        let mut volumes = vec![identity(), on_node("run", RUN_DIR, "DirectoryOrCreate")];
        if self.plugin {
            volumes.push(on_node("cni-conf", &self.cni_conf_dir, "Directory"));
            volumes.push(on_node("cni-bin", &self.cni_bin_dir, "Directory"));
        }
        let pod = json!({
            "serviceAccountName": NODE,
            "automountServiceAccountToken": true,
            // The processes of pods lead to their networks.
            "hostPID": true,
            "priorityClassName": "system-node-critical",
            "tolerations": [{ "operator": "Exists" }],
            "terminationGracePeriodSeconds": 15,
            "containers": [self.container(mesh)],
            "volumes": volumes,
        });
        let spec = json!({
            "selector": { "matchLabels": { "app.kubernetes.io/name": NODE } },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
            "template": { "metadata": { "labels": labels }, "spec": pod },
        });
        named("apps/v1", "DaemonSet", json!({ "spec": spec }))
    }

    fn container(&self, mesh: &MeshInstallation) -> Value {
        let mut args: Vec<String> = ["mesh", "node", "--control-plane"].map(str::to_owned).to_vec();
        args.push(format!("{MESH}.{SYSTEM_NAMESPACE}.svc:{CONTROL_PORT}"));
        args.extend(["--trust-domain".to_owned(), mesh.trust_domain.clone()]);
        let mut mounts = vec![
            json!({ "name": "identity", "mountPath": MESH_MOUNT, "readOnly": true }),
            json!({ "name": "run", "mountPath": RUN_DIR }),
        ];
        if self.plugin {
            args.extend(["--cni-conf-dir", HOST_CONF_DIR, "--cni-bin-dir", HOST_BIN_DIR].map(str::to_owned));
            mounts.push(json!({ "name": "cni-conf", "mountPath": HOST_CONF_DIR }));
            mounts.push(json!({ "name": "cni-bin", "mountPath": HOST_BIN_DIR }));
        }
        let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
        json!({
            "name": "proxy",
            "image": mesh.image,
            "imagePullPolicy": mesh.pull_policy,
            "args": args,
            "env": [
                field("HANDFAST_NODE_NAME", "spec.nodeName"),
                field("HANDFAST_NODE_IPS", "status.hostIPs"),
                field("HANDFAST_POD_NAME", "metadata.name"),
                field("HANDFAST_POD_NAMESPACE", "metadata.namespace"),
                field("HANDFAST_POD_IPS", "status.podIPs"),
            ],
            "ports": [{ "name": "handfast-stats", "containerPort": METRICS_PORT }],
            "readinessProbe": {
                "httpGet": { "path": "/readyz", "port": SIDECAR_READY_PORT },
                "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 3,
            },
            "resources": resources(),
            "securityContext": {
                "runAsUser": 0,
                "runAsGroup": 0,
                "runAsNonRoot": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                // SYS_ADMIN: to enter a pod's network. SYS_PTRACE: to open /proc/PID/ns/net of processes that have rights
                // of their own. NET_ADMIN: the rules there, the mark of packets, the address of a client.
                "capabilities": { "drop": ["ALL"], "add": ["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"] },
                "seccompProfile": { "type": "RuntimeDefault" },
                // The runtimes' profile forbids to look at processes outside of it.
                "appArmorProfile": { "type": "Unconfined" },
            },
            "volumeMounts": mounts,
        })
    }
}

fn named(api_version: &str, kind: &str, rest: Value) -> Value {
    object(api_version, kind, NODE, Some(NODE), rest)
}

fn on_node(name: &str, path: &str, kind: &str) -> Value {
    json!({ "name": name, "hostPath": { "path": path, "type": kind } })
}

/// The node's own token, for the control plane, and whom it believes.
fn identity() -> Value {
    json!({
        "name": "identity",
        "projected": { "defaultMode": 0o400, "sources": [
            { "serviceAccountToken": { "audience": AUDIENCES[0], "expirationSeconds": 12 * 3600, "path": TOKEN_FILE } },
            { "configMap": { "name": TRUST_CONFIG_MAP, "items": [{ "key": ROOTS_FILE, "path": ROOTS_FILE }] } },
        ] },
    })
}
