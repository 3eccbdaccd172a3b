//! The controller's rights. A right that can be limited to names is; `create` by server-side apply names its object,
//! so it can be.

use serde_json::{Value, json};

use super::object;
use crate::names::{AUTHORITY_SECRET, CONTROLLER, GROUP, REVOCATION_CONFIG_MAP, SIGNER, TRUST_CONFIG_MAP};
use crate::trust::CLUSTER_TRUST_BUNDLE;

/// Roles and bindings for the controller.
pub(super) fn of_controller(namespace: &str) -> Vec<Value> {
    let cluster = json!({ "rules": [
        // What is asked for, and what is said about it.
        rule(GROUP, &["certificates"], &[], &["get", "list", "watch"]),
        rule(GROUP, &["certificates/status"], &[], &["patch"]),
        // What decides about names.
        rule("", &["namespaces", "services", "serviceaccounts"], &[], &["get", "list", "watch"]),
        // Trust bundles: one name in every namespace.
        rule("", &["configmaps"], &[TRUST_CONFIG_MAP], &["get", "list", "watch", "create", "patch"]),
        rule("certificates.k8s.io", &["clustertrustbundles"], &[CLUSTER_TRUST_BUNDLE], &["get", "create", "patch"]),
        rule("certificates.k8s.io", &["signers"], &[SIGNER], &["attest", "approve", "sign"]),
        // Requests for certificates of our signer; the rule above says which.
        rule(
            "certificates.k8s.io",
            &["certificatesigningrequests", "podcertificaterequests"],
            &[],
            &["get", "list", "watch"],
        ),
        rule(
            "certificates.k8s.io",
            &[
                "certificatesigningrequests/approval",
                "certificatesigningrequests/status",
                "podcertificaterequests/status",
            ],
            &[],
            &["update"],
        ),
        // Whether the pod that asks lives, as whom it runs, and where.
        rule("", &["pods"], &[], &["get"]),
        rule("events.k8s.io", &["events"], &[], &["create", "patch"]),
    ]});
    let own = json!({ "rules": [
        rule("", &["secrets"], &[AUTHORITY_SECRET], &["get", "list", "watch", "update"]),
        rule("", &["configmaps"], &[REVOCATION_CONFIG_MAP], &["get", "update", "patch"]),
        rule("coordination.k8s.io", &["leases"], &[CONTROLLER], &["get", "update"]),
    ]});
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    vec![
        object(RBAC, "ClusterRole", CONTROLLER, None, cluster),
        object(
            RBAC,
            "ClusterRoleBinding",
            CONTROLLER,
            None,
            binding_of("ClusterRole", CONTROLLER, namespace),
        ),
        object(RBAC, "Role", CONTROLLER, Some(namespace), own),
        object(RBAC, "RoleBinding", CONTROLLER, Some(namespace), binding_of("Role", CONTROLLER, namespace)),
    ]
}

pub(super) fn rule(group: &str, resources: &[&str], names: &[&str], verbs: &[&str]) -> Value {
    let mut rule = json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

/// Binds a role to the service account of its name.
pub(super) fn binding_of(kind: &str, name: &str, namespace: &str) -> Value {
    json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": namespace }],
    })
}
