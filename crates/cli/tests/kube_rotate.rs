//! `handfast kube rotate-root` and `kube revoke` in a real Kubernetes: two pods that authenticate each other all the
//! time, a command and controllers that are killed, pods that have not noticed, and a root that has ended.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as expected")]

#[path = "kube_rotate/ends.rs"]
mod ends;
#[path = "kube_rotate/revoked.rs"]
mod revoked;
#[allow(dead_code, reason = "the controller's own tests use the rest of it")]
#[path = "kube/scene.rs"]
mod scene;
#[path = "kube_rotate/tenant.rs"]
mod tenant;

use std::process::Command;
use std::time::{Duration, Instant};

use scene::{SOON, Scene, Turn, is_ready, openssl, pem_of, serial};
use serde_json::Value;
use testkit::cluster::{BUSYBOX, Cluster, IMAGE};
use testkit::program::{Finished, Program};

/// Image with a shell and a client that is not ours.
const OPENSSL: &str = "handfast.test/openssl:1";
/// For what waits for kubelet.
const LATER: Duration = Duration::from_secs(90);
/// What is promised about the pods here: both read their files for each connection, or watch them.
const PROMISE: [&str; 2] = ["--applications-reload", "--all-replaced"];

fn cluster() -> Option<Turn> {
    let turn = scene::take_turn(testkit::binary!())?;
    let path = Program::run(Command::new("sh").args(["-c", "command -v openssl"]), b"", SOON).out();
    let binary = format!("{}:/usr/bin/openssl", path.trim());
    turn.control(&["image", OPENSSL, "--busybox", "--binary", &binary]);
    Some(turn)
}

/// A pod; `main` are lines of its container, `volume` the Secret that it mounts as the volume `tls`.
fn pod(namespace: &str, name: &str, main: &str, init: &str, secret: &str) -> String {
    format!(
        r#"---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532}}
  initContainers: [{init}]
  containers:
  - name: main
    imagePullPolicy: Never
{main}
  volumes:
  - {{name: tls, secret: {{secretName: {secret}, defaultMode: 0440}}}}
  - {{name: site, configMap: {{name: site}}}}
  - {{name: copy, emptyDir: {{}}}}
"#
    )
}

fn server(folder: &str, mount: &str) -> String {
    format!(
        "    image: {IMAGE}\n    args: [serve, --listen, \"0.0.0.0:8443\", --root, /site, --cert, {folder}/tls.crt, \
         --key, {folder}/tls.key, --client-ca, {folder}/ca.crt]\n    ports: [{{containerPort: 8443}}]\n    \
         volumeMounts: [{{name: {mount}, mountPath: {folder}}}, {{name: site, mountPath: /site}}]"
    )
}

/// Serves what it copied at its start.
fn stale(namespace: &str) -> String {
    let copy = format!(
        "{{name: copy, image: {BUSYBOX}, imagePullPolicy: Never, command: [sh, -c, \"cp -L /tls/* /copy/\"], \
         volumeMounts: [{{name: tls, mountPath: /tls}}, {{name: copy, mountPath: /copy}}]}}"
    );
    pod(namespace, "stale", &server("/copy", "copy"), &copy, "web-tls")
}

/// Reads its files for each connection, verifies the server and shows its own certificate.
const CLIENT: &str = r#"    command: [sh, -c]
    args:
    - |
      while true; do
        if said=$(printf 'GET / HTTP/1.0\r\nHost: web\r\n\r\n' | timeout 20 openssl s_client -quiet -connect web:443 \
          -servername web -verify_return_error -verify_hostname web -CAfile /tls/ca.crt -cert /tls/tls.crt \
          -cert_chain /tls/tls.crt -key /tls/tls.key 2>&1) && echo "$said" | grep -q hello
        then echo ok; else echo FAILED $said; fi
        sleep 0.3
      done
    volumeMounts: [{name: tls, mountPath: /tls}]"#;

/// A server and a client that authenticate each other, over and over.
fn pair<'a>(turn: &'a Turn, namespace: &str) -> Scene<'a> {
    let scene = Scene::new(turn, namespace, &["web-tls", "app-tls"]);
    turn.apply(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: {namespace}}}\nspec:\n  \
         selector: {{app: web}}\n  ports: [{{name: https, port: 443, targetPort: 8443}}]\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: site, namespace: {namespace}}}\n\
         data: {{index.html: hello}}\n"
    ));
    scene.certificate("web", "{secretName: web-tls, services: [web], usage: server}");
    scene.certificate("app", "{secretName: app-tls, serviceAccount: default, usage: client}");
    scene
}

