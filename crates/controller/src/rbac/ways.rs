//! The ways to a Secret: reading it, and the detours of whoever may run, enter, impersonate or grant.

use std::collections::BTreeSet;

use super::Binding;

/// A question for the API server: may the subject do this?
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ask {
    /// Verb.
    pub verb: String,
    /// API group, empty for the core.
    pub group: String,
    /// Resource.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Namespace; none for cluster-wide resources.
    pub namespace: Option<String>,
    /// Name of the object, where only that one matters.
    pub name: Option<String>,
}

impl Ask {
    /// The resource with its group and subresource, as kubectl writes it.
    pub fn object(&self) -> String {
        let mut text = self.resource.clone();
        if !self.group.is_empty() {
            text = format!("{text}.{}", self.group);
        }
        if !self.subresource.is_empty() {
            text = format!("{text}/{}", self.subresource);
        }
        text
    }
}

/// A group of questions that have the same meaning for the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Reads the Secret itself.
    Read,
    /// Writes the Secret: the API server's answer to a write holds the whole object.
    Write,
    /// Starts pods in the namespace that mount it.
    Workload,
    /// Enters a pod that mounts it, or changes what runs there.
    Enter,
    /// Acts as another user, group or service account.
    Impersonate,
    /// Gets a token of a service account of the namespace.
    Token,
    /// Grants rights beyond its own.
    Escalate,
    /// Has client certificates signed for whatever name.
    Certify,
    /// Is shown every Secret that is written, as an admission webhook.
    Admission,
}

impl Way {
    /// A label for JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Write => "writes",
            Self::Workload => "starts-pods",
            Self::Enter => "enters-pods",
            Self::Impersonate => "impersonates",
            Self::Token => "takes-tokens",
            Self::Escalate => "escalates",
            Self::Certify => "certifies",
            Self::Admission => "admits",
        }
    }

    /// Whether the key comes with the API server's answer itself.
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }

    /// Why this leads to the key.
    pub fn why(self) -> &'static str {
        match self {
            Self::Read => "the answer holds the key",
            Self::Write => "the answer to a write holds the whole Secret",
            Self::Workload => "may start a pod in this namespace that mounts the Secret",
            Self::Enter => "may enter a pod that mounts the Secret, or replace what runs in it",
            Self::Impersonate => "may act as somebody who can read it",
            Self::Token => "may take the token of a service account of this namespace",
            Self::Escalate => "may grant itself the right to read it",
            Self::Certify => "may have a client certificate signed for somebody who can read it",
            Self::Admission => "may register a webhook that is shown every Secret when it is written",
        }
    }
}

/// What reads this very Secret.
pub fn reads(namespace: &str, secret: &str) -> Vec<(Way, Ask)> {
    let ask = |verb: &str| Ask {
        verb: verb.to_owned(),
        group: String::new(),
        resource: "secrets".to_owned(),
        subresource: String::new(),
        namespace: Some(namespace.to_owned()),
        name: Some(secret.to_owned()),
    };
    let read = ["get", "list", "watch"].map(|verb| (Way::Read, ask(verb)));
    let write = ["update", "patch"].map(|verb| (Way::Write, ask(verb)));
    // The answer is the list of what was deleted, with its data, also when it was only a dry run.
    let all = Ask { name: None, ..ask("deletecollection") };
    read.into_iter().chain(write).chain([(Way::Write, all)]).collect()
}

/// What leads to every Secret of the namespace. `mounted` are the pods that hold one of the managed Secrets.
pub fn detours(namespace: &str, mounted: &[String]) -> Vec<(Way, Ask)> {
    let mut asks = Vec::new();
    let mut add =
        |way: Way, verbs: &[&str], group: &str, resource: &str, inside: bool, name: Option<&str>| {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            for verb in verbs {
                asks.push((
                    way,
                    Ask {
                        verb: (*verb).to_owned(),
                        group: group.to_owned(),
                        resource: resource.to_owned(),
                        subresource: subresource.to_owned(),
                        namespace: inside.then(|| namespace.to_owned()),
                        name: name.map(str::to_owned),
                    },
                ));
            }
        };
    add(Way::Workload, &["create"], "", "pods", true, None);
    for (group, resource) in [
        ("", "replicationcontrollers"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("batch", "jobs"),
        ("batch", "cronjobs"),
    ] {
        add(Way::Workload, &["create", "update", "patch"], group, resource, true, None);
    }
    for pod in mounted {
        // A WebSocket is opened by GET; the API server asked for `get` alone before 1.35.
        add(Way::Enter, &["create", "get"], "", "pods/exec", true, Some(pod));
        add(Way::Enter, &["create", "get"], "", "pods/attach", true, Some(pod));
        add(Way::Enter, &["update", "patch"], "", "pods/ephemeralcontainers", true, Some(pod));
        // The image of a running container can be changed: another program then starts with the same mounts.
        add(Way::Enter, &["update", "patch"], "", "pods", true, Some(pod));
    }
    if !mounted.is_empty() {
        add(Way::Enter, &["create", "get"], "", "nodes/proxy", false, None);
    }
    add(Way::Impersonate, &["impersonate"], "", "users", false, None);
    add(Way::Impersonate, &["impersonate"], "", "groups", false, None);
    add(Way::Impersonate, &["impersonate"], "", "serviceaccounts", true, None);
    add(Way::Token, &["create"], "", "serviceaccounts/token", true, None);
    // The control plane fills a Secret of the type service-account-token with one.
    add(Way::Token, &["create"], "", "secrets", true, None);
    let rbac = "rbac.authorization.k8s.io";
    add(Way::Escalate, &["escalate", "bind"], rbac, "roles", true, None);
    add(Way::Escalate, &["escalate", "bind"], rbac, "clusterroles", false, None);
    add(
        Way::Certify,
        &["approve", "sign"],
        "certificates.k8s.io",
        "signers",
        false,
        Some("kubernetes.io/kube-apiserver-client"),
    );
    for resource in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        add(
            Way::Admission,
            &["create", "update", "patch"],
            "admissionregistration.k8s.io",
            resource,
            false,
            None,
        );
    }
    asks
}

/// The same detours where a rule opens them for single names only, as `impersonate` for one user.
pub fn named_detours(namespace: &str, bindings: &[Binding]) -> Vec<(Way, Ask)> {
    let mut asks = BTreeSet::new();
    for (way, ask) in detours(namespace, &[]) {
        if !matches!(way, Way::Impersonate | Way::Token | Way::Escalate | Way::Workload | Way::Admission)
            || ask.verb == "create" && ask.subresource.is_empty()
        {
            continue;
        }
        for binding in bindings.iter().filter(|b| b.namespace.as_deref().is_none_or(|own| own == namespace)) {
            for rule in &binding.rules {
                for name in rule.resource_names.iter().flatten() {
                    let ask = Ask { name: Some(name.clone()), ..ask.clone() };
                    if super::grants::matches(rule, &ask) {
                        asks.insert((way, ask));
                    }
                }
            }
        }
    }
    asks.into_iter().collect()
}
