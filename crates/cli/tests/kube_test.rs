//! `handfast kube test` in a real Kubernetes, in a namespace where Pod Security enforces `restricted`: a good server, one
//! that lets in anybody, and one that still serves what its Secret held before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where something is not as expected"
)]

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::cluster::{BUSYBOX, Cluster, IMAGE};
use testkit::handfast::run;
use testkit::program::Finished;

const NAMESPACE: &str = "pair";
const SOON: Duration = Duration::from_secs(90);

/// A pod as `restricted` wants it. `init` and `volumes` are lines of YAML; all of it is served on 8443.
fn pod(name: &str, container: &str, init: &str, volumes: &str) -> String {
    format!(
        r#"---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {NAMESPACE}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  initContainers: [{init}]
  containers:
  - name: main
    imagePullPolicy: Never
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
{container}
  volumes:
{volumes}
"#
    )
}

fn service(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\nspec:\n  \
         selector: {{app: {name}}}\n  ports: [{{name: https, port: 443, targetPort: 8443}}]\n"
    )
}

fn secret_volume(volume: &str, secret: &str) -> String {
    format!("  - {{name: {volume}, secret: {{secretName: {secret}, defaultMode: 0400}}}}\n")
}

/// Issues a pair with the folder's authority and puts it into a Secret.
fn secret(cluster: &Cluster, dir: &Path, name: &str, purpose: &str, dns: &str) {
    let file =
        format!("{name}-{}", std::fs::read_dir(dir.join(".handfast/certs")).map_or(0, Iterator::count));
    let done = run(testkit::binary!(), dir, &["cert", "issue", &file, purpose, "--dns", dns]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    let path = |file: String| dir.join(".handfast").join(file).display().to_string();
    let from = [
        format!("--from-file=tls.crt={}", path(format!("certs/{file}.crt"))),
        format!("--from-file=tls.key={}", path(format!("certs/{file}.key"))),
        format!("--from-file=ca.crt={}", path("ca.crt".into())),
    ];
    let made = cluster.kubectl(&[
        "-n",
        NAMESPACE,
        "create",
        "secret",
        "generic",
        name,
        "--type=kubernetes.io/tls",
        "--dry-run=client",
        "-o",
        "yaml",
        &from[0],
        &from[1],
        &from[2],
    ]);
    cluster.apply(&made);
}

fn scene(cluster: &Cluster, dir: &Path) {
    cluster.load_image();
    assert_eq!(run(testkit::binary!(), dir, &["ca", "init"]).code, Some(0));
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels: {{pod-security.kubernetes.io/enforce: restricted}}\n"
    ));
    for name in ["web", "loose", "stale"] {
        secret(cluster, dir, &format!("{name}-server-tls"), "--server", &format!("{name}.{NAMESPACE}.svc"));
        cluster.apply(&service(name));
    }
    secret(cluster, dir, "app-client-tls", "--client", "app.pair.svc");
    cluster.apply(&format!(
        r#"apiVersion: v1
kind: ConfigMap
metadata: {{name: site, namespace: {NAMESPACE}}}
data:
  index.html: hello
  handfast.yaml: |
    version: 1
    listeners:
      - name: loose
        bind: ["0.0.0.0:8443"]
        tls:
          certificates: [{{chain: /etc/handfast/server/tls.crt, key: /etc/handfast/server/tls.key}}]
          clients: {{ca: [/etc/handfast/server/ca.crt], mode: optional}}
        hosts:
          - routes: [{{files: {{root: /site}}}}]
"#
    ));
    let server = |folder: &str| {
        format!(
            "    image: {IMAGE}\n    args: [serve, --listen, \"0.0.0.0:8443\", --root, /site, --cert, {folder}/tls.crt, \
             --key, {folder}/tls.key, --client-ca, {folder}/ca.crt]\n"
        )
    };
    let mounts = "    volumeMounts: [{name: handfast-server, mountPath: /etc/handfast/server, readOnly: true}, \
                  {name: site, mountPath: /site}]";
    let site = "  - {name: site, configMap: {name: site}}\n";
    let volumes = |name: &str| secret_volume("handfast-server", &format!("{name}-server-tls")) + site;
    cluster.apply(&pod("web", &(server("/etc/handfast/server") + mounts), "", &volumes("web")));
    let loose = format!("    image: {IMAGE}\n    args: [serve, /site/handfast.yaml]\n{mounts}");
    cluster.apply(&pod("loose", &loose, "", &volumes("loose")));
    // An application that copies its certificate at the start, as many images do.
    let copying = format!(
        "{{name: copy, image: {BUSYBOX}, imagePullPolicy: Never, command: [sh, -c, \"cp -L /etc/handfast/server/* /copy/\"], \
         securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}, \
         volumeMounts: [{{name: handfast-server, mountPath: /etc/handfast/server}}, {{name: copy, mountPath: /copy}}]}}"
    );
    let mounts = mounts.replace("}]", "}, {name: copy, mountPath: /copy}]");
    let volumes = volumes("stale") + "  - {name: copy, emptyDir: {}}\n";
    cluster.apply(&pod("stale", &(server("/copy") + &mounts), &copying, &volumes));
    let app = format!(
        "    image: {BUSYBOX}\n    command: [sleep, \"3600\"]\n    volumeMounts: \
         [{{name: handfast-client, mountPath: /etc/handfast/client, readOnly: true}}]"
    );
    cluster.apply(&pod("app", &app, "", &secret_volume("handfast-client", "app-client-tls")));
    for name in ["web", "loose", "stale", "app"] {
        cluster.wait(&["-n", NAMESPACE, "pod", name], SOON, |pod| pod["status"]["phase"] == "Running");
    }
}

