//! Policies as people write them, and the decisions that follow.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::codes::mesh as codes;
use model::identity::{SpiffeId, TrustDomain};
use model::mesh::policy::{Arrival, Reason, decide};
use model::mesh::{Decision, Workload};
use serde_json::{Value, json};

use super::super::tests::{custom, namespace, pod};
use super::super::{Custom, Index, Objects, Options, index};

fn id(text: &str) -> SpiffeId {
    format!("spiffe://{text}").parse().unwrap()
}

struct Mesh(Index);

impl Mesh {
    fn of(policies: Vec<Custom>) -> Self {
        Self::with(policies, &Options::default())
    }

    fn with(policies: Vec<Custom>, options: &Options) -> Self {
        let pods = vec![pod("shop", "web", &[("app", "web")]), pod("bank", "ledger", &[("app", "ledger")])];
        let objects = Objects {
            namespaces: vec![namespace("shop", true), namespace("bank", true)],
            pods,
            authorization_policies: policies,
            ..Objects::default()
        };
        Self(index(&objects, options))
    }

    fn to(&self, name: &str) -> &Workload {
        self.0.workloads.iter().find(|workload| workload.name == name).unwrap()
    }

    fn ask(&self, name: &str, caller: Option<&SpiffeId>, from: &str, port: u16) -> Decision {
        let to = self.to(name);
        let arrival =
            Arrival { identity: caller, source: from.parse().unwrap(), address: to.addresses[0], port };
        decide(&self.0.world(), to, &arrival)
    }

    fn allows(&self, name: &str, caller: Option<&SpiffeId>, port: u16) -> bool {
        self.ask(name, caller, "10.1.2.3", port).is_allowed()
    }
}

fn rule(rule: Value) -> Mesh {
    let mesh = Mesh::of(vec![custom("shop", "p", json!({ "rules": [rule] }))]);
    assert_eq!(mesh.0.problems, []);
    mesh
}

/// The problem of one that is refused; and it has closed what it would apply to.
fn refused(spec: Value) -> (String, String) {
    let mesh = Mesh::of(vec![custom("shop", "p", spec.clone())]);
    let [problem] = &mesh.0.problems[..] else { panic!("{spec}: {:?}", mesh.0.problems) };
    assert!(problem.closes, "{spec}");
    let web = id("cluster.local/ns/shop/sa/web");
    for caller in [Some(&web), None] {
        let decision = mesh.ask("web", caller, "10.1.2.3", 80);
        assert_eq!(decision.reason, Reason::UnknownPolicy("shop/p".into()), "{spec}");
    }
    // It is nobody else's business.
    assert!(mesh.allows("ledger", Some(&web), 80), "{spec}");
    (problem.code.id.to_owned(), problem.path.to_string())
}

#[test]
fn principals_are_compared_as_istio_compares_them() {
    let (web, other) = (id("cluster.local/ns/shop/sa/web"), id("cluster.local/ns/shop2/sa/web"));
    let from = |principals: Value| rule(json!({ "from": [{ "source": { "principals": principals } }] }));
    for exact in ["cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/shop/sa/web", "*/ns/shop/sa/web"]
    {
        let mesh = from(json!([exact]));
        assert!(mesh.allows("web", Some(&web), 80), "{exact}");
        assert!(!mesh.allows("web", Some(&other), 80), "{exact}");
        assert!(!mesh.allows("web", None, 80), "{exact}");
    }
    let prefix = from(json!(["cluster.local/ns/shop/*"]));
    assert!(prefix.allows("web", Some(&web), 80) && !prefix.allows("web", Some(&other), 80));
    // Anybody, but somebody.
    let anybody = from(json!(["*"]));
    assert!(anybody.allows("web", Some(&other), 80) && !anybody.allows("web", None, 80));
    let not = rule(json!({ "from": [{ "source": { "notPrincipals": ["cluster.local/ns/shop/sa/web"] } }] }));
    assert!(
        !not.allows("web", Some(&web), 80)
            && not.allows("web", Some(&other), 80)
            && not.allows("web", None, 80)
    );
}

#[test]
fn cluster_local_is_the_trust_domain_whatever_its_name() {
    let options =
        Options { trust_domain: "corp.example".parse::<TrustDomain>().unwrap(), ..Options::default() };
    let own = id("corp.example/ns/shop/sa/web");
    let foreign = id("cluster.local/ns/shop/sa/web");
    for principal in ["cluster.local/ns/shop/sa/web", "cluster.local/*", "corp.example/ns/shop/sa/web"] {
        let spec =
            json!({ "action": "DENY", "rules": [{ "from": [{ "source": { "principals": [principal] } }] }] });
        let mesh = Mesh::with(vec![custom("shop", "p", spec)], &options);
        assert!(!mesh.allows("web", Some(&own), 80), "{principal}");
        assert!(mesh.allows("web", Some(&foreign), 80), "{principal}");
    }
}

