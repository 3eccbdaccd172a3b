//! Everything that the controller needs in a cluster, as objects: one source for `kube install`, `deploy/` and the
//! tests. The rights are the least that work: no wildcard, no list of Secrets, and what can be named is named.

pub mod chart;
pub mod mesh;
pub mod node;
mod rights;
mod values;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::error::{Error, Result};
use crate::names::{AUTHORITY_SECRET, CONTROLLER, REVOCATION_CONFIG_MAP};

#[cfg(test)]
mod tests;

/// The port of metrics.
pub const METRICS_PORT: u16 = 9402;
/// The port of the kubelet's probes.
const PROBES_PORT: u16 = 9403;
const PROBES_PORT_NAME: &str = "probes";
const METRICS_PORT_NAME: &str = "metrics";
/// Helm does not take such an object away with its release.
const KEPT: &str = "helm.sh/resource-policy";
/// The user of the image: nobody's.
const USER: u32 = 65532;

/// What can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The controller's namespace.
    pub namespace: String,
    /// The image.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
    /// How many controllers stand by; one of them leads.
    pub replicas: u32,
    /// Trust domain of SPIFFE IDs.
    pub trust_domain: String,
    /// Domain of the cluster's Services.
    pub cluster_domain: String,
    /// The shortest lifetime that a Certificate may ask for, as in `1h`.
    pub min_lifetime: String,
    /// The longest, as in `365d`.
    pub max_lifetime: String,
    /// Namespace whose pods alone reach the metrics, by a NetworkPolicy.
    pub metrics_from: Option<String>,
}

impl Installation {
    /// The objects, in the order in which they are applied.
    ///
    /// # Errors
    ///
    /// When the Certificate kind cannot be described, which its tests exclude.
    pub fn objects(&self) -> Result<Vec<Value>> {
        let mut crd = serde_json::to_value(Certificate::crd())
            .map_err(|error| Error::Option(format!("the Certificate kind cannot be written: {error}")))?;
        // With the kind would go every Certificate, and with each its Secret.
        crd["metadata"]["annotations"] = json!({ KEPT: "keep" });
        let mut objects = vec![self.namespace(), labelled(crd), self.service_account()];
        objects.extend(rights::of_controller(&self.namespace));
        objects.extend([self.authority(), self.revocation(), self.lease()]);
        objects.extend([self.deployment(), self.service()]);
        if self.replicas > 1 {
            objects.push(self.disruption_budget());
        }
        if let Some(from) = &self.metrics_from {
            objects.push(self.network_policy(from));
        }
        Ok(objects)
    }

