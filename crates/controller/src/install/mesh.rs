//! The mesh's control plane as objects: beside the controller, in the same namespace, with rights of its own. It reads
//! what is in the cluster and the authority's keys, and writes nothing but its webhook's trust.

use serde_json::{Value, json};

use super::node::NodeInstallation;
use super::rights::{binding_of, rule};
use super::{object, probe, replicated};
use crate::names::{
    AUTHORITY_SECRET, MESH, MESH_DISABLED, MESH_ENABLED, MESH_LABEL, NEVER_IN_MESH, SYSTEM_NAMESPACE,
};

/// Where proxies ask for certificates and are told of the mesh.
pub const CONTROL_PORT: u16 = 15012;
/// Metrics and probes.
pub const METRICS_PORT: u16 = 15014;
/// The admission webhook.
pub const WEBHOOK_PORT: u16 = 15017;
/// The path of the admission webhook.
pub const INJECT_PATH: &str = "/inject";

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct MeshInstallation {
    /// The image of control plane and proxies.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
    /// How many control planes there are; all of them work.
    pub replicas: u32,
    /// The trust domain: the authority's.
    pub trust_domain: String,
    /// Domain of the cluster's Services.
    pub cluster_domain: String,
    /// Whether the kinds of Istio's policies come with it.
    pub crds: bool,
    /// The proxy of each node, for node mode.
    pub node: Option<NodeInstallation>,
}

impl MeshInstallation {
    /// The objects, in the order in which they are applied. The webhook is the last: until it is there, pods are made as
    /// they are.
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = Vec::new();
        if self.crds {
            objects.extend([
                kind("AuthorizationPolicy", "authorizationpolicies", &["ap"]),
                kind("PeerAuthentication", "peerauthentications", &["pa"]),
            ]);
        }
        objects.push(named("v1", "ServiceAccount", json!({ "automountServiceAccountToken": false })));
        objects.extend(rights());
        objects.extend([self.deployment(), service()]);
        if self.replicas > 1 {
            let spec = json!({ "minAvailable": 1, "selector": selector() });
            objects.push(named("policy/v1", "PodDisruptionBudget", json!({ "spec": spec })));
        }
        if let Some(node) = &self.node {
            objects.extend(node.objects(self));
        }
        objects.push(webhook());
        objects
    }

    fn deployment(&self) -> Value {
        let container = json!({
            "name": "control-plane",
            "image": self.image,
            "imagePullPolicy": self.pull_policy,
            "args": [
                "mesh", "controller",
                "--trust-domain", self.trust_domain,
                "--cluster-domain", self.cluster_domain,
                "--proxy-image", self.image,
                "--proxy-image-pull-policy", self.pull_policy,
                "--listen", format!("0.0.0.0:{CONTROL_PORT}"),
                "--webhook-listen", format!("0.0.0.0:{WEBHOOK_PORT}"),
                "--metrics-listen", format!("0.0.0.0:{METRICS_PORT}"),
            ],
            "env": [{
                "name": "HANDFAST_POD_NAME",
                "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } },
            }],
            "ports": [
                { "name": "control", "containerPort": CONTROL_PORT },
                { "name": "metrics", "containerPort": METRICS_PORT },
                { "name": "webhook", "containerPort": WEBHOOK_PORT },
            ],
            "livenessProbe": probe("metrics", "/livez", 6),
            "readinessProbe": probe("metrics", "/readyz", 2),
        });
        let spec = replicated(MESH, self.replicas, 20, container);
        named("apps/v1", "Deployment", json!({ "spec": spec }))
    }
}

fn selector() -> Value {
    json!({ "matchLabels": { "app.kubernetes.io/name": MESH } })
}

fn named(api_version: &str, kind: &str, rest: Value) -> Value {
    object(api_version, kind, MESH, Some(SYSTEM_NAMESPACE), rest)
}

