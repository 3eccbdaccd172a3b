use serde_json::{Value, json};

use super::*;

fn pod(namespace: &str, app: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": app, "namespace": namespace, "labels": { "app": app } },
        "spec": { "containers": [{ "name": "main", "ports": [{ "name": "hbone", "containerPort": 15008 }] }] },
    }))
    .unwrap()
}

fn namespaces() -> Vec<Namespace> {
    ["shop", "bank"]
        .map(|name| {
            serde_json::from_value(json!({ "metadata": { "name": name, "labels": { "team": name } } }))
                .unwrap()
        })
        .to_vec()
}

fn policy(name: &str, spec: Value) -> NetworkPolicy {
    serde_json::from_value(json!({ "metadata": { "name": name, "namespace": "shop" }, "spec": spec }))
        .unwrap()
}

fn judge(policies: &[NetworkPolicy], from: &Pod, to: &Pod, port: u16, way: Way) -> Verdict {
    let namespaces = namespaces();
    let end = |pod, address: &str| End { address: address.parse().ok(), pod: Some(pod) };
    let connection = Connection { from: end(from, "10.0.0.1"), to: end(to, "10.0.0.2"), port };
    Rules { policies, namespaces: &namespaces }.judge(&connection, way)
}

fn blocked(policies: &[&str], rules: usize) -> Verdict {
    Verdict::Blocked { policies: policies.iter().map(|key| (*key).to_owned()).collect(), rules }
}

fn allowed(policy: &str, rule: usize) -> Verdict {
    Verdict::Allowed { policy: policy.to_owned(), rule }
}

#[test]
fn a_pod_that_no_policy_selects_is_open_and_one_without_rules_is_closed() {
    let (client, web) = (pod("shop", "client"), pod("shop", "web"));
    let other = policy("other", json!({ "podSelector": { "matchLabels": { "app": "db" } } }));
    assert_eq!(judge(&[other], &client, &web, 15008, Way::Ingress), Verdict::Unselected);
    let deny = policy("deny", json!({ "podSelector": {} }));
    assert_eq!(
        judge(std::slice::from_ref(&deny), &client, &web, 15008, Way::Ingress),
        blocked(&["shop/deny"], 0)
    );
    // Without types it says nothing of egress.
    assert_eq!(judge(&[deny], &client, &web, 15008, Way::Egress), Verdict::Unselected);
    let both = policy("both", json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }));
    assert_eq!(
        judge(std::slice::from_ref(&both), &client, &web, 80, Way::Egress),
        blocked(&["shop/both"], 0)
    );
    // Another namespace's pods are not its business.
    assert_eq!(judge(&[both], &pod("bank", "client"), &web, 80, Way::Egress), Verdict::Unselected);
}

#[test]
fn a_policy_for_the_applications_port_does_not_let_tunnels_in() {
    let (client, web) = (pod("shop", "client"), pod("shop", "web"));
    let spec = json!({
        "podSelector": { "matchLabels": { "app": "web" } },
        "ingress": [
            { "from": [{ "podSelector": { "matchLabels": { "app": "db" } } }] },
            { "from": [{ "podSelector": { "matchLabels": { "app": "client" } } }], "ports": [{ "port": 8080 }] },
        ],
    });
    let web_only = policy("web", spec);
    assert_eq!(
        judge(std::slice::from_ref(&web_only), &client, &web, 8080, Way::Ingress),
        allowed("shop/web", 1)
    );
    assert_eq!(
        judge(std::slice::from_ref(&web_only), &client, &web, 15008, Way::Ingress),
        blocked(&["shop/web"], 2)
    );
    let spec = json!({ "podSelector": {}, "ingress": [{ "ports": [{ "port": 15000, "endPort": 15010 }] }] });
    let tunnels = policy("tunnels", spec);
    assert_eq!(judge(&[web_only, tunnels], &client, &web, 15008, Way::Ingress), allowed("shop/tunnels", 0));
}

#[test]
fn peers_are_known_by_labels_of_their_pod_and_of_their_namespace() {
    let web = pod("shop", "web");
    let of = |peer: Value| policy("p", json!({ "podSelector": {}, "ingress": [{ "from": [peer] }] }));
    let cases = [
        (json!({ "podSelector": {} }), "shop", true),
        (json!({ "podSelector": {} }), "bank", false),
        (json!({ "namespaceSelector": {} }), "bank", true),
        (json!({ "namespaceSelector": { "matchLabels": { "team": "bank" } } }), "bank", true),
        (json!({ "namespaceSelector": { "matchLabels": { "team": "bank" } } }), "shop", false),
        (json!({ "namespaceSelector": {}, "podSelector": { "matchLabels": { "app": "x" } } }), "bank", false),
        (json!({ "ipBlock": { "cidr": "10.0.0.0/24" } }), "bank", true),
        (json!({ "ipBlock": { "cidr": "10.0.0.0/24", "except": ["10.0.0.1/32"] } }), "bank", false),
        (json!({ "ipBlock": { "cidr": "fd00::/8" } }), "bank", false),
    ];
    for (peer, namespace, passes) in cases {
        let verdict = judge(&[of(peer.clone())], &pod(namespace, "client"), &web, 15008, Way::Ingress);
        assert_eq!(verdict.passes(), passes, "{peer} from {namespace}");
    }
}

#[test]
fn a_port_by_name_is_the_called_pods_and_another_protocol_is_not_meant() {
    let (client, web) = (pod("shop", "client"), pod("shop", "web"));
    let of = |port: Value| policy("p", json!({ "podSelector": {}, "ingress": [{ "ports": [port] }] }));
    let cases = [
        (json!({ "port": "hbone" }), true),
        (json!({ "port": "http" }), false),
        (json!({ "port": 15008, "protocol": "UDP" }), false),
        (json!({ "protocol": "TCP" }), true),
    ];
    for (port, passes) in cases {
        let verdict = judge(&[of(port.clone())], &client, &web, 15008, Way::Ingress);
        assert_eq!(verdict.passes(), passes, "{port}");
    }
}

#[test]
fn a_pod_in_the_nodes_network_is_no_peer_and_no_policy_holds_for_it() {
    let web = pod("shop", "web");
    let mut on_host = pod("shop", "client");
    on_host.spec.as_mut().unwrap().host_network = Some(true);
    let open = policy("open", json!({ "podSelector": {}, "ingress": [{ "from": [{ "podSelector": {} }] }] }));
    assert!(!judge(&[open], &on_host, &web, 80, Way::Ingress).passes());
    let deny = policy("deny", json!({ "podSelector": {}, "policyTypes": ["Egress", "Ingress"] }));
    assert_eq!(judge(&[deny], &on_host, &web, 80, Way::Egress), Verdict::Unselected);
}
