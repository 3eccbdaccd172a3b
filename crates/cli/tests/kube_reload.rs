//! How renewed certificates come into force on a real Kubernetes: rolling restarts by the controller, which wait for
//! disruption budgets and touch nobody who did not ask, and the sidecar that sends a signal or calls a hook.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test stops where something is not as expected"
)]

#[path = "kube/scene.rs"]
mod scene;

use std::time::{Duration, Instant};

use scene::{SOON, is_ready, serial};
use serde_json::Value;
use testkit::cluster::{Cluster, IMAGE};

const SLOW: Duration = Duration::from_secs(120);

fn cluster() -> Option<scene::Turn> {
    scene::take_turn(testkit::binary!())
}

fn wire(cluster: &Cluster, namespace: &str, manifest: &str, more: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.yaml");
    std::fs::write(&file, manifest).unwrap();
    let file = file.to_string_lossy().into_owned();
    let mut words = vec!["kube", "wire", "-f", &file, "-n", namespace, "--apply", "--image", IMAGE];
    words.extend(more);
    let done = cluster.handfast(&words);
    assert_eq!(done.code, Some(0), "{}", done.all());
}

fn sleeper(name: &str, annotations: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, annotations: {annotations}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: handfast.test/busybox:1
        imagePullPolicy: Never
        command: [sleep, \"36000\"]
"
    )
}

