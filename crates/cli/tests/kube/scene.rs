//! A namespace for one test, and the questions that tests ask.

use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use testkit::cluster::{Cluster, IMAGE};
use testkit::program::Program;

/// For what happens by itself within a moment.
pub const SOON: Duration = Duration::from_secs(45);
/// How the controller is installed here. A life of a minute is for tests of renewal.
pub const INSTALL: [&str; 6] = ["--image", IMAGE, "--image-pull-policy", "Never", "--min-lifetime", "1m"];

/// The cluster, for one test at a time.
pub struct Turn {
    cluster: &'static Cluster,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Turn {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

/// Waits for this test's turn, with the controller installed. `None` where this machine can have no cluster.
pub fn take_turn(binary: &Path) -> Option<Turn> {
    static TURN: Mutex<()> = Mutex::new(());
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    // A test that failed has poisoned it: the others go on.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = Cluster::shared(binary)?;
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*installed {
        cluster.load_image();
        let mut words = vec!["kube", "install", "--apply", "--timeout", "2m"];
        words.extend(INSTALL);
        let done = cluster.handfast(&words);
        assert_eq!(
            done.code,
            Some(0),
            "{}\n{}",
            done.all(),
            cluster.kubectl(&["-n", "handfast-system", "describe", "pods"])
        );
        *installed = true;
    }
    Some(Turn { cluster, _turn: turn })
}

/// A namespace with the controller's right to these Secrets.
pub struct Scene<'a> {
    cluster: &'a Cluster,
    namespace: String,
}

impl<'a> Scene<'a> {
    /// Makes it.
    pub fn new(cluster: &'a Cluster, namespace: &str, secrets: &[&str]) -> Self {
        let names = secrets.join(", ");
        cluster.apply(&format!(
            "
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: handfast-controller, namespace: {namespace}}}
rules:
- {{apiGroups: [''], resources: [secrets], resourceNames: [{names}], verbs: [get, create, patch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: handfast-controller, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: handfast-controller}}
subjects: [{{kind: ServiceAccount, name: handfast-controller, namespace: handfast-system}}]
"
        ));
        let scene = Self { cluster, namespace: namespace.to_owned() };
        cluster.wait(&["-n", namespace, "serviceaccount", "default"], SOON, |found| !found.is_null());
        scene
    }

    /// A Service.
    pub fn service(&self, name: &str) {
        self.cluster.kubectl(&[
            "-n",
            &self.namespace,
            "create",
            "service",
            "clusterip",
            name,
            "--tcp=443:8443",
        ]);
    }

    /// A Certificate with this spec in YAML's flow form.
    pub fn certificate(&self, name: &str, spec: &str) {
        self.cluster.apply(&format!(
            "{{apiVersion: handfast.dev/v1, kind: Certificate, \
             metadata: {{name: {name}, namespace: {}}}, spec: {spec}}}",
            self.namespace
        ));
    }

    /// Merges into a Certificate.
    pub fn patch(&self, name: &str, patch: &str) {
        let words =
            ["-n", &self.namespace, "patch", "certificate.handfast.dev", name, "--type=merge", "-p", patch];
        self.cluster.kubectl(&words);
    }

    /// A Certificate.
    pub fn get(&self, name: &str) -> Value {
        self.cluster.get(&["-n", &self.namespace, "certificate.handfast.dev", name])
    }

    /// A Certificate, once it is as `done` wants it.
    pub fn wait(&self, name: &str, done: impl Fn(&Value) -> bool) -> Value {
        self.cluster.wait(&["-n", &self.namespace, "certificate.handfast.dev", name], SOON, done)
    }

    /// A Certificate, once it is ready.
    pub fn wait_ready(&self, name: &str) -> Value {
        self.wait(name, is_ready)
    }

    /// A Secret, `Null` where there is none.
    pub fn secret(&self, name: &str) -> Value {
        self.cluster.get(&["-n", &self.namespace, "secret", name])
    }

    /// Waits for an Event of a Certificate.
    pub fn wait_event(&self, certificate: &str, reason: &str) {
        self.cluster.wait(&["-n", &self.namespace, "events.events.k8s.io"], SOON, |found| {
            found["items"].as_array().into_iter().flatten().any(|event| {
                event["reason"] == reason
                    && event["regarding"]["kind"] == "Certificate"
                    && event["regarding"]["name"] == certificate
            })
        });
    }
}