    fn namespace(&self) -> Value {
        labelled(json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": {
                    "pod-security.kubernetes.io/enforce": "restricted",
                    "pod-security.kubernetes.io/audit": "restricted",
                    "pod-security.kubernetes.io/warn": "restricted",
                },
            },
        }))
    }

    fn service_account(&self) -> Value {
        self.named("v1", "ServiceAccount", CONTROLLER, json!({ "automountServiceAccountToken": false }))
    }

    /// Empty: the controller fills it. It has no right to make one, and fills it only where there has never been an
    /// authority, so that it never puts a new one in the place of one that was lost.
    fn authority(&self) -> Value {
        let mut secret = self.named("v1", "Secret", AUTHORITY_SECRET, json!({ "type": "Opaque" }));
        secret["metadata"]["annotations"] = json!({ KEPT: "keep" });
        secret
    }

    fn revocation(&self) -> Value {
        self.named("v1", "ConfigMap", REVOCATION_CONFIG_MAP, json!({}))
    }

    fn lease(&self) -> Value {
        self.named("coordination.k8s.io/v1", "Lease", CONTROLLER, json!({}))
    }

    fn deployment(&self) -> Value {
        let container = json!({
            "name": "controller",
            "image": self.image,
            "imagePullPolicy": self.pull_policy,
            "args": [
                "kube", "controller",
                "--namespace", self.namespace,
                "--trust-domain", self.trust_domain,
                "--cluster-domain", self.cluster_domain,
                "--min-lifetime", self.min_lifetime,
                "--max-lifetime", self.max_lifetime,
                "--listen", format!("0.0.0.0:{METRICS_PORT}"),
                "--probe-listen", format!("0.0.0.0:{PROBES_PORT}"),
                "--leader-elect",
            ],
            "env": [{
                "name": "HANDFAST_POD_NAME",
                "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } },
            }],
            "ports": [
                { "name": METRICS_PORT_NAME, "containerPort": METRICS_PORT },
                { "name": PROBES_PORT_NAME, "containerPort": PROBES_PORT },
            ],
            "livenessProbe": probe(PROBES_PORT_NAME, "/livez", 6),
            "readinessProbe": probe(PROBES_PORT_NAME, "/readyz", 2),
        });
        let spec = replicated(CONTROLLER, self.replicas, 15, container);
        self.named("apps/v1", "Deployment", CONTROLLER, json!({ "spec": spec }))
    }

    fn service(&self) -> Value {
        let spec = json!({
            "selector": { "app.kubernetes.io/name": CONTROLLER },
            "ports": [{ "name": METRICS_PORT_NAME, "port": METRICS_PORT, "targetPort": METRICS_PORT_NAME }],
        });
        self.named("v1", "Service", CONTROLLER, json!({ "spec": spec }))
    }

    fn disruption_budget(&self) -> Value {
        let spec = json!({
            "minAvailable": 1,
            "selector": { "matchLabels": { "app.kubernetes.io/name": CONTROLLER } },
        });
        self.named("policy/v1", "PodDisruptionBudget", CONTROLLER, json!({ "spec": spec }))
    }

    /// Lets the pods of one namespace reach the metrics, and no pod the probes: the kubelet is not subject to policies
    /// (they never keep a node from its own pods).
    fn network_policy(&self, from: &str) -> Value {
        let spec = json!({
            "podSelector": { "matchLabels": { "app.kubernetes.io/name": CONTROLLER } },
            "policyTypes": ["Ingress"],
            "ingress": [{ "ports": [{ "port": METRICS_PORT_NAME }], "from": pods_of(from) }],
        });
        self.named("networking.k8s.io/v1", "NetworkPolicy", CONTROLLER, json!({ "spec": spec }))
    }

    fn named(&self, api_version: &str, kind: &str, name: &str, rest: Value) -> Value {
        object(api_version, kind, name, Some(&self.namespace), rest)
    }
}

/// All pods of a namespace, for a NetworkPolicy.
fn pods_of(namespace: &str) -> Value {
    json!([{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } } }])
}

/// What a controller asks for, and may use.
fn resources() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs.iter().map(|(name, much)| ((*name).to_owned(), Quantity((*much).to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "20m"), ("memory", "64Mi")])),
        limits: Some(quantities(&[("memory", "512Mi")])),
        claims: None,
    }
}

/// The kubelet's question, every five seconds.
fn probe(port: &str, path: &str, failures: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": port },
        "periodSeconds": 5,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    })
}

/// What a Deployment of `name` asks for: pods of one container, as the Pod Security Standard `restricted` has them, that
/// run as the service account of that name, on different nodes where there are some. `grace` in seconds.
fn replicated(name: &str, replicas: u32, grace: u32, mut container: Value) -> Value {
    container["resources"] = json!(resources());
    container["securityContext"] = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    });
    let selector = json!({ "matchLabels": { "app.kubernetes.io/name": name } });
    let labels = json!({ "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "handfast" });
    let spread = json!([{
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": selector,
    }]);
    let pod = json!({
        "serviceAccountName": name,
        "automountServiceAccountToken": true,
        "terminationGracePeriodSeconds": grace,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "topologySpreadConstraints": spread,
        "containers": [container],
    });
    json!({
        "replicas": replicas,
        "selector": selector,
        "template": { "metadata": { "labels": labels }, "spec": pod },
    })
}

/// An object of ours; `rest` is what stands beside its metadata.
fn object(api_version: &str, kind: &str, name: &str, namespace: Option<&str>, rest: Value) -> Value {
    let mut object = rest;
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    object["metadata"]["name"] = json!(name);
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    labelled(object)
}

fn labelled(mut object: Value) -> Value {
    object["metadata"]["labels"]["app.kubernetes.io/part-of"] = json!("handfast");
    object
}
