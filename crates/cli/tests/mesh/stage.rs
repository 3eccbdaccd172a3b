//! Namespaces of the mesh, with a server and a client that know nothing of it.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::cluster::{BUSYBOX, Cluster, IMAGE};
use testkit::program::Finished;

use super::scene;

/// For a pod to be there.
pub const POD: Duration = Duration::from_secs(90);

/// Waits for this test's turn, with the mesh installed.
pub fn take_turn() -> Option<scene::Turn> {
    take_turn_with(|_| Vec::new())
}

/// The same with the proxy of each node, and its plugin in the cluster's CNI.
pub fn take_turn_with_node() -> Option<scene::Turn> {
    take_turn_with(|cluster| {
        let folder = |name: &str| cluster.dir().join("config").join(name).to_string_lossy().into_owned();
        ["--node", "--cni-conf-dir", &folder("cni"), "--cni-bin-dir", &folder("cni-bin")]
            .map(str::to_owned)
            .to_vec()
    })
}

fn take_turn_with(more: impl Fn(&Cluster) -> Vec<String>) -> Option<scene::Turn> {
    use std::sync::Mutex;
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let turn = scene::take_turn(testkit::binary!())?;
    let mut installed = INSTALLED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*installed {
        let words = ["mesh", "install", "--apply", "--crds", "--timeout", "2m"];
        let image = ["--image", IMAGE, "--image-pull-policy", "Never"];
        let more = more(&turn);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let done = turn.handfast(&[&words[..], &image, &more].concat());
        let seen = turn.try_kubectl(&["describe", "pods", "-A"]);
        assert_eq!(done.code, Some(0), "{}\n{}", done.all(), seen.all());
        *installed = true;
    }
    Some(turn)
}

/// A namespace of the mesh, and one that is not.
pub struct Stage<'a> {
    pub cluster: &'a Cluster,
    pub namespace: String,
}

impl<'a> Stage<'a> {
    /// Makes a namespace of the mesh.
    pub fn new(cluster: &'a Cluster, namespace: &str) -> Self {
        Self::labelled(cluster, namespace, "handfast.dev/mesh: enabled")
    }

