//! Seeing and checking the mesh on a real Kubernetes: what is wrong is made wrong, and each command has to find it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where something is not as expected"
)]

#[path = "kube/scene.rs"]
#[expect(dead_code, reason = "it is shared with other tests")]
mod scene;

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::cluster::{BUSYBOX, Cluster, IMAGE};
use testkit::program::Finished;

const NAMESPACE: &str = "see-shop";

/// The mesh with a client, a server, and a stranger outside of it.
fn mesh() -> Option<scene::Turn> {
    let turn = scene::take_turn(testkit::binary!())?;
    let words = [
        "mesh",
        "install",
        "--apply",
        "--crds",
        "--image",
        IMAGE,
        "--image-pull-policy",
        "Never",
        "--replicas",
        "1",
    ];
    let done = turn.handfast(&words);
    assert_eq!(done.code, Some(0), "{}", done.all());
    turn.apply(&format!(
        "
{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}
---
{{apiVersion: v1, kind: Namespace, metadata: {{name: see-out}}}}
---
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: web, namespace: {NAMESPACE}}}}}
---
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: client, namespace: {NAMESPACE}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {NAMESPACE}}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
"
    ));
    for namespace in [NAMESPACE, "see-out"] {
        turn.wait(&["-n", namespace, "serviceaccount", "default"], scene::SOON, |found| !found.is_null());
    }
    // Before the label.
    pod(&turn, NAMESPACE, "old", "default", "sleep 100000");
    turn.kubectl(&["label", "namespace", NAMESPACE, "handfast.dev/mesh=enabled"]);
    turn.wait(&["-n", NAMESPACE, "configmap", "handfast-trust"], scene::SOON, |found| !found.is_null());
    let serve = "mkdir -p /tmp/w && echo hello > /tmp/w/index.html && exec httpd -f -p 8080 -h /tmp/w";
    pod(&turn, NAMESPACE, "web", "web", serve);
    pod(&turn, NAMESPACE, "client", "client", "sleep 100000");
    pod(&turn, "see-out", "stranger", "default", "sleep 100000");
    for (namespace, name) in [(NAMESPACE, "web"), (NAMESPACE, "client"), ("see-out", "stranger")] {
        turn.wait(&["-n", namespace, "pod", name], Duration::from_secs(90), |found| {
            let conditions = found["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
        });
    }
    Some(turn)
}

fn pod(cluster: &Cluster, namespace: &str, name: &str, account: &str, script: &str) {
    cluster.apply(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  serviceAccountName: {account}
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: '{BUSYBOX}', imagePullPolicy: Never, command: [sh, -c, '{script}']}}]
"
    ));
}

fn json(done: &Finished) -> Value {
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}\n{}", done.all()))
}

fn row<'a>(report: &'a Value, id: &str) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{id}: {report:#}"))
}

/// Asks until it is so.
fn until(what: &str, mut is: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + scene::SOON;
    loop {
        match is() {
            Ok(()) => return,
            Err(last) => assert!(Instant::now() < end, "{what}: {last}"),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn what_is_wrong_with_a_mesh_is_found_and_named() {
    let Some(mesh) = mesh() else { return };

    // Who is there, and who should be.
    until("both proxies are connected", || {
        let done = mesh.handfast(&["mesh", "status", "-n", NAMESPACE, "-o", "json"]);
        let status = json(&done);
        let pods: Vec<&str> =
            status["proxies"].as_array().unwrap().iter().filter_map(|one| one["pod"].as_str()).collect();
        let missing: Vec<&str> =
            status["missing"].as_array().unwrap().iter().filter_map(|one| one["pod"].as_str()).collect();
        (pods == ["client", "web"] && missing == ["old"]).then_some(()).ok_or_else(|| done.all())
    });
    assert_eq!(mesh.handfast(&["mesh", "status", "--fail-on", "missing"]).code, Some(3));

    // The pod from before the label, and nothing else.
    let done = mesh.handfast(&["mesh", "check", "-o", "json"]);
    assert_eq!(done.code, Some(3), "{}", done.all());
    let report = json(&done);
    assert_eq!((report["failed"].as_u64(), report["skipped"].as_u64()), (Some(1), Some(0)), "{report:#}");
    assert_eq!(row(&report, "pods")["evidence"][0], format!("{NAMESPACE}/old: made before the label"));
    mesh.kubectl(&["-n", NAMESPACE, "delete", "pod", "old", "--wait=true"]);
    assert_eq!(mesh.handfast(&["mesh", "check"]).code, Some(0));

    // A call that is good, also when it is really made.
    let from = format!("{NAMESPACE}/client");
    let done = mesh.handfast(&["mesh", "explain", &from, "web", "--live", "-o", "json"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    let live = json(&done)["layers"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&live["layer"], &live["verdict"]), (&"live".into(), &"ok".into()), "{live:#}");
    assert!(live["what"].as_str().unwrap().contains("hbone"), "{live:#}");

    // A policy, with its rule; the real call is refused too.
    mesh.apply(&format!(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: nobody, namespace: {NAMESPACE}}}
spec: {{action: ALLOW, rules: [{{from: [{{source: {{principals: [cluster.local/ns/x/sa/y]}}}}]}}]}}
"
    ));
    until("the policy is in force", || {
        let done = mesh.handfast(&["mesh", "explain", &from, "web", "--live"]);
        let said = done.out();
        let both = said.contains(&format!("1 rule of {NAMESPACE}/nobody considered, none matched"))
            && said.contains("the first layer that stops this call: policy")
            && said.contains("HF8011");
        (both && done.code == Some(3)).then_some(()).ok_or_else(|| done.all())
    });
    mesh.kubectl(&["-n", NAMESPACE, "delete", "authorizationpolicy", "nobody"]);

    // A NetworkPolicy that forgot the tunnels.
    mesh.apply(&format!(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: web, namespace: {NAMESPACE}}}
spec: {{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{ports: [{{port: 8080}}]}}]}}
"
    ));
    let done = mesh.handfast(&["mesh", "explain", &from, "web"]);
    assert_eq!(done.code, Some(3), "{}", done.all());
    assert!(done.out().contains("the first layer that stops this call: network policy"), "{}", done.all());
    let done = mesh.handfast(&["mesh", "check", "-o", "json"]);
    assert_eq!(row(&json(&done), "network-policies")["verdict"], "fail", "{}", done.all());
    mesh.kubectl(&["-n", NAMESPACE, "delete", "networkpolicy", "web"]);

    // Rules that are taken away are missed, because the kernel is asked.
    let proxy =
        ["-n", NAMESPACE, "exec", "client", "-c", "handfast-proxy", "--", "/handfast", "mesh", "redirect"];
    mesh.kubectl(&[&proxy[..], &["--remove"]].concat());
    let done = mesh.handfast(&["mesh", "check", "-o", "json"]);
    assert_eq!(row(&json(&done), "redirection")["verdict"], "fail", "{}", done.all());
    mesh.kubectl(&proxy);
    assert_eq!(mesh.handfast(&["mesh", "check"]).code, Some(0));

    strict(&mesh);
    uninstall(&mesh);
}