/// A new certificate now: the lifetime is another one.
fn renew(cluster: &Cluster, namespace: &str, certificate: &str, lifetime: &str) {
    let words = ["-n", namespace, "certificate.handfast.dev", certificate];
    let before = cluster.get(&words);
    let patch = format!(r#"{{"spec":{{"lifetime":"{lifetime}"}}}}"#);
    let name = format!("certificate.handfast.dev/{certificate}");
    cluster.kubectl(&["-n", namespace, "patch", &name, "--type=merge", "-p", &patch]);
    cluster.wait(&words, SOON, |now| is_ready(now) && serial(now) != serial(&before));
}

fn restarted_at(deployment: &Value) -> Option<String> {
    let at = &deployment["spec"]["template"]["metadata"]["annotations"]["handfast.dev/restarted-at"];
    at.as_str().map(str::to_owned)
}

fn started_for(deployment: &Value) -> &str {
    deployment["metadata"]["annotations"]["handfast.dev/started-for"].as_str().unwrap_or_default()
}

fn rolled_out(cluster: &Cluster, namespace: &str, name: &str) {
    let name = format!("deployment/{name}");
    cluster.kubectl(&["-n", namespace, "rollout", "status", &name, "--timeout=120s"]);
}

#[test]
fn who_asks_is_restarted_once_for_each_renewal_when_the_budget_allows_it() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    let ns = "restarted";
    cluster.kubectl(&["create", "namespace", ns]);
    wire(cluster, ns, &sleeper("asks", "{}"), &["--reload", "restart"]);
    wire(cluster, ns, &sleeper("quiet", "{handfast.dev/reload: watch}"), &[]);
    for name in ["asks", "quiet"] {
        rolled_out(cluster, ns, name);
    }
    let words = ["-n", ns, "deployment", "asks"];
    let get = || cluster.get(&words);
    assert_eq!(get()["metadata"]["annotations"]["handfast.dev/reload"], "restart");
    assert_eq!(restarted_at(&get()), None);

    // The rights are on this workload by name, and on no other.
    let may = |what: &str| {
        let as_ = "--as=system:serviceaccount:handfast-system:handfast-controller";
        cluster.try_kubectl(&["auth", "can-i", "patch", what, "-n", ns, as_]).out().trim() == "yes"
    };
    assert!(may("deployments.apps/asks"));
    assert!(!may("deployments.apps/quiet") && !may("deployments.apps/other") && !may("pods/asks"));

    // A budget that allows nothing.
    cluster.apply(&format!(
        "{{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {{name: keep, namespace: {ns}}}, \
         spec: {{minAvailable: 2, selector: {{matchLabels: {{app: asks}}}}}}}}"
    ));
    cluster.wait(&["-n", ns, "poddisruptionbudget", "keep"], SOON, |found| {
        found["status"]["currentHealthy"] == 2 && found["status"]["disruptionsAllowed"] == 0
    });
    renew(cluster, ns, "asks-client-tls", "80d");
    renew(cluster, ns, "quiet-client-tls", "80d");
    cluster.wait(&["-n", ns, "events.events.k8s.io"], SOON, |found| {
        found["items"].as_array().into_iter().flatten().any(|event| {
            event["reason"] == "RestartWaits"
                && event["regarding"]["kind"] == "Deployment"
                && event["regarding"]["name"] == "asks"
                && event["note"]
                    .as_str()
                    .is_some_and(|n| n.contains("HF7060") && n.contains("PodDisruptionBudget keep"))
        })
    });
    scene::wait_metric(cluster, "handfast_workload_restarts_waiting 1");
    assert_eq!(restarted_at(&get()), None, "restarted against the budget");

    // The budget allows one: now it is restarted, and stays whole on the way.
    let patch = r#"{"spec":{"minAvailable":1}}"#;
    cluster.kubectl(&["-n", ns, "patch", "poddisruptionbudget", "keep", "--type=merge", "-p", patch]);
    let first = cluster.wait(&words, SLOW, |found| restarted_at(found).is_some());
    rolled_out(cluster, ns, "asks");
    let restarts = || {
        let log = scene::audit(cluster);
        log.iter().filter(|line| line["action"] == "restart" && line["namespace"] == ns).count()
    };
    assert_eq!(restarts(), 1);
    scene::wait_metric(cluster, "handfast_workload_restarts_waiting 0");

    // Once for each renewal: the next one restarts it again, and nothing else does - not a change of the Certificate
    // that issues nothing, and not a new leader.
    cluster.kubectl(&["-n", "handfast-system", "delete", "pod", &scene::leader(cluster), "--wait=true"]);
    scene::wait_installed(cluster);
    scene::wait_metric(
        cluster,
        "certmanager_certificate_ready_status{condition=\"True\",name=\"asks-client-tls\"",
    );
    renew(cluster, ns, "asks-client-tls", "70d");
    let second = cluster.wait(&words, SLOW, |found| restarted_at(found) != restarted_at(&first));
    rolled_out(cluster, ns, "asks");
    assert_ne!(started_for(&first), started_for(&second));
    assert_eq!(
        second["metadata"]["generation"].as_i64().unwrap(),
        first["metadata"]["generation"].as_i64().unwrap() + 1
    );

    // Who did not ask never was, and nothing was even written to it.
    let quiet = cluster.get(&["-n", ns, "deployment", "quiet"]);
    assert_eq!((restarted_at(&quiet), started_for(&quiet)), (None, ""), "{quiet:#}");
    assert_eq!(quiet["metadata"]["generation"], 1);
    cluster.kubectl(&["delete", "namespace", ns, "--wait=false"]);
}