    /// Makes a namespace with these labels.
    pub fn labelled(cluster: &'a Cluster, namespace: &str, labels: &str) -> Self {
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}, labels: {{{labels}}}}}}}"
        ));
        cluster.wait(&["-n", namespace, "serviceaccount", "default"], POD, |found| !found.is_null());
        Self { cluster, namespace: namespace.to_owned() }
    }

    /// A server that writes down who asks, with its Service and service account; its readiness is asked by kubelet.
    pub fn server(&self, name: &str) {
        let command = format!(
            "mkdir -p /tmp/w && echo hello from {name} > /tmp/w/index.html && exec httpd -f -v -p 8080 -h /tmp/w"
        );
        self.pod(name, &command, "readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}", "");
        self.cluster.apply(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {}}}, \
             spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}}}",
            self.namespace
        ));
    }

    /// A pod that waits for what it is told.
    pub fn client(&self, name: &str) {
        self.pod(name, "exec sleep 100000", "", "");
    }

    /// A pod that calls `http://web/` several times a second, and writes down how each call ended.
    pub fn caller(&self, name: &str) {
        let calls = "while true; do if timeout 5 wget -q -O /dev/null http://web/; then echo ok; \
                     else echo FAILED $(date +%T); fi >> /tmp/calls; usleep 50000; done";
        self.pod(name, calls, "", "");
    }

    /// How many of its calls went well, and those that did not.
    pub fn calls(&self, caller: &str) -> (usize, Vec<String>) {
        let said = self.run(caller, &["cat", "/tmp/calls"]).out();
        // Before the first one that went well its server had not started.
        let since = said.lines().skip_while(|line| *line != "ok");
        let failed = since.filter(|line| *line != "ok").map(str::to_owned).collect();
        (said.lines().filter(|line| *line == "ok").count(), failed)
    }

    /// Waits for so many more calls that go well.
    pub fn talk(&self, caller: &str, more: usize) {
        let wanted = self.calls(caller).0 + more;
        let deadline = Instant::now() + POD;
        while self.calls(caller).0 < wanted {
            assert!(
                Instant::now() < deadline,
                "they do not talk: {:?}\n{}",
                self.calls(caller),
                self.log(caller)
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// A pod that runs a command as the service account of its name.
    pub fn pod(&self, name: &str, command: &str, container: &str, annotations: &str) {
        let namespace = &self.namespace;
        let container = if container.is_empty() { String::new() } else { format!("    {container}\n") };
        self.cluster.apply(&format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {namespace}}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  labels: {{app: {name}}}\n\
             \x20 annotations: {{{annotations}}}\nspec:\n  serviceAccountName: {name}\n  terminationGracePeriodSeconds: 2\n  containers:\n\
             \x20 - name: app\n    image: {BUSYBOX}\n    imagePullPolicy: Never\n    command: [sh, -c, {command:?}]\n{container}"
        ));
    }

    /// Waits until a pod is ready, and gives it.
    pub fn ready(&self, name: &str) -> Value {
        let deadline = Instant::now() + POD;
        loop {
            let found = self.cluster.get(&["-n", &self.namespace, "pod", name]);
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True") {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{name} is not ready:\n{}\n{}",
                self.cluster.try_kubectl(&["-n", &self.namespace, "describe", "pod", name]).all(),
                self.log(name)
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// A pod's address.
    pub fn address(&self, name: &str) -> String {
        self.ready(name)["status"]["podIP"].as_str().unwrap().to_owned()
    }

    /// Runs a command in a pod's application.
    pub fn run(&self, pod: &str, words: &[&str]) -> Finished {
        run_in(self.cluster, &self.namespace, pod, words)
    }

    /// Calls a URL from a pod's application.
    pub fn call(&self, pod: &str, url: &str) -> Finished {
        self.run(pod, &["timeout", "5", "wget", "-qO-", url])
    }

    /// Calls until it goes well, or does not, as is wanted.
    pub fn call_until(&self, pod: &str, url: &str, good: bool) -> Finished {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let done = self.call(pod, url);
            if (done.code == Some(0)) == good {
                return done;
            }
            assert!(
                Instant::now() < deadline,
                "{pod} -> {url}: wanted {good}: {}\n{}",
                done.all(),
                self.log(pod)
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// What a pod's proxy wrote.
    pub fn log(&self, pod: &str) -> String {
        let words = ["-n", &self.namespace, "logs", pod, "-c", "handfast-proxy"];
        self.cluster.try_kubectl(&words).all()
    }

    /// The lines of a pod's proxy about connections.
    pub fn connections(&self, pod: &str) -> Vec<Value> {
        let lines = self.log(pod);
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == "handfast::mesh").collect()
    }

    /// What a pod's proxy counts.
    pub fn metrics(&self, pod: &str) -> String {
        self.run(pod, &["timeout", "5", "wget", "-qO-", "http://127.0.0.1:15020/metrics"]).all()
    }

    /// What a pod's application wrote.
    pub fn application_log(&self, pod: &str) -> String {
        self.cluster.try_kubectl(&["-n", &self.namespace, "logs", pod, "-c", "app"]).all()
    }

    /// Everything in the namespace is strict.
    pub fn strict(&self) {
        self.cluster.apply(&format!(
            "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, \
             metadata: {{name: strict, namespace: {}}}, spec: {{mtls: {{mode: STRICT}}}}}}",
            self.namespace
        ));
    }

    /// An AuthorizationPolicy for a server, its spec's rest in YAML's flow form.
    pub fn policy(&self, name: &str, server: &str, rest: &str) {
        self.cluster.apply(&format!(
            "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, \
             metadata: {{name: {name}, namespace: {}}}, \
             spec: {{selector: {{matchLabels: {{app: {server}}}}}, {rest}}}}}",
            self.namespace
        ));
    }

    /// Takes it away, without waiting.
    pub fn end(self) {
        self.cluster.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

/// Runs a command in a pod's application.
pub fn run_in(cluster: &Cluster, namespace: &str, pod: &str, words: &[&str]) -> Finished {
    let mut all = vec!["-n", namespace, "exec", pod, "-c", "app", "--"];
    all.extend(words);
    cluster.try_kubectl(&all)
}

/// A pod in a namespace that is not of the mesh.
pub fn stranger(cluster: &Cluster, name: &str) {
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: default}}, spec: {{\
         terminationGracePeriodSeconds: 2, containers: [{{name: app, image: '{BUSYBOX}', imagePullPolicy: Never, \
         command: [sh, -c, 'mkdir -p /tmp/w && echo a stranger > /tmp/w/index.html && exec httpd -f -p 8080 -h /tmp/w']}}]}}}}"
    ));
    cluster.wait(&["pod", name], POD, |found| found["status"]["phase"] == "Running");
}

/// The processes of a pod's proxy: they have the pod's name in their environment. The cluster's are this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyProcesses {
    /// The container's first one, which starts the other.
    pub supervisor: i32,
    /// The one that carries connections.
    pub worker: i32,
}

/// Both, while there are both.
pub fn proxy_processes(namespace: &str, pod: &str) -> Option<ProxyProcesses> {
    let wanted = [format!("HANDFAST_POD_NAME={pod}"), format!("HANDFAST_POD_NAMESPACE={namespace}")];
    let (mut supervisor, mut worker) = (None, None);
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        let Ok(words) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let has = |text: &String| environment.split(|byte| *byte == 0).any(|one| one == text.as_bytes());
        if wanted.iter().all(has) {
            let is_worker = words.split(|byte| *byte == 0).any(|word| word.starts_with(b"--supervised="));
            *(if is_worker { &mut worker } else { &mut supervisor }) = Some(number);
        }
    }
    Some(ProxyProcesses { supervisor: supervisor?, worker: worker? })
}

/// kill -9.
pub fn kill(process: i32) {
    let process = rustix::process::Pid::from_raw(process).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
}