fn service() -> Value {
    let spec = json!({
        "selector": { "app.kubernetes.io/name": MESH },
        "ports": [
            { "name": "grpc-control", "port": CONTROL_PORT, "targetPort": "control" },
            { "name": "https-webhook", "port": 443, "targetPort": "webhook" },
            { "name": "http-metrics", "port": METRICS_PORT, "targetPort": "metrics" },
        ],
    });
    named("v1", "Service", json!({ "spec": spec }))
}

fn rights() -> Vec<Value> {
    let cluster = json!({ "rules": [
        // What the mesh is made of.
        rule("", &["namespaces", "pods", "services"], &[], &["get", "list", "watch"]),
        rule("discovery.k8s.io", &["endpointslices"], &[], &["get", "list", "watch"]),
        rule(
            "security.istio.io",
            &["authorizationpolicies", "peerauthentications"],
            &[],
            &["get", "list", "watch"],
        ),
        // Who asks for a certificate.
        rule("authentication.k8s.io", &["tokenreviews"], &[], &["create"]),
        // By what the API server knows the webhook.
        rule("admissionregistration.k8s.io", &["mutatingwebhookconfigurations"], &[MESH], &["get", "patch"]),
    ]});
    let own = json!({ "rules": [rule("", &["secrets"], &[AUTHORITY_SECRET], &["get", "list", "watch"])] });
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    vec![
        object(RBAC, "ClusterRole", MESH, None, cluster),
        object(RBAC, "ClusterRoleBinding", MESH, None, binding_of("ClusterRole", MESH, SYSTEM_NAMESPACE)),
        object(RBAC, "Role", MESH, Some(SYSTEM_NAMESPACE), own),
        object(RBAC, "RoleBinding", MESH, Some(SYSTEM_NAMESPACE), binding_of("Role", MESH, SYSTEM_NAMESPACE)),
    ]
}

/// A pod of a labelled namespace is not made while nobody gives it its proxy. Our own namespace and that of the node's
/// own pods are not asked about: the mesh must be able to start.
fn webhook() -> Value {
    let hook = json!({
        "name": "inject.mesh.handfast.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "timeoutSeconds": 10,
        "clientConfig": {
            "service": { "name": MESH, "namespace": SYSTEM_NAMESPACE, "path": INJECT_PATH, "port": 443 },
        },
        "rules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
            "operations": ["CREATE"], "scope": "Namespaced",
        }],
        "namespaceSelector": {
            "matchLabels": { MESH_LABEL: MESH_ENABLED },
            "matchExpressions": [{
                "key": "kubernetes.io/metadata.name",
                "operator": "NotIn",
                "values": NEVER_IN_MESH,
            }],
        },
        "objectSelector": {
            "matchExpressions": [{ "key": MESH_LABEL, "operator": "NotIn", "values": [MESH_DISABLED] }],
        },
    });
    let version = "admissionregistration.k8s.io/v1";
    object(version, "MutatingWebhookConfiguration", MESH, None, json!({ "webhooks": [hook] }))
}

/// One of Istio's kinds, for clusters without Istio. What a spec may say is judged where it is read, with better words
/// than a schema has.
fn kind(kind: &str, plural: &str, short: &[&str]) -> Value {
    let version = |name: &str, storage: bool| {
        json!({
            "name": name,
            "served": true,
            "storage": storage,
            "schema": { "openAPIV3Schema": {
                "type": "object",
                "properties": {
                    "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                    "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                },
            } },
            "subresources": { "status": {} },
            "additionalPrinterColumns": [
                { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
            ],
        })
    };
    let spec = json!({
        "group": crate::mesh::istio::GROUP,
        "scope": "Namespaced",
        "names": {
            "kind": kind, "listKind": format!("{kind}List"), "plural": plural,
            "singular": kind.to_ascii_lowercase(), "shortNames": short,
        },
        "versions": [version("v1", true), version("v1beta1", false)],
    });
    let name = format!("{plural}.{}", crate::mesh::istio::GROUP);
    let mut crd =
        object("apiextensions.k8s.io/v1", "CustomResourceDefinition", &name, None, json!({ "spec": spec }));
    // With the kind would go every policy.
    crd["metadata"]["annotations"] = json!({ super::KEPT: "keep" });
    crd
}