#[test]
fn a_namespace_that_is_stuck_keeps_no_other_one_waiting() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    for (ns, name) in [("crowd", "stuck"), ("apart", "free")] {
        cluster.kubectl(&["create", "namespace", ns]);
        wire(cluster, ns, &sleeper(name, "{}"), &["--reload", "restart"]);
        rolled_out(cluster, ns, name);
    }
    let of = |ns: &'static str, name: &'static str| cluster.get(&["-n", ns, "deployment", name]);
    // Twenty more that are not even there, and no room for another pod: the rollout does not end.
    let names: Vec<String> =
        (0..19).map(|i| format!("{{\"kind\":\"Deployment\",\"name\":\"none{i}\"}}")).collect();
    let patch = format!(
        "{{\"spec\":{{\"restart\":[{},{{\"kind\":\"Deployment\",\"name\":\"stuck\"}}]}}}}",
        names.join(",")
    );
    let certificate = "certificate.handfast.dev/stuck-client-tls";
    cluster.kubectl(&["-n", "crowd", "patch", certificate, "--type=merge", "-p", &patch]);
    cluster.kubectl(&["-n", "crowd", "create", "quota", "full", "--hard=pods=2"]);
    renew(cluster, "crowd", "stuck-client-tls", "80d");
    cluster.wait(&["-n", "crowd", "deployment", "stuck"], SLOW, |found| restarted_at(found).is_some());
    renew(cluster, "apart", "free-client-tls", "80d");
    let begun = Instant::now();
    cluster.wait(&["-n", "apart", "deployment", "free"], SOON, |found| restarted_at(found).is_some());
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    rolled_out(cluster, "apart", "free");
    let stuck = of("crowd", "stuck");
    assert_ne!(stuck["status"]["updatedReplicas"], 2, "it was not stuck: {stuck:#}");
    // One more is refused by the kind itself.
    let patch = patch.replace("[{", "[{\"kind\":\"DaemonSet\",\"name\":\"more\"},{");
    let refused = cluster.try_kubectl(&["-n", "crowd", "patch", certificate, "--type=merge", "-p", &patch]);
    assert!(refused.code != Some(0) && refused.all().contains("20"), "{}", refused.all());
    for ns in ["crowd", "apart"] {
        cluster.kubectl(&["delete", "namespace", ns, "--wait=false"]);
    }
}

#[test]
fn without_the_right_by_name_nothing_is_restarted_and_the_certificate_says_so() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    let scene = scene::Scene::new(&turn, "norestart", &["pair"]);
    cluster.kubectl(&["-n", "norestart", "create", "deployment", "app", "--image=handfast.test/pause:1"]);
    cluster.kubectl(&["-n", "norestart", "annotate", "deployment", "app", "handfast.dev/reload=restart"]);
    scene.certificate(
        "pair",
        "{secretName: pair, serviceAccount: default, restart: [{kind: Deployment, name: app}]}",
    );
    scene.wait_ready("pair");
    cluster.wait(&["-n", "norestart", "events.events.k8s.io"], SOON, |found| {
        found["items"].as_array().into_iter().flatten().any(|event| {
            event["regarding"]["kind"] == "Certificate"
                && event["note"].as_str().is_some_and(|note| note.contains("HF7063"))
        })
    });
    let app = cluster.get(&["-n", "norestart", "deployment", "app"]);
    assert_eq!((restarted_at(&app), started_for(&app)), (None, ""));
    cluster.kubectl(&["delete", "namespace", "norestart", "--wait=false"]);
}

