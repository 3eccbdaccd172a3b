//! What lies in `deploy/` at work: the project's image, installed by the real Helm into a namespace that enforces Pod
//! Security's `restricted`, upgraded, taken out and put in again; what the kernel says of its process; and whether the
//! metrics that the alerts name are there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test stops where something is not as expected"
)]

#[path = "kube/scene.rs"]
mod scene;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use scene::{SOON, Scene, serial, wait_installed};
use serde_json::Value;
use testkit::cluster::Cluster;
use testkit::helm::helm;
use testkit::program::{Finished, Program};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
const IMAGE: &str = "handfast.test/project:1";
const SYSTEM: &str = "handfast-system";

/// The cluster with the chart installed, for one test at a time.
struct Turn {
    cluster: &'static Cluster,
    helm: &'static Path,
    _turn: MutexGuard<'static, ()>,
}

fn take_turn() -> Option<Turn> {
    static TURN: Mutex<()> = Mutex::new(());
    static INSTALLED: OnceLock<()> = OnceLock::new();
    // A test that failed has poisoned it: the others go on.
    let guard = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let helm = helm()?;
    let cluster = Cluster::shared(testkit::binary!())?;
    let turn = Turn { cluster, helm, _turn: guard };
    INSTALLED.get_or_init(|| {
        let archive = Path::new(env!("CARGO_TARGET_TMPDIR")).join("project.tar");
        build_image(testkit::binary!(), &archive);
        cluster.control(&["load", &archive.to_string_lossy()]);
        std::fs::remove_file(archive).unwrap();
        cluster.kubectl(&["create", "namespace", SYSTEM]);
        cluster.kubectl(&["label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted"]);
        turn.install();
    });
    Some(turn)
}

