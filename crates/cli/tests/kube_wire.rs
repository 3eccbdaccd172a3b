//! `kube wire`, `kube cert` and `kube secret` on a real Kubernetes, with the controller installed: the example is wired
//! and runs, twice changes nothing, and who does not run as root can read its key.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test stops where something is not as expected"
)]

#[path = "kube/scene.rs"]
mod scene;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testkit::cluster::Cluster;
use testkit::program::{Finished, Program};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/kubernetes/app.yaml");

fn cluster() -> Option<scene::Turn> {
    scene::take_turn(testkit::binary!())
}

fn local(dir: &Path, words: &[&str], input: &str) -> Finished {
    let mut command = Command::new(testkit::binary!());
    command.current_dir(dir).args(words).env("NO_COLOR", "1");
    Program::run(&mut command, input.as_bytes(), Duration::from_secs(60))
}

fn ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

#[test]
fn the_example_is_wired_and_a_second_run_changes_nothing() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    cluster.kubectl(&["create", "namespace", "wired"]);
    // What is printed is what the API server takes, even before anything of it is there.
    let dir = tempfile::tempdir().unwrap();
    let printed = local(dir.path(), &["kube", "wire", "-f", EXAMPLE], "");
    assert_eq!(printed.code, Some(0), "{}", printed.all());
    let file = dir.path().join("printed.yaml");
    std::fs::write(&file, printed.out()).unwrap();
    let file = file.to_string_lossy().into_owned();
    let words = ["apply", "-n", "wired", "--dry-run=server", "--validate=strict", "-f", &file];
    let tried = cluster.try_kubectl(&words);
    // Pods are not admitted before their service accounts are there, and a trial makes none.
    let rest = tried.err().lines().filter(|line| !line.contains("serviceaccount \"")).count();
    assert!(tried.out().contains("certificate.handfast.dev/web-server-tls created"), "{}", tried.all());
    assert_eq!(rest, 0, "{}", tried.all());

    let wire = |more: &[&str]| {
        let mut words = vec!["kube", "wire", "-f", EXAMPLE, "-n", "wired", "--apply"];
        words.extend(more);
        cluster.handfast(&words)
    };
    let first = wire(&[]);
    assert_eq!(first.code, Some(0), "{}", first.all());
    assert!(first.out().contains("Pod wired/web created"), "{}", first.all());
    assert!(first.err().contains("2 of 2 certificates are ready"), "{}", first.all());
    assert!(first.err().contains("2 of 2 workloads run"), "{}", first.all());
    for pod in ["web", "client"] {
        assert!(ready(&cluster.get(&["-n", "wired", "pod", pod])), "{pod}");
    }
    // The applications are as they were: no key, plain HTTP to the same name. Between the pods it is mutual TLS.
    let words = ["-n", "wired", "exec", "client", "-c", "client", "--", "sh", "-c"];
    let mut asked = words.to_vec();
    asked.push("ls /etc/handfast; for i in 1 2 3 4 5; do timeout 5 wget -q -O - http://web:8080/ && break; sleep 1; done");
    let said = cluster.try_kubectl(&asked);
    assert!(said.out().ends_with("hello\n"), "{}", said.all());
    assert!(said.err().contains("/etc/handfast: No such file"), "{}", said.all());
    let log = cluster.kubectl(&["-n", "wired", "logs", "web", "-c", "handfast"]);
    assert!(
        log.contains(r#""identity":"spiffe://cluster.local/ns/wired/sa/client""#)
            && log.contains(r#""tls":"TLSv1.3""#),
        "{log}"
    );
    let mut plain = words.to_vec();
    plain.push("timeout 5 wget -S -O - http://web.wired.svc.cluster.local:8080/ 2>&1");
    let said = cluster.try_kubectl(&plain);
    assert!(!said.out().contains("hello") && said.out().contains("400"), "{}", said.all());

    // The third command, with nothing to say but where.
    let proof = cluster.handfast(&["kube", "test", "-n", "wired"]);
    assert_eq!(proof.code, Some(0), "{}", proof.all());
    // Nothing was revoked as yet: the lists name a number for this.
    for row in [
        "no client certificate",
        "client certificate of another CA",
        "revoked client certificate",
        "server certificate for another name",
    ] {
        let line = proof.out().lines().find(|line| line.contains(row)).unwrap_or_default().to_owned();
        assert!(line.trim_start().starts_with("ok") && line.contains("refused"), "{row}: {}", proof.all());
    }
    let secret = cluster.get(&["-n", "wired", "secret", "client-client-tls"]);
    assert_eq!(secret["type"], "kubernetes.io/tls");

    let second = wire(&[]);
    assert_eq!(second.code, Some(0), "{}", second.all());
    assert!(second.out().lines().all(|line| line.ends_with(" unchanged")), "{}", second.all());

    // Other names of the Secrets: the volumes of a Pod cannot change. A shell as process 1 heeds no SIGTERM.
    cluster.kubectl(&["-n", "wired", "delete", "pod", "client", "--grace-period=1"]);
    let refused = wire(&["--simple"]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(refused.err().contains("HF7130") && refused.err().contains("--replace"), "{}", refused.all());
    let replaced = wire(&["--simple", "--replace"]);
    assert_eq!(replaced.code, Some(0), "{}", replaced.all());
    assert!(replaced.out().contains("Pod wired/web replaced"), "{}", replaced.all());
    cluster.kubectl(&["delete", "namespace", "wired", "--wait=false"]);
}

/// Each kind that has pods, with the pods that come of it.
#[test]
fn every_kind_of_workload_gets_its_files_and_variables() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    cluster.kubectl(&["create", "namespace", "kinds"]);
    let see = "ls -lL /etc/handfast/client; env | grep TLS_";
    let pod = |labels: &str, after: &str, restart: &str| {
        format!(
            "{{metadata: {{labels: {labels}}}, spec: {{restartPolicy: {restart}, terminationGracePeriodSeconds: 1, \
             containers: [{{name: app, image: 'handfast.test/busybox:1', imagePullPolicy: Never, \
             command: [sh, -c, '{see}; {after}']}}]}}}}"
        )
    };
    let stays = |kind: &str, name: &str, more: &str| {
        let labels = format!("{{app: {name}}}");
        format!(
            "{{apiVersion: apps/v1, kind: {kind}, metadata: {{name: {name}}}, spec: {{{more}selector: {{matchLabels: {labels}}}, \
             template: {}}}}}",
            pod(&labels, "exec sleep 3600", "Always")
        )
    };
    let job = pod("{app: once}", "true", "Never");
    let manifest = [
        stays("Deployment", "deployed", ""),
        stays("StatefulSet", "numbered", "serviceName: numbered, "),
        stays("DaemonSet", "everywhere", ""),
        format!("{{apiVersion: batch/v1, kind: Job, metadata: {{name: once}}, spec: {{template: {job}}}}}"),
        format!(
            "{{apiVersion: batch/v1, kind: CronJob, metadata: {{name: often}}, spec: {{schedule: '0 0 1 1 *', \
             jobTemplate: {{spec: {{template: {}}}}}}}}}",
            job.replace("app: once", "app: often")
        ),
        format!(
            "{{apiVersion: v1, kind: Pod, {}",
            pod("{app: alone}", "exec sleep 3600", "Always").replacen("{metadata: {", "metadata: {name: alone, ", 1)
        ),
    ]
    .join("\n---\n");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kinds.yaml");
    std::fs::write(&file, manifest).unwrap();
    let done = cluster.handfast(&["kube", "wire", "-f", &file.to_string_lossy(), "-n", "kinds", "--apply"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert!(done.err().contains("6 of 6 certificates are ready"), "{}", done.all());
    assert!(done.err().contains("4 of 4 workloads run"), "{}", done.all());
    cluster.kubectl(&["-n", "kinds", "create", "job", "often-now", "--from=cronjob/often"]);
    for job in ["once", "often-now"] {
        cluster.kubectl(&[
            "-n",
            "kinds",
            "wait",
            "--for=condition=complete",
            &format!("job/{job}"),
            "--timeout=60s",
        ]);
    }
    for app in ["deployed", "numbered", "everywhere", "once", "often", "alone"] {
        let said = cluster.kubectl(&["-n", "kinds", "logs", "-l", &format!("app={app}")]);
        assert!(said.contains("-r--------") && said.contains("ca.crt"), "{app}: {said}");
        assert!(said.contains("TLS_CLIENT_KEY_FILE=/etc/handfast/client/tls.key"), "{app}: {said}");
    }
    cluster.kubectl(&["delete", "namespace", "kinds", "--wait=false"]);
}

#[test]
fn who_does_not_run_as_root_can_read_its_key_and_nobody_else() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    cluster.kubectl(&["create", "namespace", "nonroot"]);
    let manifest = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 1000}
      containers:
      - name: app
        image: handfast.test/busybox:1
        imagePullPolicy: Never
        command: [sleep, \"3600\"]
";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.yaml");
    std::fs::write(&file, manifest).unwrap();
    let path = file.to_string_lossy().into_owned();
    let done = cluster.handfast(&["kube", "wire", "-f", &path, "-n", "nonroot", "--apply"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    cluster.kubectl(&["-n", "nonroot", "rollout", "status", "deployment/app", "--timeout=60s"]);
    let words = ["-n", "nonroot", "exec", "deployment/app", "--", "sh", "-c"];
    let mut read = words.to_vec();
    read.push("id; ls -lnL /etc/handfast/client; head -1 $TLS_CLIENT_KEY_FILE; (echo > $TLS_CLIENT_KEY_FILE) 2> /dev/null || echo read-only");
    let said = cluster.kubectl(&read);
    assert!(said.contains("uid=1000") && said.contains("65532"), "{said}");
    assert!(
        said.contains("-r--r-----") && said.contains("PRIVATE KEY") && said.contains("read-only"),
        "{said}"
    );

    // In place, twice: the file keeps its lines, and the new objects stand beside it.
    let written = local(dir.path(), &["kube", "wire", "-f", "app.yaml", "--write"], "");
    assert_eq!(written.code, Some(0), "{}", written.all());
    let once = std::fs::read_to_string(&file).unwrap();
    let added = std::fs::read_to_string(dir.path().join("handfast.yaml")).unwrap();
    assert!(once.contains("fsGroup") && added.contains("kind: Certificate"), "{once}\n{added}");
    let again = local(dir.path(), &["kube", "wire", "-f", ".", "--write"], "");
    assert_eq!(again.err().matches(" unchanged").count(), 2, "{}", again.all());
    cluster.kubectl(&["delete", "namespace", "nonroot", "--wait=false"]);
}

#[test]
fn a_certificate_that_was_revoked_is_refused_by_the_sidecar() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    cluster.kubectl(&["create", "namespace", "revoking"]);
    let done = cluster.handfast(&["kube", "wire", "-f", EXAMPLE, "-n", "revoking", "--apply"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    // The lists are beside the roots, from the first day.
    let lists = |map: &Value| map["data"]["crl.pem"].as_str().unwrap_or_default().to_owned();
    let map = ["-n", "revoking", "configmap", "handfast-trust"];
    let before = cluster.wait(&map, scene::SOON, |map| lists(map).contains("BEGIN X509 CRL"));
    let revoked =
        cluster.handfast(&["kube", "revoke", "revoking/client-client-tls", "--reason", "keyCompromise"]);
    assert_eq!(revoked.code, Some(0), "{}", revoked.all());
    let published =
        cluster.wait(&["-n", "handfast-system", "configmap", "handfast-revocation"], scene::SOON, |map| {
            let all: String =
                map["data"].as_object().into_iter().flatten().filter_map(|(_, list)| list.as_str()).collect();
            all != lists(&before)
        });
    let all: String =
        published["data"].as_object().unwrap().values().map(|list| list.as_str().unwrap()).collect();
    cluster.wait(&map, scene::SOON, |map| lists(map) == all);
    // Kubelet brings them into the running sidecar; the new certificate goes on being good.
    let deadline = std::time::Instant::now() + Duration::from_secs(180);
    loop {
        let proof = cluster.handfast(&["kube", "test", "-n", "revoking", "-o", "json"]);
        let report: Value = serde_json::from_slice(&proof.stdout).unwrap_or_default();
        let edges = report["edges"].as_array().into_iter().flatten();
        let rows: Vec<&Value> = edges.flat_map(|edge| edge["rows"].as_array().unwrap()).collect();
        let of = |id: &str| rows.iter().filter(|row| row["id"] == id).copied().collect::<Vec<_>>();
        let refused = |row: &&Value| {
            row["verdict"] == "ok"
                && row["observed"].to_string().contains("refused")
                && row.to_string().contains("certificate_revoked")
        };
        if of("revoked").len() == 2 && of("revoked").iter().all(refused) {
            assert!(of("good").iter().all(|row| row["verdict"] == "ok"), "{}", proof.all());
            assert_eq!(proof.code, Some(0), "{}", proof.all());
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}", proof.all());
        std::thread::sleep(Duration::from_secs(10));
    }
    cluster.kubectl(&["delete", "namespace", "revoking", "--wait=false"]);
}

#[test]
fn somebody_elses_secret_is_left_as_it_is() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    let scene = scene::Scene::new(cluster, "taken", &["kept"]);
    scene.certificate("kept", "{secretName: kept, serviceAccount: default}");
    scene.wait_ready("kept");
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| assert_eq!(local(dir.path(), words, "").code, Some(0), "{words:?}");
    run(&["ca", "init"]);
    run(&["cert", "issue", "one", "--dns", "one", "--out", "."]);
    run(&["cert", "issue", "two", "--dns", "two", "--out", "."]);
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let secret = |name: &str, pair: &str, more: &[&str]| {
        let (cert, key) = (at(&format!("{pair}.crt")), at(&format!("{pair}.key")));
        let words = ["kube", "secret", name, "-n", "taken", "--cert", &cert, "--key", &key, "--apply"];
        cluster.handfast(&[&words[..], more].concat())
    };
    // The controller's is not overwritten, not even by force.
    let before = scene.secret("kept");
    for more in [&[][..], &["--force-conflicts"]] {
        let done = secret("kept", "one", more);
        assert!(done.code == Some(1) && done.err().contains("HF7141"), "{}", done.all());
    }
    assert_eq!(scene.secret("kept")["data"], before["data"]);
    // Another one's is taken over when somebody says so.
    let (cert, key) = (format!("--cert={}", at("one.crt")), format!("--key={}", at("one.key")));
    cluster.kubectl(&["create", "secret", "tls", "theirs", "-n", "taken", &cert, &key]);
    let theirs = cluster.get(&["-n", "taken", "secret", "theirs"]);
    let done = secret("theirs", "two", &[]);
    assert!(done.code == Some(1) && done.err().contains("HF7141"), "{}", done.all());
    assert_eq!(cluster.get(&["-n", "taken", "secret", "theirs"])["data"], theirs["data"]);
    let tried = secret("theirs", "two", &["--force-conflicts", "--dry-run"]);
    assert_eq!(tried.code, Some(0), "{}", tried.all());
    assert_eq!(tried.err().matches("certificate ").count(), 2, "{}", tried.err());
    assert!(
        tried.err().contains("another than before") && !tried.err().contains("PRIVATE"),
        "{}",
        tried.err()
    );
    let done = secret("theirs", "two", &["--force-conflicts"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert_ne!(cluster.get(&["-n", "taken", "secret", "theirs"])["data"], theirs["data"]);
    // What this command made it changes again without being forced.
    assert_eq!(secret("own", "one", &[]).code, Some(0));
    let again = secret("own", "two", &[]);
    assert_eq!(again.code, Some(0), "{}", again.all());
    cluster.kubectl(&["delete", "namespace", "taken", "--wait=false"]);
}

#[test]
fn a_secret_is_what_kubectl_makes_and_ca_crt() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let done = local(dir.path(), words, "");
        assert_eq!(done.code, Some(0), "{}", done.all());
        done.out()
    };
    run(&["ca", "init"]);
    run(&["cert", "issue", "web", "--dns", "web", "--out", "."]);
    run(&["cert", "issue", "other", "--dns", "other", "--out", "."]);
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (cert, key) = (format!("--cert={}", at("web.crt")), format!("--key={}", at("web.key")));
    let words =
        ["create", "secret", "tls", "web-tls", "-n", "shop", &cert, &key, "--dry-run=client", "-o", "json"];
    let theirs: Value = serde_json::from_str(&cluster.kubectl(&words)).unwrap();
    let ours = run(&[
        "kube", "secret", "web-tls", "-n", "shop", "--cert", "web.crt", "--key", "web.key", "-o", "json",
    ]);
    let mut ours: Value = serde_json::from_str(&ours).unwrap();
    let mut theirs = theirs;
    theirs["metadata"].as_object_mut().unwrap().remove("creationTimestamp");
    assert_eq!(ours, theirs);

    let with_ca = [
        "kube",
        "secret",
        "web-tls",
        "-n",
        "shop",
        "--cert",
        "web.crt",
        "--key",
        "web.key",
        "--ca",
        ".handfast/ca.crt",
        "-o",
        "json",
    ];
    ours = serde_json::from_str(&run(&with_ca)).unwrap();
    assert!(ours["data"]["ca.crt"].as_str().is_some_and(|ca| !ca.is_empty()));
    ours["data"].as_object_mut().unwrap().remove("ca.crt");
    assert_eq!(ours, theirs);

    let mismatch = local(dir.path(), &["kube", "secret", "x", "--cert", "web.crt", "--key", "other.key"], "");
    assert_eq!(mismatch.code, Some(2), "{}", mismatch.all());
    assert!(mismatch.err().contains("HF7140"), "{}", mismatch.all());

    let words = [
        "kube",
        "cert",
        "api",
        "--local",
        "-n",
        "shop",
        "--service",
        "api",
        "--service-account",
        "api",
        "-o",
        "json",
    ];
    let secret: Value = serde_json::from_str(&run(&words)).unwrap();
    std::fs::write(dir.path().join("api.crt"), scene::pem_of(&secret, "tls.crt")).unwrap();
    let said = scene::openssl(&["x509", "-noout", "-ext", "subjectAltName", "-in", &at("api.crt")]);
    assert!(
        said.contains("DNS:api.shop.svc.cluster.local")
            && said.contains("URI:spiffe://cluster.local/ns/shop/sa/api"),
        "{said}"
    );
}