/// Whether the present spec of a Certificate is Ready.
pub fn is_ready(certificate: &Value) -> bool {
    let status = &certificate["status"];
    status["observedGeneration"] == certificate["metadata"]["generation"]
        && status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Serial number in a Certificate's status.
pub fn serial(certificate: &Value) -> &str {
    certificate["status"]["serial"].as_str().unwrap_or_default()
}

/// Serial number of the certificate in a Secret, as openssl reads it.
pub fn serial_of_secret(secret: &Value) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tls.crt");
    std::fs::write(&path, pem_of(secret, "tls.crt")).unwrap();
    let said = openssl(&["x509", "-noout", "-serial", "-in", &path.to_string_lossy()]);
    said.trim().trim_start_matches("serial=").to_lowercase()
}

/// A text in a Secret.
pub fn pem_of(secret: &Value, key: &str) -> String {
    String::from_utf8(bytes_of(secret, key)).unwrap()
}

/// A value in a Secret.
pub fn bytes_of(secret: &Value, key: &str) -> Vec<u8> {
    let text = secret["data"][key]
        .as_str()
        .unwrap_or_else(|| panic!("there is no {key} in {:?}", secret["metadata"]));
    let mut command = Command::new("base64");
    let done = Program::run(command.arg("-d"), text.as_bytes(), Duration::from_secs(10));
    assert_eq!(done.code, Some(0), "{}", done.all());
    done.stdout
}

/// What the authority is: all of its Secret but the numbers of its revocation lists, of which whoever leads anew signs
/// new ones. For comparing: it holds keys, and must not be printed.
pub fn authority(cluster: &Cluster) -> Value {
    let secret = cluster.get(&["-n", "handfast-system", "secret", "handfast-authority"]);
    let mut data = secret["data"].clone();
    assert!(data["root-1.key"].is_string(), "no controller has filled it");
    let mut state: Value = serde_json::from_slice(&bytes_of(&secret, "state.json")).unwrap();
    assert!(state.as_object_mut().unwrap().remove("crlNumbers").is_some(), "{state}");
    data["state.json"] = state;
    data
}

/// Runs openssl; gives all that it says.
pub fn openssl(words: &[&str]) -> String {
    Program::run(Command::new("openssl").args(words), b"", Duration::from_secs(30)).all()
}

/// The pod that leads.
pub fn leader(cluster: &Cluster) -> String {
    let lease = cluster.wait(&["-n", "handfast-system", "lease", "handfast-controller"], SOON, |lease| {
        lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| !holder.is_empty())
    });
    lease["spec"]["holderIdentity"].as_str().unwrap().split('_').next().unwrap().to_owned()
}

/// The audit log of all controllers that run.
pub fn audit(cluster: &Cluster) -> Vec<Value> {
    let words =
        ["-n", "handfast-system", "logs", "-l", "app.kubernetes.io/name=handfast-controller", "--tail=-1"];
    let text = cluster.kubectl(&words);
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["audit"] == 1).collect()
}

/// The metrics of the leader.
pub fn metrics(cluster: &Cluster) -> String {
    let leader = leader(cluster);
    let path = format!("/api/v1/namespaces/handfast-system/pods/{leader}:9402/proxy/metrics");
    cluster.kubectl(&["get", "--raw", &path])
}

/// Waits until both controllers are there again.
pub fn wait_installed(cluster: &Cluster) {
    let words = ["-n", "handfast-system", "deployment", "handfast-controller"];
    cluster.wait(&words, Duration::from_secs(90), |found| found["status"]["availableReplicas"] == 2);
}

/// Waits until the leader's metrics hold this.
pub fn wait_metric(cluster: &Cluster, series: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let leader = leader(cluster);
        let path = format!("/api/v1/namespaces/handfast-system/pods/{leader}:9402/proxy/metrics");
        let found = cluster.try_kubectl(&["get", "--raw", &path]);
        if found.code == Some(0) && found.out().contains(series) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{series} does not come:\n{}", found.all());
        std::thread::sleep(Duration::from_millis(500));
    }
}
