use certs::{KeyKind, PrivateKey};
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use k8s_openapi::api::core::v1::Pod;
use model::identity::TrustDomain;
use serde_json::{Value, json};
use time::Duration;

use super::review::bearer;
use super::*;
use crate::signer::{Denial, Grant};

fn status(change: impl FnOnce(&mut Value)) -> TokenReviewStatus {
    let mut status = json!({
        "authenticated": true,
        "audiences": ["istio-ca"],
        "user": {
            "username": "system:serviceaccount:shop:web",
            "extra": {
                "authentication.kubernetes.io/pod-name": ["web-1"],
                "authentication.kubernetes.io/pod-uid": ["u-1"],
                "authentication.kubernetes.io/node-name": ["one"],
            },
        },
    });
    change(&mut status);
    serde_json::from_value(status).unwrap()
}

fn pod(name: &str, account: &str, node: &str, uid: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "shop", "uid": uid },
        "spec": { "serviceAccountName": account, "nodeName": node, "containers": [] },
        "status": { "phase": "Running" },
    }))
    .unwrap()
}

fn csr(uri: Option<&str>) -> String {
    let key = PrivateKey::generate(KeyKind::P256).unwrap();
    let names: Vec<_> = uri.iter().map(|uri| certs::AltName::uri(uri).unwrap()).collect();
    certs::Csr::request(&key, &names).unwrap()
}

fn decided(
    bearer: &Bearer,
    pods: &[Pod],
    nodes: &[&str],
    uri: Option<&str>,
    seconds: i64,
    impersonated: Option<&str>,
) -> Result<Grant, Denial> {
    let nodes: Vec<NodeAccount> = nodes.iter().map(|node| node.parse().unwrap()).collect();
    let csr = csr(uri);
    let asked = Asked { csr: &csr, seconds, impersonated };
    decide(bearer, pods.first(), pods, &nodes, &TrustDomain::default(), &asked)
}

#[test]
fn a_token_is_good_only_for_us_and_for_a_pod() {
    let good = bearer(&status(|_| {})).unwrap();
    assert_eq!(
        (good.namespace.as_str(), good.pod.as_str(), good.node.as_deref()),
        ("shop", "web-1", Some("one"))
    );
    let reason = |change: fn(&mut Value)| bearer(&status(change)).unwrap_err().reason;
    assert_eq!(reason(|status| status["authenticated"] = false.into()), "TokenInvalid");
    assert_eq!(
        reason(|status| status["audiences"] = json!(["https://kubernetes.default.svc"])),
        "TokenAudience"
    );
    // An API server that does not know of audiences answers with none: then it is a token for itself.
    assert_eq!(reason(|status| status["audiences"] = Value::Null), "TokenAudience");
    assert_eq!(reason(|status| status["user"]["username"] = "system:node:one".into()), "NotAServiceAccount");
    assert_eq!(reason(|status| status["user"]["extra"] = json!({})), "TokenNotBound");
}

#[test]
fn a_pod_gets_its_own_identity_for_a_day_and_no_other() {
    let bearer = bearer(&status(|_| {})).unwrap();
    let pods = [pod("web-1", "web", "one", "u-1"), pod("bank-1", "bank", "one", "u-2")];
    const OWN: &str = "spiffe://cluster.local/ns/shop/sa/web";
    for uri in [None, Some(OWN)] {
        let grant = decided(&bearer, &pods, &[], uri, 0, None).unwrap();
        assert_eq!(grant.names, [certs::AltName::uri(OWN).unwrap()]);
        assert_eq!(grant.lifetime, Duration::hours(24));
    }
    // Less than a day is granted, more is not.
    assert_eq!(decided(&bearer, &pods, &[], None, 3600, None).unwrap().lifetime, Duration::hours(1));
    assert_eq!(decided(&bearer, &pods, &[], None, i64::MAX, None).unwrap().lifetime, Duration::hours(24));
    assert_eq!(decided(&bearer, &pods, &[], None, -1, None).unwrap().lifetime, Duration::hours(24));
    // A request that names somebody else is refused, rather than answered with something else than it asks for.
    let other = "spiffe://cluster.local/ns/shop/sa/bank";
    assert!(decided(&bearer, &pods, &[], Some(other), 0, None).unwrap_err().message.contains(other));
    // So is one in the name of somebody else, by whoever carries no node.
    let denied = decided(&bearer, &pods, &[], Some(other), 0, Some(other)).unwrap_err();
    assert!(denied.message.contains("may not ask"), "{}", denied.message);
}

