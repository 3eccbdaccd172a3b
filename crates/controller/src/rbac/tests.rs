use k8s_openapi::api::rbac::v1::{PolicyRule, Subject as BindingSubject};

use super::*;

fn rule(verbs: &[&str], group: &str, resources: &[&str], names: &[&str]) -> PolicyRule {
    let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(list(resources)),
        resource_names: (!names.is_empty()).then(|| list(names)),
        verbs: list(verbs),
        non_resource_urls: None,
    }
}

fn binding(namespace: Option<&str>, name: &str, subjects: &[&str], rules: Vec<PolicyRule>) -> Binding {
    Binding {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        subjects: subjects.iter().map(|subject| subject.parse().unwrap()).collect(),
        role: ("Role".to_owned(), name.to_owned()),
        rules,
    }
}

fn read() -> Ask {
    reads("shop", "web-server-tls").into_iter().map(|(_, ask)| ask).find(|ask| ask.verb == "get").unwrap()
}

#[test]
fn subjects_are_written_as_they_are_read() {
    for text in ["user:alice", "group:ops", "group:system:masters", "sa:shop/web", "user:a/b"] {
        assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
    }
    let account: Subject = "system:serviceaccount:shop:web".parse().unwrap();
    assert_eq!(account.to_string(), "sa:shop/web");
    assert_eq!("user:system:serviceaccount:shop:web".parse::<Subject>().unwrap(), account);
    for text in ["alice", "sa:web", "sa:/web", "user:", "role:x", "system:serviceaccount:shop"] {
        assert!(text.parse::<Subject>().is_err(), "{text}");
    }
    let bound = |kind: &str, namespace: Option<&str>| BindingSubject {
        api_group: None,
        kind: kind.to_owned(),
        name: "web".to_owned(),
        namespace: namespace.map(str::to_owned),
    };
    assert_eq!(Subject::of_binding(&bound("ServiceAccount", None), Some("shop")), Some(account));
    assert_eq!(Subject::of_binding(&bound("ServiceAccount", None), None), None);
}

#[test]
fn a_rule_matches_as_the_api_server_matches_it() {
    let alice: Subject = "user:alice".parse().unwrap();
    let granted =
        |rules| !grant(&[binding(Some("shop"), "b", &["user:alice"], rules)], &alice, &read()).is_empty();
    assert!(granted(vec![rule(&["get"], "", &["secrets"], &[])]));
    assert!(granted(vec![rule(&["*"], "*", &["*"], &[])]));
    assert!(granted(vec![rule(&["get"], "", &["secrets"], &["web-server-tls"])]));
    assert!(!granted(vec![rule(&["get"], "", &["secrets"], &["other"])]));
    assert!(!granted(vec![rule(&["list"], "", &["secrets"], &[])]));
    assert!(!granted(vec![rule(&["get"], "apps", &["secrets"], &[])]));
    let exec = Ask { resource: "pods".to_owned(), subresource: "exec".to_owned(), ..read() };
    let only = |resource: &str| {
        let rules = vec![rule(&["get"], "", &[resource], &[])];
        !grant(&[binding(None, "b", &["user:alice"], rules)], &alice, &exec).is_empty()
    };
    assert!(only("pods/exec") && only("*/exec") && only("*"));
    assert!(!only("pods") && !only("pods/*"));
}

#[test]
fn a_role_binding_of_another_namespace_grants_nothing() {
    let rules = vec![rule(&["get"], "", &["secrets"], &[])];
    let alice = "user:alice".parse().unwrap();
    assert!(grant(&[binding(Some("bank"), "b", &["user:alice"], rules.clone())], &alice, &read()).is_empty());
    let cluster = Ask { namespace: None, ..read() };
    assert!(grant(&[binding(Some("shop"), "b", &["user:alice"], rules)], &alice, &cluster).is_empty());
}

