//! The platform's own certificate APIs on a real Kubernetes: pods ask with a CertificateSigningRequest or get their
//! certificate from the kubelet, others are refused, and whoever kills the controller gets no second certificate.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test stops where something is not as expected"
)]

#[path = "kube_signer/asking.rs"]
mod asking;
#[path = "kube_signer/faults.rs"]
mod faults;
#[path = "kube/scene.rs"]
mod scene;

use asking::{Place, condition, example, in_pod, is_decided};
use std::time::{Duration, Instant};

use scene::{SOON, openssl};
use serde_json::Value;

fn cluster() -> Option<scene::Turn> {
    let turn = scene::take_turn(testkit::binary!())?;
    asking::load_openssl(&turn);
    Some(turn)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

#[test]
fn a_pod_asks_with_its_own_token_and_gets_its_service_accounts_identity() {
    let Some(turn) = cluster() else { return };
    turn.kubectl(&["create", "namespace", "asking"]);
    turn.kubectl(&["-n", "asking", "apply", "-f", &example("certificate-by-request.yaml")]);
    let pod = turn.wait(&["-n", "asking", "pod", "asker"], SOON, is_ready);
    let name = format!("asker-{}", pod["metadata"]["uid"].as_str().unwrap());
    let csr = turn.get(&["csr", &name]);
    assert_eq!(csr["spec"]["username"], "system:serviceaccount:asking:asker");
    let approved = condition(&csr, "Approved");
    assert_eq!(approved["reason"], "PodVouchedFor", "{csr:#}");

    // Exactly one URI, which is the account's, and no other name; the pod's own key; verified against the bundle.
    let place = Place::new();
    let chain = place.file("tls.crt", &in_pod(&turn, "asking", "asker", "cat /tls/tls.crt"));
    let bundle = turn.get(&["clustertrustbundle", "handfast.dev:workload:bundle"]);
    let root = place.file("ca.crt", bundle["spec"]["trustBundle"].as_str().unwrap());
    place.verify(&root, &chain);
    let names = openssl(&["x509", "-in", &chain, "-noout", "-ext", "subjectAltName"]);
    assert_eq!(names.lines().last().unwrap().trim(), "URI:spiffe://cluster.local/ns/asking/sa/asker");
    let public = openssl(&["x509", "-in", &chain, "-noout", "-pubkey"]);
    assert_eq!(in_pod(&turn, "asking", "asker", "openssl pkey -in /tls/tls.key -pubout"), public);

    // Each step is in the audit log, once; what people look at says it too.
    let log = scene::audit(&turn);
    let actions: Vec<&str> = log
        .iter()
        .filter(|line| line["name"] == *name)
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["approve", "issue"]);
    let line = log.iter().find(|line| line["name"] == *name && line["action"] == "issue").unwrap();
    assert_eq!(line["serial"], asking::serial(&chain));
    turn.wait(&["-n", "default", "events.events.k8s.io"], SOON, |found| {
        let events = found["items"].as_array().into_iter().flatten();
        events.into_iter().any(|e| e["reason"] == "Issued" && e["regarding"]["name"] == *name)
    });
    let metrics = scene::metrics(&turn);
    assert!(
        metrics
            .contains("handfast_signer_requests_total{kind=\"CertificateSigningRequest\",result=\"issued\"")
    );
    turn.kubectl(&["delete", "namespace", "asking", "--wait=false"]);
}

#[test]
fn whoever_is_not_a_pod_or_asks_for_more_is_denied_with_a_reason() {
    let Some(turn) = cluster() else { return };
    asking::waiting_pod(&turn, "refused");
    let place = Place::new();
    let bound = asking::pod_token(&turn, "refused");
    let loose = turn.kubectl(&["-n", "refused", "create", "token", "waiter"]).trim().to_owned();
    let plain = place.request("/CN=admin/O=system:masters", &[]);
    let other =
        place.request("/", &["-addext", "subjectAltName=URI:spiffe://cluster.local/ns/kube-system/sa/root"]);
    let dns = place.request("/", &["-addext", "subjectAltName=DNS:kubernetes.default.svc"]);
    let authority = place.request("/", &["-addext", "basicConstraints=critical,CA:TRUE"]);
    let usual = "client auth";
    let cases = [
        ("user", None, &plain, usual, "NotAServiceAccount", "HF7080", "signs for pods only"),
        ("loose", Some(&loose), &plain, usual, "TokenNotBound", "HF7080", "is not bound to a pod"),
        ("other", Some(&bound), &other, usual, "NameNotJustified", "HF7081", "ns/kube-system/sa/root"),
        ("dns", Some(&bound), &dns, usual, "NameNotJustified", "HF7081", "kubernetes.default.svc"),
        ("ca", Some(&bound), &authority, usual, "NotGranted", "HF7081", "to be an authority"),
        ("signing", Some(&bound), &plain, "cert sign", "UsageNotGranted", "HF7081", "\"cert sign\""),
    ];
    for (name, token, request, usage, ..) in &cases {
        place.ask(&turn, &format!("refused-{name}"), request, usage, token.map(String::as_str));
    }
    for (name, .., reason, code, words) in &cases {
        let name = format!("refused-{name}");
        let csr = turn.wait(&["csr", &name], SOON, is_decided);
        let denied = condition(&csr, "Denied");
        assert_eq!(denied["reason"], *reason, "{csr:#}");
        let message = denied["message"].as_str().unwrap();
        assert!(message.starts_with(code) && message.contains(words), "{name}: {message}");
        assert!(csr["status"]["certificate"].is_null());
        let log = scene::audit(&turn);
        assert!(log.iter().any(|line| line["action"] == "deny" && line["name"] == *name), "{name}");
    }
    // A subject is nobody's identity: the same request with the pod's token is signed, and the subject is not taken.
    place.ask(&turn, "refused-not", &plain, usual, Some(&bound));
    let csr = turn.wait(&["csr", "refused-not"], SOON, |csr| !csr["status"]["certificate"].is_null());
    let chain = place.file("not.crt", &asking::certificate(&csr));
    let text = openssl(&["x509", "-in", &chain, "-noout", "-subject", "-ext", "subjectAltName"]);
    assert!(text.contains("URI:spiffe://cluster.local/ns/refused/sa/waiter"), "{text}");
    assert!(!text.contains("masters") && !text.contains("admin"), "{text}");
    // An administrator's approval is no identity either.
    place.ask(&turn, "refused-approved", &plain, usual, Some(&loose));
    let _ = turn.try_kubectl(&["certificate", "approve", "refused-approved"]);
    let csr = turn.wait(&["csr", "refused-approved"], SOON, is_decided);
    assert!(csr["status"]["certificate"].is_null(), "{csr:#}");
    turn.kubectl(&["delete", "namespace", "refused", "--wait=false"]);
}