#[test]
fn a_token_outlives_neither_its_pod_nor_its_account() {
    let bearer = bearer(&status(|_| {})).unwrap();
    let reason = |pods: &[Pod]| decided(&bearer, pods, &[], None, 0, None).unwrap_err().reason;
    assert_eq!(reason(&[]), "PodGone");
    assert_eq!(reason(&[pod("web-1", "web", "one", "another")]), "PodGone");
    assert_eq!(reason(&[pod("web-1", "bank", "one", "u-1")]), "WrongServiceAccount");
    let mut ended = pod("web-1", "web", "one", "u-1");
    ended.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
    assert_eq!(reason(&[ended]), "PodEnded");
}

#[test]
fn a_nodes_proxy_gets_the_identities_of_its_own_node_only() {
    let bearer = bearer(&status(|_| {})).unwrap();
    let pods = [
        pod("web-1", "web", "one", "u-1"),
        pod("here-1", "here", "one", "u-2"),
        pod("there-1", "there", "two", "u-3"),
    ];
    let name = |account: &str| format!("spiffe://cluster.local/ns/shop/sa/{account}");
    let asks =
        |account: &str| decided(&bearer, &pods, &["shop/web"], Some(&name(account)), 0, Some(&name(account)));
    assert_eq!(asks("here").unwrap().names, [certs::AltName::uri(&name("here")).unwrap()]);
    assert!(asks("there").unwrap_err().message.contains("no pod of"));
    assert!(asks("nobody").unwrap_err().message.contains("no pod of"));
    // The last pod of that account on this node has ended.
    let mut over = pods.clone();
    over[1].status.as_mut().unwrap().phase = Some("Failed".to_owned());
    let denied = decided(&bearer, &over, &["shop/web"], None, 0, Some(&name("here"))).unwrap_err();
    assert!(denied.message.contains("no pod of"), "{}", denied.message);
    // A token that says another node was not made for this pod.
    let mut elsewhere = bearer.clone();
    elsewhere.node = Some("two".to_owned());
    let denied = decided(&elsewhere, &pods, &["shop/web"], None, 0, Some(&name("here"))).unwrap_err();
    assert!(denied.message.contains("another node"), "{}", denied.message);
}

#[test]
fn only_a_proxy_is_told_of_the_mesh() {
    let bearer = bearer(&status(|_| {})).unwrap();
    let nodes: Vec<NodeAccount> = vec!["shop/web".parse().unwrap()];
    let plain = pod("web-1", "web", "one", "u-1");
    let denied = takes_part(&bearer, &plain, &[]).unwrap_err();
    assert_eq!(denied.code.id, "HF8039");
    assert!(denied.message.starts_with("the pod shop/web-1 has no proxy of the mesh"), "{}", denied.message);
    takes_part(&bearer, &plain, &nodes).unwrap();
    let mut half = plain.clone();
    half.metadata.annotations = Some([("handfast.dev/injected".to_owned(), "1".to_owned())].into());
    takes_part(&bearer, &half, &[]).unwrap_err();
    let mut whole = serde_json::to_value(&half).unwrap();
    whole["spec"]["initContainers"] = json!([{ "name": "handfast-proxy" }]);
    takes_part(&bearer, &serde_json::from_value(whole).unwrap(), &[]).unwrap();
}

#[test]
fn naming_a_foreign_proxys_account_does_not_lock_out_our_own() {
    let account = |text: &str| text.parse::<NodeAccount>().unwrap();
    let (own, foreign) = (account("handfast-node/handfast-node"), account("istio-system/ztunnel"));
    assert_eq!(NodeAccount::with_own(&[]), std::slice::from_ref(&own));
    let both = [own.clone(), foreign.clone()];
    assert_eq!(NodeAccount::with_own(std::slice::from_ref(&foreign)), both);
    assert_eq!(NodeAccount::with_own(&[foreign, own]), both);
}