fn prove(cluster: &Cluster, dir: &Path, server: &str, more: &[&str]) -> (Finished, Value) {
    let folder = dir.join(".handfast").display().to_string();
    let mut words =
        vec!["kube", "test", "-n", NAMESPACE, "--server", server, "--client", "app", "-o", "json"];
    if !more.contains(&"--image") {
        words.extend(["--image", IMAGE]);
    }
    if more.is_empty() {
        words.extend(["--ca-dir", &folder]);
    }
    words.extend(more.iter().filter(|word| !word.is_empty()));
    let done = cluster.handfast(&words);
    let report = serde_json::from_slice(&done.stdout).unwrap_or_default();
    (done, report)
}

fn rows<'a>(report: &'a Value, id: &str) -> Vec<&'a Value> {
    let edges = report["edges"].as_array().unwrap();
    edges.iter().flat_map(|edge| edge["rows"].as_array().unwrap()).filter(|row| row["id"] == id).collect()
}

fn verdicts<'a>(report: &'a Value, id: &str) -> Vec<&'a str> {
    rows(report, id).iter().map(|row| row["verdict"].as_str().unwrap()).collect()
}

#[test]
fn pods_prove_both_directions_and_the_wrong_ones_are_named() {
    let Some(cluster) = Cluster::shared(testkit::binary!()) else { return };
    let dir = tempfile::tempdir().unwrap();
    scene(cluster, dir.path());

    // The good server: every row as expected, each refusal with its place and reason.
    let (done, report) = prove(cluster, dir.path(), "web", &[]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    for id in ["good", "no-certificate", "self-signed", "other-ca", "expired", "not-yet-valid", "wrong-usage"]
    {
        assert_eq!(verdicts(&report, id), ["ok", "ok"], "{id}: {}", done.all());
    }
    let none = rows(&report, "no-certificate")[1];
    assert_eq!(none["refused_by"], "pod web", "{none:#}");
    assert!(none["where"].as_str().unwrap().contains("certificate_required (116)"), "{none:#}");
    assert!(none["why"].as_str().unwrap().contains("none was sent"), "{none:#}");
    for id in ["server-name", "server-chain", "server-dates", "served-is-in-secret", "mounted-is-in-secret"] {
        assert_eq!(verdicts(&report, id), ["ok"], "{id}: {}", done.all());
    }
    for (id, why) in [
        ("impostor-other-ca", "UnknownIssuer"),
        ("impostor-wrong-name", "impostor.handfast.invalid"),
        ("impostor-expired", "expired"),
    ] {
        let row = rows(&report, id)[0];
        assert!(row["verdict"] == "ok" && row["why"].as_str().unwrap().contains(why), "{row:#}");
    }
    // What is not proven is not green.
    assert_eq!(verdicts(&report, "application"), ["skipped"]);

    // No key is in the pod's spec or log; the container has ended by itself.
    let pod = cluster.wait(&["-n", NAMESPACE, "pod", "app"], SOON, |pod| {
        !pod["status"]["ephemeralContainerStatuses"][0]["state"]["terminated"].is_null()
    });
    assert_eq!(
        pod["status"]["ephemeralContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0,
        "{pod:#}"
    );
    let container = pod["spec"]["ephemeralContainers"][0]["name"].as_str().unwrap().to_owned();
    let log = cluster.kubectl(&["-n", NAMESPACE, "logs", "app", "-c", &container]);
    assert!(!log.contains("\"key\"") && !log.contains("PRIVATE"), "{log}");
    assert!(!pod["spec"]["ephemeralContainers"].to_string().contains("\"key\""), "{pod:#}");

    // One that asks for certificates, and goes on without.
    let (done, report) = prove(cluster, dir.path(), "loose", &[]);
    assert_eq!(done.code, Some(3), "{}", done.all());
    assert_eq!(verdicts(&report, "no-certificate"), ["fail", "fail"], "{}", done.all());
    assert_eq!(verdicts(&report, "other-ca"), ["ok", "ok"], "{}", done.all());

    // One that serves what it copied at its start.
    secret(cluster, dir.path(), "stale-server-tls", "--server", "stale.pair.svc");
    let (done, report) = prove(cluster, dir.path(), "stale", &[]);
    assert_eq!(done.code, Some(3), "{}", done.all());
    let row = rows(&report, "served-is-in-secret")[0];
    assert_eq!((row["verdict"].as_str(), row["pod"].as_str()), (Some("fail"), Some("stale")), "{row:#}");
    assert_eq!(row["code"], "HF7602");

    // Without the authority what cannot be made is skipped, not passed; and JUnit for machines.
    let (done, report) = prove(cluster, dir.path(), "web", &[""]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert_eq!(verdicts(&report, "expired"), ["skipped", "skipped"], "{}", done.all());
    let (done, _) = prove(cluster, dir.path(), "web", &["--junit"]);
    assert!(done.out().contains("<testsuite name=\"app -&gt; web:443\""), "{}", done.all());

    // An image that is not there, and nothing to test.
    let (done, _) =
        prove(cluster, dir.path(), "web", &["--image", "handfast.test/absent:1", "--start-timeout", "5s"]);
    assert!(done.code != Some(0) && done.err().contains("HF7601"), "{}", done.all());
    let (done, _) = prove(cluster, dir.path(), "nobody", &[]);
    assert!(done.code == Some(1) && done.err().contains("HF7600"), "{}", done.all());
}
