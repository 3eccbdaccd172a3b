//! Pods that ask, their tokens, and real requests made by openssl.

use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::cluster::{BUSYBOX, Cluster};
use testkit::program::Program;

use crate::scene::{SOON, openssl};

/// Image with a shell, openssl and curl.
const OPENSSL: &str = "handfast.test/openssl:1";

/// Loads it, once.
pub fn load_openssl(cluster: &Cluster) {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        let words = [
            "image",
            OPENSSL,
            "--busybox",
            "--binary",
            "/usr/bin/openssl:/usr/bin/openssl",
            "--binary",
            "/usr/bin/curl:/usr/bin/curl",
            "--add",
            "/etc/ssl/openssl.cnf:/usr/lib/ssl/openssl.cnf",
        ];
        cluster.control(&words);
    });
}

/// A file of `examples/kubernetes`.
pub fn example(name: &str) -> String {
    format!("{}/../../examples/kubernetes/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What a shell in a pod says.
pub fn in_pod(cluster: &Cluster, namespace: &str, pod: &str, script: &str) -> String {
    cluster.kubectl(&["-n", namespace, "exec", pod, "-c", container(pod), "--", "sh", "-c", script])
}

fn container(pod: &str) -> &str {
    if pod == "asker" { "app" } else { pod }
}

/// A pod `waiter` of a service account `waiter`, in a namespace of its own; service accounts may make requests.
pub fn waiting_pod(cluster: &Cluster, namespace: &str) {
    cluster.apply(&format!(
        "
{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}
---
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: waiter, namespace: {namespace}}}}}
---
{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: asking}}, rules: [
  {{apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [create, get]}}]}}
---
{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: asking}},
 roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: asking}},
 subjects: [{{kind: Group, apiGroup: rbac.authorization.k8s.io, name: 'system:serviceaccounts'}}]}}
---
{{apiVersion: v1, kind: Pod, metadata: {{name: waiter, namespace: {namespace}}}, spec: {{
  serviceAccountName: waiter, terminationGracePeriodSeconds: 0, containers: [
  {{name: waiter, image: '{BUSYBOX}', imagePullPolicy: Never, command: [sleep, '3600']}}]}}}}
"
    ));
    cluster.wait(&["-n", namespace, "pod", "waiter"], SOON, |pod| pod["status"]["phase"] == "Running");
}

/// A token that is bound to the pod `waiter`, as the one that is mounted into it.
pub fn pod_token(cluster: &Cluster, namespace: &str) -> String {
    let words = [
        "-n",
        namespace,
        "exec",
        "waiter",
        "--",
        "cat",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
    ];
    cluster.kubectl(&words).trim().to_owned()
}

/// A condition of an object, `Null` where it has none of this type.
pub fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|found| found["type"] == kind).cloned().unwrap_or(Value::Null)
}

/// Whether nothing more happens to a CertificateSigningRequest.
pub fn is_decided(csr: &Value) -> bool {
    !csr["status"]["certificate"].is_null()
        || !condition(csr, "Denied").is_null()
        || !condition(csr, "Failed").is_null()
}

/// The chain in a CertificateSigningRequest.
pub fn certificate(csr: &Value) -> String {
    let text = csr["status"]["certificate"].as_str().unwrap();
    let done = Program::run(Command::new("base64").arg("-d"), text.as_bytes(), Duration::from_secs(10));
    assert_eq!(done.code, Some(0), "{}", done.all());
    done.out()
}

/// Serial number of the first certificate in a file, as the audit log writes it.
pub fn serial(chain: &str) -> String {
    let said = openssl(&["x509", "-noout", "-serial", "-in", chain]);
    said.trim().trim_start_matches("serial=").to_lowercase()
}

/// A folder for what openssl reads and writes.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a file; gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// The chain leads to the root, for both ends of a connection.
    pub fn verify(&self, root: &str, chain: &str) {
        for purpose in ["sslserver", "sslclient"] {
            let words =
                ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", root, "-untrusted", chain, chain];
            let said = openssl(&words);
            assert!(said.contains(": OK"), "{purpose}: {said}");
        }
    }

    /// A signing request with a key of its own; gives it in Base64.
    pub fn request(&self, subject: &str, more: &[&str]) -> String {
        let key = self.file("request.key", "");
        let mut command = Command::new("openssl");
        command
            .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-keyout", &key, "-subj", subject])
            .args(more);
        let done = Program::run(&mut command, b"", Duration::from_secs(30));
        assert_eq!(done.code, Some(0), "{}", done.all());
        base64(&done.stdout)
    }

    /// Makes a CertificateSigningRequest: as the administrator, or with a token.
    pub fn ask(&self, cluster: &Cluster, name: &str, request: &str, usage: &str, token: Option<&str>) {
        let csr = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": { "name": name },
            "spec": {
                "signerName": "handfast.dev/workload",
                "request": request,
                "usages": [usage],
                "expirationSeconds": 3600,
            },
        });
        let file = self.file("csr.json", &csr.to_string());
        let token = token.map(|token| format!("--token={token}"));
        let mut words = vec!["create", "--validate=false", "-f", &file];
        words.extend(token.as_deref());
        cluster.kubectl(&words);
    }

    /// Makes a PodCertificateRequest like another one, but for a pod that is not the one of this name.
    pub fn ask_for_pod(&self, cluster: &Cluster, namespace: &str, name: &str, like: &Value) {
        let mut spec = like.clone();
        spec["podUID"] = json!("00000000-0000-0000-0000-000000000000");
        let request = json!({
            "apiVersion": "certificates.k8s.io/v1beta1",
            "kind": "PodCertificateRequest",
            "metadata": { "name": name, "namespace": namespace },
            "spec": spec,
        });
        let file = self.file("pod.json", &request.to_string());
        cluster.kubectl(&["create", "-f", &file]);
    }
}

pub fn base64(bytes: &[u8]) -> String {
    let done = Program::run(Command::new("base64").arg("-w0"), bytes, Duration::from_secs(10));
    done.out().trim().to_owned()
}