#[test]
fn service_accounts_are_those_of_the_policys_namespace_unless_they_say_another() {
    let mesh = rule(json!({ "from": [{ "source": { "serviceAccounts": ["web", "bank/ledger"] } }] }));
    for (caller, allowed) in [
        ("cluster.local/ns/shop/sa/web", true),
        ("cluster.local/ns/bank/sa/ledger", true),
        ("cluster.local/ns/bank/sa/web", false),
        ("cluster.local/ns/shop/sa/ledger", false),
    ] {
        assert_eq!(mesh.allows("web", Some(&id(caller)), 80), allowed, "{caller}");
    }
    assert!(!mesh.allows("web", None, 80));
}

#[test]
fn all_of_from_to_and_when_have_to_match_and_any_of_each() {
    let mesh = rule(json!({
        "from": [{ "source": { "namespaces": ["shop"] } }, { "source": { "ipBlocks": ["10.9.0.0/16"] } }],
        "to": [{ "operation": { "ports": ["80", "443"], "notPorts": ["443"] } }],
        "when": [{ "key": "destination.ip", "values": ["10.0.0.0/8"] },
                 { "key": "source.ip", "notValues": ["10.9.9.9"] },
                 { "key": "source.serviceAccount", "notValues": ["intruder"] }],
    }));
    let (web, bank) = (id("cluster.local/ns/shop/sa/web"), id("cluster.local/ns/bank/sa/x"));
    let intruder = id("cluster.local/ns/shop/sa/intruder");
    for (caller, from, port, allowed) in [
        (Some(&web), "10.1.2.3", 80, true),
        (Some(&web), "10.1.2.3", 443, false),
        (Some(&web), "10.1.2.3", 81, false),
        (Some(&bank), "10.1.2.3", 80, false),
        (Some(&bank), "10.9.0.1", 80, true),
        (None, "10.9.0.1", 80, true),
        (None, "::ffff:10.9.0.1", 80, true),
        (Some(&bank), "10.9.9.9", 80, false),
        (Some(&web), "10.9.9.9", 80, false),
        (Some(&intruder), "10.1.2.3", 80, false),
    ] {
        let decision = mesh.ask("web", caller, from, port);
        assert_eq!(decision.is_allowed(), allowed, "{caller:?} {from} {port}");
    }
}

#[test]
fn a_rule_that_says_nothing_matches_everything_and_no_rule_nothing() {
    let web = id("cluster.local/ns/shop/sa/web");
    let deny = Mesh::of(vec![custom("shop", "p", json!({ "action": "DENY", "rules": [{}] }))]);
    for (caller, from) in [(Some(&web), "10.1.2.3"), (None, "10.1.2.3"), (None, "fd00::1")] {
        assert_eq!(deny.ask("web", caller, from, 80).reason, Reason::DeniedBy("shop/p".into()));
    }
    assert!(rule(json!({})).allows("web", None, 1));
    for nothing in [json!({}), json!({ "rules": [] }), json!({ "action": "ALLOW" }), Value::Null] {
        let mesh = Mesh::of(vec![custom("shop", "p", nothing.clone())]);
        assert_eq!(mesh.0.problems, [], "{nothing}");
        assert_eq!(mesh.ask("web", Some(&web), "10.1.2.3", 80).reason.code(), Some(&codes::NOT_ALLOWED));
        assert!(mesh.allows("ledger", Some(&web), 80));
    }
}

#[test]
fn what_is_not_of_a_connection_is_refused_with_its_place_and_closes() {
    let source = |source: Value| json!({ "rules": [{ "from": [{ "source": source }] }] });
    let operation = |action: &str, operation: Value| json!({ "action": action, "rules": [{}, { "to": [{ "operation": operation }] }] });
    for (spec, path) in [
        (operation("ALLOW", json!({ "methods": ["GET"] })), "spec.rules[1].to[0].operation.methods"),
        (
            operation("DENY", json!({ "ports": ["80"], "paths": ["/x"] })),
            "spec.rules[1].to[0].operation.paths",
        ),
        (operation("DENY", json!({ "hosts": ["x"] })), "spec.rules[1].to[0].operation.hosts"),
        (source(json!({ "requestPrincipals": ["*"] })), "spec.rules[0].from[0].source.requestPrincipals"),
        (source(json!({ "notRemoteIpBlocks": ["::/0"] })), "spec.rules[0].from[0].source.notRemoteIpBlocks"),
        (source(json!({ "trustDomains": ["a"] })), "spec.rules[0].from[0].source.trustDomains"),
        (json!({ "action": "CUSTOM", "rules": [{}] }), "spec.action"),
        (json!({ "provider": { "name": "x" } }), "spec.provider"),
        (json!({ "targetRefs": [{ "kind": "Service", "name": "web" }] }), "spec.targetRefs"),
        (
            json!({ "rules": [{ "when": [{ "key": "request.headers[x]", "values": ["y"] }] }] }),
            "spec.rules[0].when[0].key",
        ),
    ] {
        assert_eq!(refused(spec.clone()), ("HF8031".to_owned(), path.to_owned()), "{spec}");
    }
}

