use certs::AltName;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::certificates::v1beta1::PodCertificateRequest;
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::authority::State;
use crate::grant::Domains;
use crate::names::SIGNER;

const NOW: OffsetDateTime = datetime!(2026-08-01 00:00 UTC);
const DAY: Duration = Duration::days(1);

fn domains() -> Domains {
    Domains { trust: "cluster.local".parse().unwrap(), cluster: "cluster.local".to_owned() }
}

fn request(names: &[&str], ca: bool) -> Vec<u8> {
    testkit::request::signing_request(names, ca)
}

fn vouched() -> Vouched {
    let service = |name: &str, app: &str, kind: &str| {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "shop" },
            "spec": { "type": kind, "selector": { "app": app } }
        }))
        .unwrap()
    };
    Vouched {
        pod: serde_json::from_value(json!({
            "metadata": { "name": "web-0", "namespace": "shop", "uid": "pod-1", "labels": { "app": "web" } },
            "spec": { "containers": [], "serviceAccountName": "web", "nodeName": "node" }
        }))
        .unwrap(),
        service_account: serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "sa-1" }
        }))
        .unwrap(),
        services: vec![
            service("web", "web", "ClusterIP"),
            service("db", "db", "ClusterIP"),
            service("evil", "web", "ExternalName"),
        ],
    }
}