/// The caller outside of the mesh, and no other, is named; and is what breaks.
fn strict(mesh: &Cluster) {
    let preview = || mesh.handfast(&["mesh", "strict", "--preview", "-n", NAMESPACE, "-o", "json"]);
    let before = preview();
    assert_eq!(before.code, Some(0), "{}", before.all());
    let web = mesh.get(&["-n", NAMESPACE, "pod", "web"])["status"]["podIP"].as_str().unwrap().to_owned();
    let url = format!("http://{web}:8080");
    let call = |namespace: &str, pod: &str, url: &str| {
        mesh.try_kubectl(&[
            "-n", namespace, "exec", pod, "-c", "main", "--", "timeout", "5", "wget", "-qO-", url,
        ])
    };
    let words = ["mesh", "tap", "web", "-n", NAMESPACE, "-o", "json", "--count", "2", "--for", "40s"];
    let mut tap = mesh.start_handfast(&words, &[]);
    tap.wait_for("it listens", scene::SOON, |tap| tap.stderr().contains("listening to 1 of 1"));
    assert_eq!(call("see-out", "stranger", &url).out(), "hello\n");
    assert_eq!(call(NAMESPACE, "client", "http://web").out(), "hello\n");
    let tapped = tap.finish(Duration::from_secs(60));
    let lines: Vec<Value> = tapped.out().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let secured: Vec<&str> = lines.iter().filter_map(|line| line["secured"].as_str()).collect();
    assert_eq!(secured, ["plain", "hbone"], "{}", tapped.all());

    let done = preview();
    assert_eq!(done.code, Some(3), "{}", done.all());
    let found = json(&done);
    let inbound = found["inbound"].as_array().unwrap();
    assert_eq!(inbound.len(), 1, "{found:#}");
    assert_eq!(
        (&inbound[0]["caller"], &inbound[0]["port"]),
        (&"see-out/stranger".into(), &8080.into()),
        "{found:#}"
    );
    // It is not applied over somebody's head, unless it is forced; and then it is as was said.
    assert_eq!(mesh.handfast(&["mesh", "strict", "-n", NAMESPACE, "--apply"]).code, Some(3));
    assert!(mesh.get(&["-n", NAMESPACE, "peerauthentication", "default"]).is_null());
    assert_eq!(mesh.handfast(&["mesh", "strict", "-n", NAMESPACE, "--apply", "--force"]).code, Some(0));
    until("the stranger is refused", || {
        let done = call("see-out", "stranger", &url);
        (done.code != Some(0)).then_some(()).ok_or_else(|| done.all())
    });
    assert_eq!(call(NAMESPACE, "client", "http://web").out(), "hello\n");
    let done = mesh.handfast(&["mesh", "explain", "see-out/stranger", &format!("web.{NAMESPACE}")]);
    assert!(
        done.code == Some(3) && done.out().contains("plain text on a port that asks for mutual TLS"),
        "{}",
        done.all()
    );
}

fn uninstall(mesh: &Cluster) {
    let listed = mesh.handfast(&["mesh", "uninstall"]);
    assert!(listed.out().starts_with("MutatingWebhookConfiguration handfast-mesh\n"), "{}", listed.all());
    assert!(!mesh.get(&["mutatingwebhookconfiguration", "handfast-mesh"]).is_null());
    let done = mesh.handfast(&["mesh", "uninstall", "--apply"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert!(mesh.get(&["mutatingwebhookconfiguration", "handfast-mesh"]).is_null());
    assert!(mesh.get(&["-n", "handfast-system", "deployment", "handfast-mesh"]).is_null());
    // The authority and its controller stay, and pods can be made again.
    assert!(!mesh.get(&["-n", "handfast-system", "deployment", "handfast-controller"]).is_null());
    let done = mesh.handfast(&["mesh", "check"]);
    assert_eq!(done.code, Some(3), "{}", done.all());
    assert!(done.out().contains("FAIL  control-plane"), "{}", done.all());
}