/// What a pod says when it is asked; waits until it is what was wanted.
fn wait_exec(cluster: &Cluster, namespace: &str, container: &str, script: &str, done: impl Fn(&str) -> bool) {
    let words = ["-n", namespace, "exec", "deployment/app", "-c", container, "--", "sh", "-c", script];
    let deadline = Instant::now() + SLOW;
    loop {
        let said = cluster.try_kubectl(&words);
        if done(&said.out()) {
            return;
        }
        let sidecar = ["-n", namespace, "logs", "deployment/app", "-c", "handfast-reload"];
        assert!(
            Instant::now() < deadline,
            "{}\nthe sidecar says:\n{}",
            said.all(),
            cluster.try_kubectl(&sidecar).all()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn application(user: &str, script: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: app}}
spec:
  selector: {{matchLabels: {{app: app}}}}
  template:
    metadata: {{labels: {{app: app}}}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {user}
      containers:
      - name: app
        image: handfast.test/busybox:1
        imagePullPolicy: Never
        command:
        - sh
        - -c
        - |
          {}
",
        script.replace('\n', "\n          ")
    )
}

#[test]
fn a_signal_reaches_the_program_once_for_each_renewal() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    let ns = "signalled";
    cluster.kubectl(&["create", "namespace", ns]);
    cluster.kubectl(&["label", "namespace", ns, "pod-security.kubernetes.io/enforce=baseline"]);
    // A program that does at HUP what servers do: it reads its certificate again.
    let script = "cat > /tmp/webserver <<'END'\n#!/bin/sh\nload() { cat \"$TLS_CLIENT_CERT_FILE\" > /tmp/loaded; echo loaded >> /tmp/log; }\ntrap load HUP\nload\nwhile :; do sleep 1; done\nEND\nchmod +x /tmp/webserver\nexec /tmp/webserver";
    let user = "{runAsNonRoot: true, runAsUser: 1000}";
    wire(cluster, ns, &application(user, script), &["--reload", "signal:webserver"]);
    rolled_out(cluster, ns, "app");
    let pod = cluster.get(&["-n", ns, "pods", "-l", "app=app"])["items"][0].clone();
    assert_eq!(pod["spec"]["shareProcessNamespace"], true);
    let count = "wc -l < /tmp/log; cmp /tmp/loaded $TLS_CLIENT_CERT_FILE && echo same";
    wait_exec(cluster, ns, "app", count, |said| said.starts_with("1\n") && said.contains("same"));
    renew(cluster, ns, "app-client-tls", "80d");
    let loaded = "wc -l < /tmp/log; ls /tmp/loaded; cmp /tmp/loaded $TLS_CLIENT_CERT_FILE && echo same";
    wait_exec(cluster, ns, "app", loaded, |said| said.starts_with("2\n") && said.contains("same"));
    let now = cluster.get(&["-n", ns, "pods", "-l", "app=app"])["items"][0].clone();
    assert_eq!(now["metadata"]["uid"], pod["metadata"]["uid"], "no restart was needed");
    assert_eq!(now["status"]["containerStatuses"][0]["restartCount"], 0);
    cluster.kubectl(&["delete", "namespace", ns, "--wait=false"]);
}

#[test]
fn a_hook_is_called_until_it_says_that_it_is_done() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    let ns = "hooked";
    cluster.kubectl(&["create", "namespace", ns]);
    // The first call fails, as that of a program that is busy.
    let script = "mkdir -p /tmp/www/cgi-bin\ncat > /tmp/www/cgi-bin/reload <<'END'\n#!/bin/sh\necho \"$REQUEST_METHOD\" >> /tmp/calls\nif [ \"$(wc -l < /tmp/calls)\" = 1 ]; then printf 'Status: 503 Busy\\r\\n\\r\\n'; exit; fi\ncat \"$TLS_CLIENT_CERT_FILE\" > /tmp/loaded\nprintf 'Status: 200 OK\\r\\n\\r\\n'\nEND\nchmod +x /tmp/www/cgi-bin/reload\nexec httpd -f -p 127.0.0.1:8081 -h /tmp/www";
    let hook = "hook:http://127.0.0.1:8081/cgi-bin/reload";
    wire(cluster, ns, &application("{}", script), &["--reload", hook]);
    rolled_out(cluster, ns, "app");
    wait_exec(cluster, ns, "app", "cat /tmp/calls || echo none", |said| said.contains("none"));
    renew(cluster, ns, "app-client-tls", "80d");
    let script = "tr '\\n' ' ' < /tmp/calls; cmp /tmp/loaded $TLS_CLIENT_CERT_FILE && echo same";
    wait_exec(cluster, ns, "app", script, |said| said.contains("POST POST same"));
    let log = cluster.kubectl(&["-n", ns, "logs", "deployment/app", "-c", "handfast-reload"]);
    assert!(log.contains("HF7066") && log.contains("503") && log.contains("was told"), "{log}");
    cluster.kubectl(&["delete", "namespace", ns, "--wait=false"]);
}
