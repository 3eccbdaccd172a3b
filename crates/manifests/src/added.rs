//! The objects that come to a manifest: Certificates, and the rights of the controller on exactly their Secrets.

use controller::{Restarted, names};

use crate::plan::Wiring;
use crate::yaml::Value;
use crate::yaml::render;

/// A Certificate, as far as wiring needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its name, and that of its Secret.
    pub name: String,
    /// `None` leaves the namespace out.
    pub namespace: Option<String>,
    /// `server`, `client` or `both`.
    pub usage: String,
    /// Whose identity it carries.
    pub account: Option<String>,
    /// Services whose names it carries.
    pub services: Vec<String>,
    /// What the controller restarts after a renewal.
    pub restart: Option<Restarted>,
}

/// The Certificates of a workload.
pub fn certificates(wiring: &Wiring<'_>) -> Vec<Wanted> {
    let object = wiring.workload.object;
    let wanted = |name: &Option<String>, usage: &str, services: &[String]| {
        name.as_ref().map(|name| Wanted {
            name: name.clone(),
            namespace: object.namespace.map(str::to_owned),
            usage: usage.to_owned(),
            account: Some(wiring.workload.account().to_owned()),
            services: services.to_vec(),
            restart: wiring.restarted(),
        })
    };
    let server = wanted(&wiring.server, "server", &wiring.services);
    server.into_iter().chain(wanted(&wiring.client, "client", &[])).collect()
}

/// A Certificate as an object.
pub fn certificate(wanted: &Wanted) -> Value {
    let mut spec = vec![("secretName", Value::string(&wanted.name)), ("usage", Value::string(&wanted.usage))];
    if let Some(account) = &wanted.account {
        spec.push(("serviceAccount", Value::string(account)));
    }
    if !wanted.services.is_empty() {
        spec.push(("services", Value::Sequence(wanted.services.iter().map(Value::string).collect())));
    }
    if let Some(restarted) = &wanted.restart {
        let workload = Value::mapping([
            ("kind", Value::string(restarted.kind.kind())),
            ("name", Value::string(&restarted.name)),
        ]);
        spec.push(("restart", Value::Sequence(vec![workload])));
    }
    Value::mapping([
        ("apiVersion", Value::string(format!("{}/v1", names::GROUP))),
        ("kind", Value::string("Certificate")),
        ("metadata", metadata(&wanted.name, wanted.namespace.as_deref())),
        ("spec", Value::mapping(spec)),
    ])
}

/// Role and RoleBinding that let the controller write some Secrets, and read the passwords of others.
pub fn rights(owner: &str, namespace: Option<&str>, secrets: &[String], passwords: &[String]) -> [Value; 2] {
    rights_with(owner, namespace, secrets, passwords, None)
}

/// The same, and the right to restart this workload, by name.
pub fn rights_with(
    owner: &str,
    namespace: Option<&str>,
    secrets: &[String],
    passwords: &[String],
    restarted: Option<&Restarted>,
) -> [Value; 2] {
    let name = format!("handfast-secrets-{owner}");
    let list = |items: &[&str]| Value::Sequence(items.iter().map(|item| Value::string(*item)).collect());
    let any = |group: &str, resource: &str, verbs: &[&str]| {
        vec![("apiGroups", list(&[group])), ("resources", list(&[resource])), ("verbs", list(verbs))]
    };
    let named = |group: &str, resource: &str, names: &[String], verbs: &[&str]| {
        let mut rule = any(group, resource, verbs);
        rule.insert(2, ("resourceNames", Value::Sequence(names.iter().map(Value::string).collect())));
        Value::mapping(rule)
    };
    let rule = |names: &[String], verbs: &[&str]| named("", "secrets", names, verbs);
    // A plain `create` has no name that a rule could look at, but the controller creates by server-side apply, and there
    // the API server asks for `create` on the very name: so these rights reach no other Secret at all.
    let mut rules = vec![rule(secrets, &["get", "create", "patch"])];
    if !passwords.is_empty() {
        rules.push(rule(passwords, &["get"]));
    }
    if let Some(restarted) = restarted {
        let workload = std::slice::from_ref(&restarted.name);
        rules.push(named("apps", restarted.kind.plural(), workload, &["get", "patch"]));
        // Which of them select its pods, their selectors say: they have to be listed.
        rules.push(Value::mapping(any("policy", "poddisruptionbudgets", &["list"])));
    }
    const RBAC: &str = "rbac.authorization.k8s.io";
    let role = Value::mapping([
        ("apiVersion", Value::string(format!("{RBAC}/v1"))),
        ("kind", Value::string("Role")),
        ("metadata", metadata(&name, namespace)),
        ("rules", Value::Sequence(rules)),
    ]);
    let binding = Value::mapping([
        ("apiVersion", Value::string(format!("{RBAC}/v1"))),
        ("kind", Value::string("RoleBinding")),
        ("metadata", metadata(&name, namespace)),
        (
            "roleRef",
            Value::mapping([
                ("apiGroup", Value::string(RBAC)),
                ("kind", Value::string("Role")),
                ("name", Value::string(&name)),
            ]),
        ),
        (
            "subjects",
            Value::Sequence(vec![Value::mapping([
                ("kind", Value::string("ServiceAccount")),
                ("name", Value::string(names::CONTROLLER)),
                ("namespace", Value::string(names::SYSTEM_NAMESPACE)),
            ])]),
        ),
    ]);
    [role, binding]
}

fn metadata(name: &str, namespace: Option<&str>) -> Value {
    let name = ("name", Value::string(name));
    Value::mapping(
        [name].into_iter().chain(namespace.map(|namespace| ("namespace", Value::string(namespace)))),
    )
}

/// Objects as documents, each after `---`, with a word on a right that surprises.
pub fn documents(objects: &[Value]) -> String {
    const REMARK: &str =
        "  # By server-side apply, which is how the controller writes, `create` is limited by name too.\n";
    let document = |object| {
        format!("---\n{}", render::document(object).replace("  - create\n", &format!("{REMARK}  - create\n")))
    };
    objects.iter().map(document).collect()
}

/// All that a plan adds: rights first, so that the controller meets no refusal, then Certificates.
pub fn objects(plan: &[Wiring<'_>]) -> Vec<Value> {
    let mut rights_first = Vec::new();
    let mut wanted = Vec::new();
    for wiring in plan {
        let certificates = certificates(wiring);
        let secrets: Vec<String> = certificates.iter().map(|certificate| certificate.name.clone()).collect();
        let object = wiring.workload.object;
        let restarted = wiring.restarted();
        let namespace = object.namespace;
        rights_first.extend(rights_with(object.name, namespace, &secrets, &[], restarted.as_ref()));
        wanted.extend(certificates.iter().map(certificate));
    }
    rights_first.into_iter().chain(wanted).collect()
}