fn csr(change: impl FnOnce(&mut Value)) -> CertificateSigningRequest {
    let mut value = json!({
        "metadata": { "name": "csr-1" },
        "spec": {
            "signerName": SIGNER,
            "request": k8s_openapi::ByteString(request(&["web.shop.svc"], false)),
            "username": "system:serviceaccount:shop:web",
            "uid": "sa-1",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
            "extra": {
                "authentication.kubernetes.io/pod-name": ["web-0"],
                "authentication.kubernetes.io/pod-uid": ["pod-1"]
            },
            "usages": ["digital signature", "client auth"],
            "expirationSeconds": 3600
        }
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

fn denial(csr: &CertificateSigningRequest, vouched: &Vouched) -> Denial {
    match decide_csr(csr, vouched, &domains(), DAY) {
        Decision::Deny(denial) => denial,
        other => panic!("{other:?}"),
    }
}

fn grant(csr: &CertificateSigningRequest) -> Grant {
    match decide_csr(csr, &vouched(), &domains(), DAY) {
        Decision::Sign(grant) => *grant,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_denial_says_is_not_as_long_as_what_was_asked_for() {
    let denial = Denial::beyond("NameNotJustified", "x".repeat(100_000));
    let text = denial.text();
    assert!(text.starts_with("HF70") && text.len() < 1010, "{}", text.len());
}

#[test]
fn the_names_are_the_service_accounts_and_the_services_whatever_the_request_asks() {
    let expected = [
        "spiffe://cluster.local/ns/shop/sa/web",
        "web",
        "web.shop",
        "web.shop.svc",
        "web.shop.svc.cluster.local",
    ];
    for names in [&["web.shop.svc"][..], &[]] {
        let request =
            csr(|csr| csr["spec"]["request"] = json!(k8s_openapi::ByteString(request(names, false))));
        let granted: Vec<String> = grant(&request).names.iter().map(AltName::value).collect();
        assert_eq!(granted, expected);
    }
}

#[test]
fn a_name_beyond_the_justified_ones_denies_the_whole_request() {
    for name in [
        "db.shop.svc",
        "web.bank.svc",
        "*.shop.svc",
        "evil",
        "10.0.0.1",
        "spiffe://cluster.local/ns/shop/sa/db",
    ] {
        let wanted = k8s_openapi::ByteString(request(&["web.shop.svc", name], false));
        let denial = denial(&csr(|csr| csr["spec"]["request"] = json!(wanted)), &vouched());
        assert_eq!(denial.reason, "NameNotJustified", "{name}");
        assert!(denial.message.contains(name), "{}", denial.message);
    }
    let wanted = k8s_openapi::ByteString(request(&[], true));
    assert_eq!(denial(&csr(|csr| csr["spec"]["request"] = json!(wanted)), &vouched()).reason, "NotGranted");
}

#[test]
fn only_a_token_that_is_bound_to_a_live_pod_of_that_account_counts() {
    let of = |change: fn(&mut Value)| denial(&csr(|csr| change(&mut csr["spec"])), &vouched()).reason;
    assert_eq!(of(|spec| spec["username"] = json!("alice")), "NotAServiceAccount");
    assert_eq!(of(|spec| spec["groups"] = json!(["system:authenticated"])), "NotAServiceAccount");
    assert_eq!(of(|spec| spec["groups"][1] = json!("system:serviceaccounts:bank")), "NotAServiceAccount");
    assert_eq!(of(|spec| drop(spec.as_object_mut().unwrap().remove("uid"))), "NotAServiceAccount");
    assert_eq!(of(|spec| spec["extra"] = json!({})), "TokenNotBound");
    assert_eq!(of(|spec| spec["uid"] = json!("sa-0")), "ServiceAccountGone");
    assert_eq!(
        of(|spec| spec["extra"]["authentication.kubernetes.io/pod-uid"] = json!(["pod-0"])),
        "PodGone"
    );
    assert_eq!(of(|spec| spec["usages"] = json!(["cert sign"])), "UsageNotGranted");
    assert_eq!(
        of(|spec| spec["request"] = json!(k8s_openapi::ByteString(b"nothing".to_vec()))),
        "BadRequest"
    );
    let mut other = vouched();
    other.pod.as_mut().unwrap().spec.as_mut().unwrap().service_account_name = Some("db".to_owned());
    assert_eq!(denial(&csr(|_| {}), &other).reason, "WrongServiceAccount");
    let mut over = vouched();
    over.pod.as_mut().unwrap().status = serde_json::from_value(json!({ "phase": "Failed" })).unwrap();
    assert_eq!(denial(&csr(|_| {}), &over).reason, "PodEnded");
    assert_eq!(denial(&csr(|_| {}), &Vouched::default()).reason, "ServiceAccountGone");
}

#[test]
fn the_lifetime_is_honoured_within_its_limits() {
    let life = |seconds: Value| grant(&csr(|csr| csr["spec"]["expirationSeconds"] = seconds)).lifetime;
    assert_eq!(life(json!(3600)), Duration::HOUR);
    assert_eq!(life(json!(600)), SHORTEST);
    assert_eq!(life(json!(1)), SHORTEST);
    assert_eq!(life(json!(2_000_000_000)), DAY);
    assert_eq!(life(Value::Null), USUAL.min(DAY));
}

#[test]
fn what_is_not_ours_or_is_decided_is_left_alone() {
    for change in [
        |csr: &mut Value| csr["spec"]["signerName"] = json!("kubernetes.io/kubelet-serving"),
        |csr: &mut Value| csr["status"] = json!({ "conditions": [{ "type": "Denied", "status": "True" }] }),
        |csr: &mut Value| csr["status"] = json!({ "certificate": "YQ==" }),
    ] {
        assert!(matches!(decide_csr(&csr(change), &vouched(), &domains(), DAY), Decision::Ignore));
    }
}

#[test]
fn a_request_that_somebody_approved_by_hand_is_failed_and_not_signed() {
    let approved = csr(|csr| {
        csr["status"] = json!({ "conditions": [{ "type": "Approved", "status": "True" }] });
        csr["spec"]["extra"] = json!({});
    });
    let why = denial(&approved, &vouched());
    assert!(denied(&approved, &why, NOW).is_none());
    let failed = serde_json::to_value(failed(&approved, &why, NOW)).unwrap();
    assert_eq!(failed["status"]["conditions"][1]["type"], "Failed");
    assert_eq!(failed["status"]["conditions"][1]["reason"], "TokenNotBound");
}

fn pod_request(change: impl FnOnce(&mut Value)) -> PodCertificateRequest {
    let mut value = json!({
        "metadata": { "name": "r", "namespace": "shop" },
        "spec": {
            "signerName": SIGNER, "podName": "web-0", "podUID": "pod-1",
            "serviceAccountName": "web", "serviceAccountUID": "sa-1", "nodeName": "node", "nodeUID": "node-1",
            "maxExpirationSeconds": 7200,
            "stubPKCS10Request": k8s_openapi::ByteString(request(&[], false))
        }
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_pods_request_gets_the_same_names_and_all_of_its_status_at_once() {
    let wanted = pod_request(|_| {});
    let Decision::Sign(grant) = decide_pod(&wanted, &vouched(), &domains(), DAY) else { panic!() };
    assert_eq!(grant.names.len(), 5);
    assert_eq!(grant.lifetime, Duration::hours(2) - BACKDATED);
    let authority = State::new(domains().trust, NOW - Duration::HOUR).unwrap();
    let signed = sign(&grant, &authority, NOW).unwrap();
    let status = serde_json::to_value(issued_pod(&signed, NOW)).unwrap();
    // Two hours between the two dates, not a second more: the API server refuses what is longer than asked for.
    assert_eq!(
        (status["notBefore"].as_str(), status["notAfter"].as_str(), status["beginRefreshAt"].as_str()),
        (Some("2026-07-31T23:58:00Z"), Some("2026-08-01T01:58:00Z"), Some("2026-08-01T01:18:00Z"))
    );
    assert_eq!(status["certificateChain"].as_str().unwrap().matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(status["conditions"][0]["type"], "Issued");
}

#[test]
fn a_pods_request_from_another_node_or_for_another_pod_is_denied() {
    let reason = |change: fn(&mut Value)| match decide_pod(
        &pod_request(|r| change(&mut r["spec"])),
        &vouched(),
        &domains(),
        DAY,
    ) {
        Decision::Deny(denial) => denial.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(|spec| spec["nodeName"] = json!("other")), "WrongNode");
    assert_eq!(reason(|spec| spec["podUID"] = json!("pod-0")), "PodGone");
    assert_eq!(reason(|spec| spec["serviceAccountUID"] = json!("sa-0")), "ServiceAccountGone");
    let other = k8s_openapi::ByteString(request(&["db"], false));
    let named = pod_request(|request| request["spec"]["stubPKCS10Request"] = json!(other));
    assert!(matches!(decide_pod(&named, &vouched(), &domains(), DAY), Decision::Deny(_)));
    let done = pod_request(|request| {
        request["status"] = json!({ "conditions": [
            { "type": "Issued", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "2026-08-01T00:00:00Z" }
        ]})
    });
    assert!(matches!(decide_pod(&done, &vouched(), &domains(), DAY), Decision::Ignore));
}

#[test]
fn no_certificate_outlives_its_issuer_or_is_shorter_than_the_api_takes() {
    let wanted = pod_request(|_| {});
    let Decision::Sign(grant) = decide_pod(&wanted, &vouched(), &domains(), DAY) else { panic!() };
    let authority = State::new(domains().trust, NOW).unwrap();
    let ends = authority.active().unwrap().0.certificate.not_after;
    let signed = sign(&grant, &authority, ends - Duration::minutes(70)).unwrap();
    assert_eq!(signed.not_after, ends);
    let late = sign(&grant, &authority, ends - Duration::minutes(50)).unwrap_err();
    assert!(matches!(late, crate::error::Error::IssuerEnds { .. }), "{late}");
}

#[test]
fn a_kubelet_that_sends_no_request_is_told_so() {
    let old = pod_request(|request| request["spec"]["stubPKCS10Request"] = json!(""));
    let Decision::Deny(denial) = decide_pod(&old, &vouched(), &domains(), DAY) else { panic!() };
    assert_eq!(denial.reason, "NoRequest");
    assert!(denial.text().starts_with("HF7082: ") && denial.message.contains("older than 1.36"));
}
