//! Roles that open one Secret each, and RoleBindings for those who are named.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject as BindingSubject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Subject;

/// Field manager of what is applied.
pub const FIELD_MANAGER: &str = "handfast-rbac";
const GROUP: &str = "rbac.authorization.k8s.io";

/// A Role that can read this Secret and nothing else, and a binding when anybody is named. A pod needs neither: the
/// kubelet mounts what its node's pods name.
pub fn reader_objects(namespace: &str, secret: &str, readers: &[Subject]) -> (Role, Option<RoleBinding>) {
    let name = format!("handfast-read-{secret}");
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        namespace: Some(namespace.to_owned()),
        labels: Some(BTreeMap::from([(crate::names::MANAGED_LABEL.to_owned(), "true".to_owned())])),
        ..ObjectMeta::default()
    };
    let role = Role {
        metadata: metadata.clone(),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["secrets".to_owned()]),
            resource_names: Some(vec![secret.to_owned()]),
            verbs: vec!["get".to_owned()],
            non_resource_urls: None,
        }]),
    };
    let subjects: Vec<BindingSubject> = readers.iter().map(binding_subject).collect();
    let binding = (!subjects.is_empty()).then(|| RoleBinding {
        metadata,
        role_ref: RoleRef { api_group: Some(GROUP.to_owned()), kind: "Role".to_owned(), name },
        subjects: Some(subjects),
    });
    (role, binding)
}

fn binding_subject(subject: &Subject) -> BindingSubject {
    let group = Some(GROUP.to_owned());
    match subject {
        Subject::User(name) => {
            BindingSubject { api_group: group, kind: "User".to_owned(), name: name.clone(), namespace: None }
        }
        Subject::Group(name) => {
            BindingSubject { api_group: group, kind: "Group".to_owned(), name: name.clone(), namespace: None }
        }
        Subject::ServiceAccount { namespace, name } => BindingSubject {
            api_group: None,
            kind: "ServiceAccount".to_owned(),
            name: name.clone(),
            namespace: Some(namespace.clone()),
        },
    }
}