#[test]
fn two_pods_prove_themselves_with_certificates_from_the_kubelet_and_no_secret() {
    let Some(turn) = cluster() else { return };
    turn.kubectl(&["create", "namespace", "projected"]);
    turn.kubectl(&["-n", "projected", "apply", "-f", &example("pod-certificates.yaml")]);
    for pod in ["greeter", "guest"] {
        turn.wait(&["-n", "projected", "pod", pod], SOON, is_ready);
    }
    let secrets = turn.get(&["-n", "projected", "secrets"]);
    assert_eq!(secrets["items"].as_array().unwrap().len(), 0, "{secrets:#}");

    let place = Place::new();
    let root = place.file("ca.crt", &in_pod(&turn, "projected", "guest", "cat /tls/ca.crt"));
    for (pod, names) in [
        (
            "greeter",
            "URI:spiffe://cluster.local/ns/projected/sa/greeter, DNS:greeter, DNS:greeter.projected, \
             DNS:greeter.projected.svc, DNS:greeter.projected.svc.cluster.local",
        ),
        ("guest", "URI:spiffe://cluster.local/ns/projected/sa/guest"),
    ] {
        // The key stays in the pod.
        let chain = in_pod(&turn, "projected", pod, "sed '/PRIVATE/,/PRIVATE/d' /tls/credentials.pem");
        let chain = place.file(&format!("{pod}.crt"), &chain);
        place.verify(&root, &chain);
        let text = openssl(&["x509", "-in", &chain, "-noout", "-ext", "subjectAltName"]);
        assert_eq!(text.lines().last().unwrap().trim(), names);
    }
    let dial = |credentials: &str| {
        let dial = format!(
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 10 openssl s_client -connect greeter:8443 -CAfile /tls/ca.crt \
             -verify_return_error -verify_hostname greeter.projected.svc -quiet {credentials} 2>&1; true"
        );
        in_pod(&turn, "projected", "guest", &dial)
    };
    // The cluster's DNS hears of a Service a moment after it was made.
    let deadline = Instant::now() + SOON;
    while dial("").contains("Name or service not known") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(500));
    }
    let good = dial("-cert /tls/credentials.pem -key /tls/credentials.pem -cert_chain /tls/credentials.pem");
    assert!(good.contains("HTTP/1.0 200"), "{good}");
    // The page says whom the server has seen.
    assert!(good.contains("Client certificate") && good.contains("ns/projected/sa/guest"), "{good}");
    let none = dial("");
    assert!(!none.contains("HTTP/1.0 200") && none.contains("certificate required"), "{none}");

    // All of the status at once, within what the kubelet asked for.
    let requests = turn.get(&["-n", "projected", "podcertificaterequests"]);
    let requests = requests["items"].as_array().unwrap();
    assert_eq!(requests.len(), 2, "{requests:#?}");
    for request in requests {
        assert_eq!(condition(request, "Issued")["status"], "True");
        for field in ["certificateChain", "notBefore", "notAfter", "beginRefreshAt"] {
            assert!(request["status"][field].is_string(), "{request:#}");
        }
    }
    let log = scene::audit(&turn);
    let issued = log.iter().filter(|line| line["namespace"] == "projected" && line["action"] == "issue");
    assert_eq!(issued.count(), 2);

    // A request in the name of a pod that does not exist.
    place.ask_for_pod(&turn, "projected", "forged", &requests[0]["spec"]);
    let words = ["-n", "projected", "podcertificaterequest", "forged"];
    let forged = turn.wait(&words, SOON, |found| !found["status"]["conditions"].is_null());
    let denied = condition(&forged, "Denied");
    assert_eq!(denied["reason"], "PodGone", "{forged:#}");
    assert!(denied["message"].as_str().unwrap().starts_with("HF7080: "), "{denied}");
    turn.kubectl(&["delete", "namespace", "projected", "--wait=false"]);
}