impl Turn {
    /// Helm in the cluster's network; it keeps nothing at home.
    fn helm(&self, words: &[&str]) -> Finished {
        let home =
            format!("HELM_CACHE_HOME={}", Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm").display());
        let program = self.helm.to_string_lossy();
        let mut all = vec!["env", home.as_str(), &*program];
        all.extend(words);
        all.extend(["-n", SYSTEM]);
        self.cluster.exec(&all, Duration::from_secs(240))
    }

    fn install(&self) {
        let image = format!("image={IMAGE},imagePullPolicy=Never");
        let chart = format!("{DEPLOY}/chart/handfast");
        let done = self.helm(&["install", "handfast", &chart, "--set", &image, "--wait", "--timeout", "3m"]);
        assert_eq!(done.code, Some(0), "{}\n{}", done.all(), self.pods());
        wait_installed(self.cluster);
    }

    fn pods(&self) -> String {
        self.cluster.try_kubectl(&["-n", SYSTEM, "describe", "pods"]).all()
    }

    /// The roots that namespaces are told to trust.
    fn roots(&self, namespace: &str) -> Value {
        let found =
            self.cluster.wait(&["-n", namespace, "configmap", "handfast-trust"], SOON, |map| !map.is_null());
        found["data"]["ca.crt"].clone()
    }
}

fn build_image(binary: &Path, archive: &Path) -> String {
    let mut command = Command::new(format!("{DEPLOY}/image/build"));
    command.arg("--binary").arg(binary).arg("--output").arg(archive).args(["--name", IMAGE]);
    let done = Program::run(&mut command, b"", Duration::from_secs(120));
    assert_eq!(done.code, Some(0), "{}", done.all());
    done.out().trim().to_owned()
}

#[test]
fn helm_installs_upgrades_and_uninstalls_and_the_authority_stays() {
    let Some(turn) = take_turn() else { return };
    let cluster = turn.cluster;
    let scene = Scene::new(cluster, "kept", &["one", "two"]);
    scene.certificate("one", "{secretName: one, serviceAccount: default}");
    let one = scene.wait_ready("one");
    let roots = turn.roots("kept");
    let authority = || scene::authority(cluster);
    let before = authority();

    // An upgrade to one replica: the rest stays as it is, and what the controller wrote is not overwritten.
    let chart = format!("{DEPLOY}/chart/handfast");
    let words =
        ["upgrade", "handfast", &chart, "--reuse-values", "--set", "replicas=1", "--wait", "--timeout", "3m"];
    let done = turn.helm(&words);
    assert_eq!(done.code, Some(0), "{}\n{}", done.all(), turn.pods());
    let deployment = ["-n", SYSTEM, "deployment", "handfast-controller"];
    cluster.wait(&deployment, SOON, |found| {
        found["status"]["replicas"] == 1 && found["status"]["availableReplicas"] == 1
    });
    let budget = ["-n", SYSTEM, "poddisruptionbudget", "handfast-controller"];
    assert!(cluster.get(&budget).is_null(), "one that may never be disrupted blocks every drain");
    assert!(authority() == before, "the authority is another one");

    let done = turn.helm(&["uninstall", "handfast", "--wait", "--timeout", "2m"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert!(cluster.get(&deployment).is_null());
    assert!(cluster.get(&["clusterrole", "handfast-controller"]).is_null(), "no right is left behind");
    assert!(authority() == before, "without it no certificate could be renewed again");
    assert_eq!(serial(&scene.get("one")), serial(&one), "the Certificates stay, and with them their Secrets");
    assert!(!scene.secret("one").is_null());

    // Put in again, it goes on with the same authority, and nothing is issued anew.
    turn.install();
    scene.certificate("two", "{secretName: two, serviceAccount: default}");
    scene.wait_ready("two");
    assert_eq!(turn.roots("kept"), roots);
    assert_eq!(serial(&scene.get("one")), serial(&one));
    assert!(authority() == before, "the authority is another one");
}

#[test]
fn an_authority_that_was_emptied_is_not_replaced_by_a_new_one() {
    let Some(turn) = take_turn() else { return };
    let cluster = turn.cluster;
    let scene = Scene::new(cluster, "emptied", &["one"]);
    scene.certificate("one", "{secretName: one, serviceAccount: default}");
    let one = scene.wait_ready("one");
    let roots = turn.roots("emptied");
    let before = scene::authority(cluster);
    let chart = format!("{DEPLOY}/chart/handfast");
    let words =
        ["upgrade", "handfast", &chart, "--reuse-values", "--force-replace", "--server-side=false", "--wait"];
    let done = turn.helm(&[&words[..], &["--timeout", "3m"]].concat());
    assert_eq!(done.code, Some(0), "{}\n{}", done.all(), turn.pods());
    assert!(scene::authority(cluster) == before, "the chart emptied it");

    // As in a repository of manifests that are replaced.
    let words = ["-n", SYSTEM, "secret", "handfast-authority"];
    let mut backup = cluster.get(&words);
    let metadata = backup["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "namespace", "labels", "annotations"].contains(&key.as_str()));
    let folder = tempfile::tempdir().unwrap();
    let replace = |object: &Value| {
        let path = folder.path().join("secret.json");
        std::fs::write(&path, object.to_string()).unwrap();
        cluster.kubectl(&["replace", "-f", &path.to_string_lossy()]);
    };
    let mut empty = backup.clone();
    empty.as_object_mut().unwrap().remove("data");
    replace(&empty);
    scene::wait_metric(cluster, "handfast_authority_damaged 1");
    cluster.kubectl(&["-n", SYSTEM, "delete", "pods", "--all", "--wait=true", "--grace-period=1"]);
    scene::wait_metric(cluster, "handfast_reconcile_failures_total{reason=\"authority_missing\"}");
    let leader = scene::leader(cluster);
    let log = cluster.kubectl(&["-n", SYSTEM, "logs", &leader]);
    assert!(log.contains("HF7005") && log.contains("there has been an authority"), "{log}");
    assert!(cluster.get(&words)["data"].is_null(), "another one was made");

    replace(&backup);
    wait_installed(cluster);
    assert!(scene::authority(cluster) == before, "another one came in its place");
    assert_eq!(turn.roots("emptied"), roots);
    assert_eq!(serial(&scene.get("one")), serial(&one));
}

#[test]
fn the_image_runs_without_any_privilege_and_has_no_shell() {
    let Some(turn) = take_turn() else { return };
    let cluster = turn.cluster;
    let namespace = cluster.get(&["namespace", SYSTEM]);
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let leader = scene::leader(cluster);
    let pod = cluster.get(&["-n", SYSTEM, "pod", &leader]);
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap().to_owned();
    let process = process_of(id.rsplit('/').next().unwrap());

    // What the kernel says of it, from outside.
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let field = |name: &str| -> Vec<String> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in:\n{status}"))
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(field("Uid"), ["65532"; 4]);
    assert_eq!(field("Gid"), ["65532"; 4]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs"), ["1"]);
    assert_eq!(field("Seccomp"), ["2"], "filtered");
    let mounts = std::fs::read_to_string(process.join("mounts")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(root.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"), "{root}");

    let said = cluster.try_kubectl(&["-n", SYSTEM, "exec", &leader, "--", "/handfast", "--version"]);
    assert!(said.code == Some(0) && said.out().starts_with("handfast "), "{}", said.all());
    for shell in ["sh", "/bin/sh", "/bin/busybox", "ls"] {
        let done = cluster.try_kubectl(&["-n", SYSTEM, "exec", &leader, "--", shell]);
        assert_ne!(done.code, Some(0), "{shell} runs");
        let missing = ["no such file or directory", "executable file not found"];
        assert!(missing.iter().any(|reason| done.all().contains(reason)), "{shell}: {}", done.all());
    }
}

/// The folder in /proc of the first process of a container.
fn process_of(container: &str) -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Ok(number) = entry.file_name().to_string_lossy().parse() else { continue };
        let groups = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if groups.contains(container) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    found.into_iter().next().unwrap_or_else(|| panic!("no process is in the container {container}")).1
}

#[test]
fn the_image_of_the_same_program_is_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first.tar"), dir.path().join("second.tar"));
    // Another name, time and mode of the file change nothing.
    let copy = dir.path().join("copy");
    std::fs::copy(testkit::binary!(), &copy).unwrap();
    let done = Program::run(Command::new("chmod").arg("700").arg(&copy), b"", Duration::from_secs(10));
    assert_eq!(done.code, Some(0), "{}", done.all());
    let digest = build_image(testkit::binary!(), &first);
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    assert_eq!(digest, build_image(&copy, &second));
    let same = Program::run(Command::new("cmp").arg(&first).arg(&second), b"", Duration::from_secs(60));
    assert_eq!(same.code, Some(0), "{}", same.all());

    // An OCI layout and a docker archive in one, of one layer, with labels and a user that is not root.
    let member = |name: &str| -> Value {
        let mut command = Command::new("tar");
        let done = Program::run(command.arg("xOf").arg(&first).arg(name), b"", Duration::from_secs(60));
        assert_eq!(done.code, Some(0), "{name}: {}", done.err());
        serde_json::from_slice(&done.stdout).unwrap()
    };
    let blob = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
    assert_eq!(member("oci-layout")["imageLayoutVersion"], "1.0.0");
    let index = member("index.json");
    assert_eq!(index["manifests"][0]["digest"], digest.as_str());
    let manifest = member(&blob(&index["manifests"][0]["digest"]));
    let docker = member("manifest.json");
    assert_eq!(docker[0]["RepoTags"][0], IMAGE);
    assert_eq!(docker[0]["Layers"][0], blob(&manifest["layers"][0]["digest"]));
    let config = member(&blob(&manifest["config"]["digest"]));
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"][0], "/handfast");
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.title"], "handfast");
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
}

/// Names of metrics in the alerts' expressions.
fn named_by_alerts() -> BTreeSet<String> {
    let alerts = std::fs::read_to_string(format!("{DEPLOY}/monitoring/alerts.yaml")).unwrap();
    let alerts: Value = serde_saphyr::from_str(&alerts).unwrap();
    let mut names = BTreeSet::new();
    for rule in
        alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
    {
        let words = rule["expr"].as_str().unwrap().split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        names.extend(words.filter(|word| word.starts_with("handfast_")).map(str::to_owned));
    }
    names
}

#[test]
fn every_metric_of_the_alerts_is_there_and_a_lost_authority_shows() {
    let Some(turn) = take_turn() else { return };
    let cluster = turn.cluster;
    let scene = Scene::new(cluster, "measured", &["good"]);
    scene.certificate("good", "{secretName: good, serviceAccount: default}");
    // Nobody gave the controller a right to this Secret: it fails, and counts that.
    scene.certificate("bad", "{secretName: not-allowed, serviceAccount: default}");
    scene.wait_ready("good");
    scene::wait_metric(cluster, "handfast_reconcile_failures_total{reason=\"secret_forbidden\"}");
    let metrics = scene::metrics(cluster);
    let names = named_by_alerts();
    assert!(names.len() >= 8, "{names:?}");
    let there = |name: &str, metrics: &str| {
        metrics.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
    };
    let missing: Vec<_> = names.iter().filter(|name| !there(name, &metrics)).collect();
    // There while a rotation goes on, which is below.
    assert_eq!(missing, ["handfast_rotation_due_timestamp_seconds"], "{metrics}");
    for series in [
        "handfast_authority_expiration_timestamp_seconds{authority=\"root-1\"}",
        "handfast_authority_expiration_timestamp_seconds{authority=\"intermediate-1\"}",
        "certmanager_certificate_ready_status{condition=\"False\",name=\"bad\",namespace=\"measured\"",
        "certmanager_certificate_expiration_timestamp_seconds{name=\"good\",namespace=\"measured\"",
        "certmanager_certificate_renewal_timestamp_seconds{name=\"good\",namespace=\"measured\"",
        "handfast_authority_damaged 0",
        "handfast_leader 1",
    ] {
        assert!(metrics.contains(series), "{series} is not exposed:\n{metrics}");
    }

    // As it is in the middle of a rotation.
    let secret = ["-n", SYSTEM, "secret", "handfast-authority"];
    let mut backup = cluster.get(&secret);
    let mut state: Value = serde_json::from_slice(&scene::bytes_of(&backup, "state.json")).unwrap();
    let (old, since) = ("intermediate-1", 1_700_000_000);
    state["rotation"] = serde_json::json!({
        "subject": "intermediate", "step": "distributing", "old": old, "new": old, "since": since,
    });
    let patch = serde_json::json!({ "stringData": { "state.json": state.to_string() } }).to_string();
    cluster.kubectl(&["-n", SYSTEM, "patch", "secret", "handfast-authority", "-p", &patch]);
    let series =
        "handfast_rotation_due_timestamp_seconds{subject=\"intermediate\",step=\"distributing\"} 1700000000";
    scene::wait_metric(cluster, series);

    // The Secret goes, and comes back from a backup.
    cluster.kubectl(&["-n", SYSTEM, "delete", "secret", "handfast-authority"]);
    scene::wait_metric(cluster, "handfast_authority_damaged 1");
    let metadata = backup["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "namespace", "labels", "annotations"].contains(&key.as_str()));
    cluster.create(&backup.to_string());
    scene::wait_metric(cluster, "handfast_authority_damaged 0");
    assert!(!scene::metrics(cluster).contains(series), "it is over");
    assert_eq!(cluster.get(&secret)["data"], backup["data"], "another authority came in its place");
}
