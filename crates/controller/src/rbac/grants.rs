//! Which binding, and which rule of its role, gives a subject what the API server says it may.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{Ask, Subject};

/// A RoleBinding or ClusterRoleBinding with the rules of its role.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Its namespace; none for a ClusterRoleBinding.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whom it binds.
    pub subjects: Vec<Subject>,
    /// Role or ClusterRole, and its name.
    pub role: (String, String),
    /// What the role allows; nothing when there is no such role.
    pub rules: Vec<PolicyRule>,
}

impl Binding {
    /// Kind and name, as in `RoleBinding shop/readers`.
    pub fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("RoleBinding {namespace}/{}", self.name),
            None => format!("ClusterRoleBinding {}", self.name),
        }
    }
}

/// Where a right comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The binding, as in `RoleBinding shop/readers`.
    pub binding: String,
    /// Its role, as in `ClusterRole view`.
    pub role: String,
    /// The rule, as in `get,list secrets [web-server-tls]`.
    pub rule: String,
    /// The subject that the binding names: the one that was asked about, or a group that it is in.
    pub through: Subject,
}

/// All grants of what is asked to the subject. The subject's own name comes before its groups.
pub fn grant(bindings: &[Binding], subject: &Subject, ask: &Ask) -> Vec<Grant> {
    let mut members = vec![subject.clone()];
    members.extend(subject.groups().into_iter().map(Subject::Group).filter(|group| group != subject));
    let mut grants = Vec::new();
    for member in members {
        for binding in bindings.iter().filter(|binding| binding.subjects.contains(&member)) {
            // A RoleBinding holds in its namespace only, and for nothing cluster-wide.
            if binding.namespace.is_some() && binding.namespace != ask.namespace {
                continue;
            }
            if let Some(rule) = binding.rules.iter().find(|rule| matches(rule, ask)) {
                grants.push(Grant {
                    binding: binding.title(),
                    role: format!("{} {}", binding.role.0, binding.role.1),
                    rule: text(rule),
                    through: member.clone(),
                });
            }
        }
    }
    grants
}

/// As the API server's own authoriser decides (`pkg/apis/rbac/v1/evaluation_helpers.go`).
pub(super) fn matches(rule: &PolicyRule, ask: &Ask) -> bool {
    let any = |list: &Option<Vec<String>>, wanted: &str| {
        list.iter().flatten().any(|entry| entry == "*" || entry == wanted)
    };
    let resource = match ask.subresource.as_str() {
        "" => any(&rule.resources, &ask.resource),
        subresource => {
            any(&rule.resources, &format!("{}/{subresource}", ask.resource))
                || any(&rule.resources, &format!("*/{subresource}"))
        }
    };
    let names = rule.resource_names.as_deref().unwrap_or_default();
    rule.verbs.iter().any(|verb| verb == "*" || *verb == ask.verb)
        && any(&rule.api_groups, &ask.group)
        && resource
        && (names.is_empty() || ask.name.as_ref().is_some_and(|name| names.contains(name)))
}

fn text(rule: &PolicyRule) -> String {
    let list = |entries: &Option<Vec<String>>| entries.clone().unwrap_or_default().join(",");
    let names = list(&rule.resource_names);
    let names = if names.is_empty() { String::new() } else { format!(" [{names}]") };
    let groups = list(&rule.api_groups);
    let groups = if groups.is_empty() { String::new() } else { format!(" ({groups})") };
    format!("{} {}{groups}{names}", rule.verbs.join(","), list(&rule.resources))
}
