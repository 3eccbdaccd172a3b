//! Subjects that every cluster trusts with everything anyway. They are named in the report, not hidden, and are no
//! finding. The list is fixed: a label or an annotation that a user can write decides nothing here.

use super::{Grant, Subject};

/// Why this subject is no finding, when it is built in. `grants` are those of the right in question.
pub fn built_in(subject: &Subject, grants: &[Grant]) -> Option<&'static str> {
    match subject {
        Subject::Group(name) => match name.as_str() {
            "system:masters" => {
                Some("system:masters: the API server lets it do everything, whatever the roles say")
            }
            "system:nodes" => Some("the kubelets, for pods on their own node"),
            _ => None,
        },
        Subject::User(name) => match name.as_str() {
            "system:kube-controller-manager" | "system:kube-scheduler" | "system:apiserver" => {
                Some("a part of the control plane")
            }
            _ => None,
        },
        Subject::ServiceAccount { namespace, name } => {
            if namespace == crate::names::SYSTEM_NAMESPACE && name == crate::names::CONTROLLER {
                return Some("the controller, which writes the Secrets");
            }
            // The bindings that the API server makes itself, one for each controller, of the same name.
            let own = format!("ClusterRoleBinding system:controller:{name}");
            let built_in = namespace == "kube-system"
                && !grants.is_empty()
                && grants.iter().all(|grant| grant.binding == own || grant.through != *subject);
            built_in.then_some("a part of the control plane")
        }
    }
}