#[test]
fn a_grant_through_a_group_names_the_group() {
    let rules = vec![rule(&["get"], "", &["secrets"], &[])];
    let bindings = [binding(Some("shop"), "all", &["group:system:serviceaccounts:ci"], rules)];
    let grants = grant(&bindings, &"sa:ci/runner".parse().unwrap(), &read());
    assert_eq!(grants[0].through.to_string(), "group:system:serviceaccounts:ci");
    assert_eq!(
        (grants[0].binding.as_str(), grants[0].rule.as_str()),
        ("RoleBinding shop/all", "get secrets")
    );
}

#[test]
fn nobody_becomes_built_in_by_a_name_that_anybody_can_write() {
    let grant = |binding: &str, through: &str| Grant {
        binding: binding.to_owned(),
        role: String::new(),
        rule: String::new(),
        through: through.parse().unwrap(),
    };
    let yes = |subject: &str, grants: &[Grant]| built_in(&subject.parse().unwrap(), grants).is_some();
    assert!(yes("group:system:masters", &[]));
    assert!(yes("sa:handfast-system/handfast-controller", &[]));
    assert!(!yes("sa:shop/handfast-controller", &[]));
    assert!(!yes("user:system:admin-of-mine", &[]));
    let own = grant("ClusterRoleBinding system:controller:job-controller", "sa:kube-system/job-controller");
    assert!(yes("sa:kube-system/job-controller", std::slice::from_ref(&own)));
    let other = grant("ClusterRoleBinding mine", "sa:kube-system/job-controller");
    assert!(!yes("sa:kube-system/job-controller", &[own.clone(), other]));
    assert!(!yes("sa:shop/job-controller", &[own]));
    assert!(!yes("sa:kube-system/anything", &[]));
}

#[test]
fn detours_behind_a_single_name_are_asked_by_that_name() {
    let bindings = [binding(
        None,
        "b",
        &["user:alice"],
        vec![
            rule(&["impersonate"], "", &["users"], &["root"]),
            rule(&["patch"], "apps", &["deployments"], &["web"]),
            rule(&["get"], "", &["secrets"], &["x"]),
        ],
    )];
    let asks = named_detours("shop", &bindings);
    let texts: Vec<String> = asks
        .iter()
        .map(|(_, ask)| format!("{} {} {}", ask.verb, ask.object(), ask.name.as_deref().unwrap()))
        .collect();
    assert_eq!(texts, ["patch deployments.apps web", "impersonate users root"]);
}

#[test]
fn pods_are_entered_only_where_there_is_one_with_the_secret() {
    let enters =
        |mounted: &[String]| detours("shop", mounted).iter().filter(|(w, _)| *w == Way::Enter).count();
    assert_eq!(enters(&[]), 0);
    assert_eq!(enters(&["web-0".to_owned()]), 10);
    // Whoever may patch the pod gives its container another image, which finds the key mounted.
    for (verb, resource) in [("patch", "pods"), ("update", "pods"), ("patch", "pods/ephemeralcontainers")] {
        let asks = detours("shop", &["web-0".to_owned()]);
        let found = asks.iter().any(|(way, ask)| {
            let same = ask.verb == verb && ask.object() == resource;
            *way == Way::Enter && same && ask.name.as_deref() == Some("web-0")
        });
        assert!(found, "{verb} {resource}");
    }
}

#[test]
fn a_role_opens_one_secret_for_get_and_binds_those_who_are_named() {
    let (role, binding) = reader_objects("shop", "web-server-tls", &[]);
    assert!(binding.is_none());
    assert_eq!(
        serde_json::to_value(&role.rules).unwrap(),
        serde_json::json!([{
            "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["web-server-tls"], "verbs": ["get"]
        }])
    );
    let readers: Vec<Subject> = vec!["group:ops".parse().unwrap(), "sa:backup/agent".parse().unwrap()];
    let binding = reader_objects("shop", "web-server-tls", &readers).1.unwrap();
    assert_eq!(binding.role_ref.name, role.metadata.name.unwrap());
    assert_eq!(binding.subjects.unwrap().len(), 2);
}