fn start_pair(turn: &Turn, namespace: &str) {
    let main = format!("    image: {OPENSSL}\n{CLIENT}");
    turn.apply(
        &(pod(namespace, "web", &server("/tls", "tls"), "", "web-tls")
            + &pod(namespace, "app", &main, "", "app-tls")),
    );
}

fn running(turn: &Turn, namespace: &str, name: &str) {
    turn.wait(&["-n", namespace, "pod", name], LATER, |pod| pod["status"]["phase"] == "Running");
}

/// How often the client was served, and what went wrong.
fn talked(turn: &Turn, namespace: &str) -> (usize, Vec<String>) {
    let log = turn.try_kubectl(&["-n", namespace, "logs", "app"]).out();
    // Before the first time the server had not started.
    let since = log.lines().skip_while(|line| *line != "ok");
    let wrong = since.filter(|line| line.starts_with("FAILED")).map(str::to_owned).collect();
    (log.lines().filter(|line| *line == "ok").count(), wrong)
}

fn until_they_talk(turn: &Turn, namespace: &str, more: usize) {
    let (before, _) = talked(turn, namespace);
    let deadline = Instant::now() + LATER;
    while talked(turn, namespace).0 < before + more {
        assert!(Instant::now() < deadline, "they do not talk: {:?}", talked(turn, namespace));
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn words<'a>(step: &'a [&'a str]) -> Vec<&'a str> {
    [&["kube", "rotate-root"], step, &["--image", IMAGE]].concat()
}

fn rotate(cluster: &Cluster, step: &[&str]) -> Finished {
    cluster.handfast(&words(step))
}

fn start_run(cluster: &Cluster, more: &[&str]) -> Program {
    let step = [&["run", "--timeout", "4m"], more].concat();
    cluster.start_handfast(&words(&step), &[])
}

/// A step that has to be refused, with its code; gives the report.
fn refused(cluster: &Cluster, step: &[&str], code: &str) -> Value {
    let done = rotate(cluster, &[step, &["-o", "json"]].concat());
    assert!(
        done.code == Some(3) && done.err().contains(code),
        "{step:?} is not refused for {code}:\n{}",
        done.all()
    );
    serde_json::from_slice(&done.stdout).unwrap_or_default()
}

fn status(cluster: &Cluster) -> Value {
    let done = rotate(cluster, &["status", "-o", "json"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The reasons that are found, by object; asked for again until `done`.
fn findings(
    cluster: &Cluster,
    step: &[&str],
    done: impl Fn(&[(String, String)]) -> bool,
) -> Vec<(String, String)> {
    let deadline = Instant::now() + LATER;
    loop {
        let report = rotate(cluster, &[step, &["-o", "json"]].concat());
        assert_eq!(report.code, Some(3), "{}", report.all());
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let found: Vec<(String, String)> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| (text(&finding["object"]), text(&finding["why"])))
            .collect();
        if done(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{step:?}: {found:#?}");
        std::thread::sleep(Duration::from_secs(2));
    }
}

fn kill_when(mut program: Program, what: &[&str]) {
    program.wait_for(what[0], LATER, |program| what.iter().any(|what| program.stderr().contains(what)));
    program.signal("KILL");
    let done = program.finish(Duration::from_secs(10));
    assert_ne!(done.code, Some(0), "it had ended by itself: {}", done.all());
}

fn kill_leader(cluster: &Cluster) {
    let leader = scene::leader(cluster);
    let force = ["--grace-period=0", "--force", "--wait=false"];
    cluster.kubectl(&[&["-n", "handfast-system", "delete", "pod", &leader], &force[..]].concat());
}

fn delete(cluster: &Cluster, namespace: &str, pod: &str) {
    cluster.kubectl(&["-n", namespace, "delete", "pod", pod, "--grace-period=1"]);
}

fn root_of(report: &Value) -> String {
    let all = report["authorities"].as_array().unwrap();
    let active =
        all.iter().find(|m| m["standing"] == "active" && m["name"].as_str().unwrap().starts_with("root"));
    active.unwrap()["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_root_is_replaced_while_pods_talk_and_whatever_is_killed() {
    let Some(turn) = cluster() else { return };
    let space = "turning";
    let scene = pair(&turn, space);
    for name in ["web", "app"] {
        scene.wait_ready(name);
    }
    start_pair(&turn, space);
    let frozen = format!(
        "    image: {OPENSSL}\n    command: [sleep, \"3600\"]\n    \
         volumeMounts: [{{name: tls, mountPath: /ca.pem, subPath: ca.crt}}]"
    );
    turn.apply(&(pod(space, "frozen", &frozen, "", "app-tls") + &stale(space)));
    for name in ["web", "app", "frozen", "stale"] {
        running(&turn, space, name);
    }
    until_they_talk(&turn, space, 3);
    let first = root_of(&status(&turn));

    // Nothing goes on: no step but the first, and `run` leaves a root alone that is young.
    for step in ["confirm", "switch", "retire", "abort"] {
        refused(&turn, &[step], "HF7007");
    }
    let idle = rotate(&turn, &["run"]);
    assert!(idle.code == Some(0) && idle.err().contains("nothing to do"), "{}", idle.all());
    let tried = rotate(&turn, &["start", "--dry-run"]);
    assert!(tried.code == Some(0) && tried.out().contains("was not done"), "{}", tried.all());
    assert_eq!(status(&turn)["going_on"], false);

    // Killed at its first step, and the leader with it.
    kill_when(start_run(&turn, &[&["--min-age", "1s"], &PROMISE[..]].concat()), &["start: done"]);
    kill_leader(&turn);
    assert_eq!(status(&turn)["step"], "distributing");
    refused(&turn, &["switch"], "HF7007");
    refused(&turn, &["start"], "HF7007");

    // Two pods have not noticed, and are named; the others had to be waited for.
    let pods = [format!("Pod {space}/frozen"), format!("Pod {space}/stale")];
    let only_these = |found: &[(String, String)]| found.iter().all(|(object, _)| pods.contains(object));
    let found = findings(&turn, &["confirm", "--applications-reload"], only_these);
    let why = |object: &str| &found.iter().find(|(found, _)| found == object).unwrap().1;
    assert!(
        why(&pods[0]).contains("/ca.pem in container main lacks the new root: it is mounted with subPath"),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|(object, why)| *object == pods[1]
                && why.contains("port 8443 asks for clients of other roots")),
        "{found:?}"
    );
    // No promise helps against what is seen.
    let accept = format!("{space}/frozen,{space}/stale");
    refused(&turn, &["confirm", "--applications-reload", "--accept-unseen", &accept], "HF7050");
    delete(&turn, space, "frozen");
    delete(&turn, space, "stale");
    turn.apply(&stale(space));
    running(&turn, space, "stale");
    // Without the promise, the client's process is what nobody sees.
    let found = findings(&turn, &["confirm"], |found| found.len() == 1);
    assert!(
        found[0].0 == format!("Pod {space}/app") && found[0].1.contains("not seen from outside"),
        "{found:?}"
    );

    // Killed after each of the next two; what was done stays done.
    kill_when(start_run(&turn, &PROMISE), &["confirm: done"]);
    kill_when(start_run(&turn, &PROMISE), &["switch: done", "retire waits"]);
    kill_leader(&turn);
    assert_eq!(status(&turn)["step"], "switched");
    refused(&turn, &["abort"], "HF7007");

    // The pod that serves what it copied is named, until it is gone.
    let found = findings(&turn, &["retire", "--applications-reload", "--all-replaced"], |found| {
        found.iter().all(|(object, _)| *object == pods[1])
    });
    assert!(
        found.iter().any(|(_, why)| why.contains("still serves certificate") && why.contains("port 8443")),
        "{found:?}"
    );
    delete(&turn, space, "stale");
    // Certificates that nobody sees may live for long, if nobody says that there are none.
    let waits = findings(&turn, &["retire"], |found| found.len() == 1);
    assert!(waits[0].0 == format!("Pod {space}/app"), "{waits:?}");
    refused(&turn, &["retire", "--applications-reload"], "may live until");
    refused(&turn, &["run", "--applications-reload"], "HF7053");

    let done = rotate(&turn, &[&["run", "--timeout", "4m"], &PROMISE[..]].concat());
    assert_eq!(done.code, Some(0), "{}", done.all());
    let after = status(&turn);
    assert_eq!(after["going_on"], false);
    assert_ne!(root_of(&after), first);
    assert_eq!(after["authorities"].as_array().unwrap().len(), 2, "one root, one intermediate: {after:#}");

    // The old root leaves the bundles; the two went on talking all the time, and do so still.
    let map = turn.wait(&["-n", space, "configmap", "handfast-trust"], SOON, |map| {
        map["data"]["ca.crt"].as_str().is_some_and(|text| text.matches("BEGIN CERTIFICATE").count() == 1)
    });
    turn.wait(&["-n", space, "secret", "web-tls"], SOON, |secret| {
        pem_of(secret, "ca.crt") == map["data"]["ca.crt"].as_str().unwrap()
    });
    until_they_talk(&turn, space, 20);
    let (count, wrong) = talked(&turn, space);
    assert!(wrong.is_empty(), "{count} went well, these did not: {wrong:#?}");
    for reason in ["RotationStarted", "RotationConfirmed", "RotationSwitched", "RotationRetired"] {
        wait_event(&turn, reason);
    }
    let log = scene::audit(&turn);
    assert!(log.iter().any(|line| line["action"] == "rotate"
        && line["reason"].as_str().unwrap().contains("is trusted no longer")));
    let again = rotate(&turn, &["run"]);
    assert!(again.err().contains("nothing to do"), "{}", again.all());
    eprintln!("{count} handshakes, none failed");
    turn.kubectl(&["delete", "namespace", space, "--timeout=60s"]);
}

fn wait_event(turn: &Turn, reason: &str) {
    turn.wait(&["-n", "handfast-system", "events.events.k8s.io"], SOON, |found| {
        let items = found["items"].as_array().into_iter().flatten();
        items.into_iter().any(|e| e["reason"] == reason && e["regarding"]["name"] == "handfast-authority")
    });
}

#[test]
fn a_root_that_has_ended_is_replaced_all_the_same() {
    let Some(turn) = cluster() else { return };
    let must = |words: &[&str]| {
        let done = turn.handfast(words);
        assert_eq!(done.code, Some(0), "{words:?}:\n{}", done.all());
    };
    must(&["kube", "uninstall", "--apply", "--delete-authority"]);
    turn.kubectl(&["wait", "--for=delete", "namespace/handfast-system", "--timeout=90s"]);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("ca").to_string_lossy().into_owned();
    must(&["ca", "init", "--dir", &folder, "--root-lifetime", "80s", "--intermediate-lifetime", "80s"]);
    let (certificate, key) = (format!("{folder}/ca.crt"), format!("{folder}/root/root-1.key"));
    let mut install = vec!["kube", "install", "--apply"];
    install.extend(scene::INSTALL);
    install.extend(["--import-certificate", &certificate, "--import-key", &key]);
    must(&install);
    let space = "ended";
    let scene = pair(&turn, space);
    start_pair(&turn, space);
    let deadline = Instant::now() + Duration::from_secs(120);
    while openssl(&["x509", "-in", &certificate, "-noout", "-checkend", "0"]).contains("will not expire") {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_secs(1));
    }
    // The day it ended: nothing is issued, and the condition says what to do.
    let now =
        scene.wait("web", |now| now["status"]["conditions"][0]["message"].to_string().contains("HF7015"));
    assert!(now["status"]["failures"].as_i64().unwrap() >= 1, "{now:#}");
    let done = rotate(&turn, &["start", "--intermediate"]);
    assert!(done.code != Some(0), "below an ended root: {}", done.all());
    let done = rotate(&turn, &[&["run", "--timeout", "4m"], &PROMISE[..]].concat());
    assert_eq!(done.code, Some(0), "{}", done.all());
    for name in ["web", "app"] {
        scene.wait_ready(name);
        running(&turn, space, name);
    }
    until_they_talk(&turn, space, 5);
    assert_eq!(status(&turn)["authorities"].as_array().unwrap().len(), 2);
    turn.kubectl(&["delete", "namespace", space, "--timeout=60s"]);
}