#[test]
fn what_is_misspelt_is_refused_with_its_place_and_closes() {
    let source = |source: Value| json!({ "rules": [{ "from": [{ "source": source }] }] });
    let port = |port: Value| json!({ "action": "DENY", "rules": [{ "to": [{ "operation": { "ports": [port] } }] }] });
    let when = |when: Value| json!({ "rules": [{ "when": [when] }] });
    for (spec, path) in [
        (json!({ "rule": [] }), "spec.rule"),
        (json!("x"), "spec"),
        (json!({ "rules": {} }), "spec.rules"),
        (json!({ "rules": [null] }), "spec.rules[0]"),
        (json!({ "rules": [{ "form": [] }] }), "spec.rules[0].form"),
        (json!({ "rules": [{ "from": [] }] }), "spec.rules[0].from"),
        (json!({ "rules": [{ "from": [{}] }] }), "spec.rules[0].from[0]"),
        (source(json!({})), "spec.rules[0].from[0].source"),
        (source(json!({ "principals": [] })), "spec.rules[0].from[0].source.principals"),
        (source(json!({ "principals": "x" })), "spec.rules[0].from[0].source.principals"),
        (source(json!({ "principals": [""] })), "spec.rules[0].from[0].source.principals[0]"),
        (source(json!({ "principals": ["a*b"] })), "spec.rules[0].from[0].source.principals[0]"),
        (source(json!({ "notPrincipals": ["x", "*a*"] })), "spec.rules[0].from[0].source.notPrincipals[1]"),
        (source(json!({ "namespaces": ["**"] })), "spec.rules[0].from[0].source.namespaces[0]"),
        (source(json!({ "serviceAccounts": ["a/b/c"] })), "spec.rules[0].from[0].source.serviceAccounts[0]"),
        (source(json!({ "serviceAccounts": ["shop/*"] })), "spec.rules[0].from[0].source.serviceAccounts[0]"),
        (source(json!({ "serviceAccounts": ["a"], "namespaces": ["b"] })), "spec.rules[0].from[0].source"),
        (source(json!({ "ipBlocks": ["10.0.0.0/33"] })), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (source(json!({ "ipBlocks": ["10.0.0.0/+8"] })), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (source(json!({ "notIpBlocks": ["10.0.0"] })), "spec.rules[0].from[0].source.notIpBlocks[0]"),
        (port(json!(80)), "spec.rules[0].to[0].operation.ports[0]"),
        (port(json!("http")), "spec.rules[0].to[0].operation.ports[0]"),
        (port(json!("+80")), "spec.rules[0].to[0].operation.ports[0]"),
        (port(json!("65536")), "spec.rules[0].to[0].operation.ports[0]"),
        (when(json!({ "values": ["x"] })), "spec.rules[0].when[0]"),
        (when(json!({ "key": "source.ip" })), "spec.rules[0].when[0]"),
        (when(json!({ "key": "source.ip", "values": [] })), "spec.rules[0].when[0].values"),
        (
            when(json!({ "key": "destination.port", "notValues": ["x"] })),
            "spec.rules[0].when[0].notValues[0]",
        ),
        (json!({ "action": "deny", "rules": [{}] }), "spec.action"),
        (json!({ "action": "DENY" }), "spec"),
        (json!({ "action": "DENY", "rules": [] }), "spec"),
        (json!({ "selector": { "matchExpressions": [] } }), "spec.selector.matchExpressions"),
        (json!({ "selector": { "matchLabels": { "app": "*" } } }), "spec.selector.matchLabels"),
    ] {
        assert_eq!(refused(spec.clone()), ("HF8030".to_owned(), path.to_owned()), "{spec}");
    }
}

#[test]
fn one_that_cannot_be_understood_closes_no_more_than_it_selects() {
    let bad = |labels: Value| {
        json!({ "selector": { "matchLabels": labels }, "action": "DENY",
                "rules": [{ "to": [{ "operation": { "methods": ["GET"] } }] }] })
    };
    let mesh = Mesh::of(vec![custom("shop", "p", bad(json!({ "app": "other" })))]);
    assert!(mesh.allows("web", None, 80));
    let mesh = Mesh::of(vec![custom("shop", "p", bad(json!({ "app": "web" })))]);
    assert!(!mesh.allows("web", None, 80));
    // In the root namespace, it reaches everywhere.
    let mesh = Mesh::of(vec![custom("handfast-system", "p", bad(json!({})))]);
    assert!(!mesh.allows("web", None, 80) && !mesh.allows("ledger", None, 80));
    let mesh = Mesh::of(vec![custom("handfast-system", "p", bad(json!({ "app": "ledger" })))]);
    assert!(mesh.allows("web", None, 80) && !mesh.allows("ledger", None, 80));
    // A good one of the same name does not open what the bad one closed.
    let good = custom("shop", "p", json!({ "selector": { "matchLabels": { "app": "web" } }, "rules": [{}] }));
    for pair in
        [[good.clone(), custom("shop", "p", bad(json!({})))], [custom("shop", "p", bad(json!({}))), good]]
    {
        assert!(!Mesh::of(pair.to_vec()).allows("web", None, 80));
    }
}

#[test]
fn the_root_namespace_is_for_the_whole_mesh_and_selectors_are_obeyed() {
    let deny =
        |labels: Value| json!({ "selector": { "matchLabels": labels }, "action": "DENY", "rules": [{}] });
    let everywhere = json!({ "action": "DENY", "rules": [{}] });
    for (namespace, spec, web, ledger) in [
        ("handfast-system", everywhere.clone(), false, false),
        ("bank", everywhere.clone(), true, false),
        ("elsewhere", everywhere, true, true),
        ("handfast-system", deny(json!({ "app": "web" })), false, true),
        ("shop", deny(json!({ "app": "web" })), false, true),
        ("bank", deny(json!({ "app": "web" })), true, true),
        ("shop", deny(json!({ "app": "web", "tier": "x" })), true, true),
        ("shop", deny(json!({})), false, true),
    ] {
        let mesh = Mesh::of(vec![custom(namespace, "p", spec.clone())]);
        assert_eq!(
            (mesh.allows("web", None, 80), mesh.allows("ledger", None, 80)),
            (web, ledger),
            "{namespace} {spec}"
        );
    }
    let options = Options { root_namespace: "istio-system".into(), ..Options::default() };
    let mesh = Mesh::with(vec![custom("istio-system", "p", deny(json!({})))], &options);
    assert!(!mesh.allows("web", None, 80));
}

#[test]
fn what_is_only_tried_is_said_and_not_done() {
    let annotated = |value: &str, spec: Value| {
        let mut custom = custom("shop", "p", spec);
        custom.metadata = ObjectMeta {
            annotations: Some([("istio.io/dry-run".into(), value.into())].into()),
            ..custom.metadata
        };
        custom
    };
    let deny = json!({ "action": "DENY", "rules": [{}] });
    let audit = json!({ "action": "AUDIT", "rules": [{}] });
    for policy in
        [annotated("true", deny.clone()), annotated("false", audit.clone()), custom("shop", "p", audit)]
    {
        let decision = Mesh::of(vec![policy]).ask("web", None, "10.1.2.3", 80);
        assert!(decision.is_allowed());
        assert_eq!(decision.would_refuse.len(), 1);
    }
    assert!(!Mesh::of(vec![annotated("false", deny.clone())]).allows("web", None, 80));
    // A slip here must not make a policy harmless.
    let mesh = Mesh::of(vec![annotated("ture", deny)]);
    assert!(mesh.0.problems[0].closes && !mesh.allows("web", None, 80));
    assert_eq!(mesh.0.problems[0].path.to_string(), "metadata.annotations[\"istio.io/dry-run\"]");
    // One that is only tried closes nothing, even where it cannot be understood.
    let mesh = Mesh::of(vec![annotated("true", json!({ "rules": 1 }))]);
    assert!(!mesh.0.problems[0].closes && mesh.allows("web", None, 80));
}

#[test]
fn nobodys_objects_use_up_everybodys_memory() {
    let many: Vec<String> = (0..4000).map(|n| format!("cluster.local/ns/shop/sa/account-{n}")).collect();
    let closed = refused(json!({ "rules": [{ "from": [{ "source": { "principals": many } }] }] }));
    assert_eq!(closed, ("HF8030".to_owned(), "spec".to_owned()));
    let ports: serde_json::Map<String, Value> =
        (1..=101).map(|port: u16| (port.to_string(), json!({ "mode": "PERMISSIVE" }))).collect();
    let spec = json!({ "selector": { "matchLabels": { "app": "web" } }, "portLevelMtls": ports });
    let objects = Objects {
        namespaces: vec![namespace("shop", true)],
        pods: vec![pod("shop", "web", &[("app", "web")])],
        peer_authentications: vec![custom("shop", "p", spec)],
        ..Objects::default()
    };
    let found = index(&objects, &Options::default());
    assert!(found.problems[0].message.contains("100 are the most"), "{:?}", found.problems);
    // What cannot be understood means strict.
    assert_eq!(found.workloads[0].modes.inbound.all, model::mesh::Mode::Strict);
}
