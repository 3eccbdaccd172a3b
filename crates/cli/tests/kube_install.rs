//! `handfast kube install` without a cluster: what it prints is what lies in `deploy/`, and the chart is the same.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as expected")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testkit::handfast::run;
use testkit::helm::helm;
use testkit::program::{Finished, Program};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");

#[test]
fn what_lies_in_deploy_is_what_the_command_prints() {
    let dir = tempfile::tempdir().unwrap();
    let all: [(&[&str], &str); 2] =
        [(&["kube", "install"], "handfast.yaml"), (&["mesh", "install", "--crds"], "mesh.yaml")];
    for (words, file) in all {
        let printed = run(testkit::binary!(), dir.path(), words);
        assert_eq!(printed.code, Some(0), "{}", printed.all());
        let lies = std::fs::read_to_string(Path::new(DEPLOY).join(file)).unwrap();
        let text = lies.split_once("---\n").map_or("", |(_, text)| text);
        let printed = printed.out();
        let printed = printed.strip_prefix("---\n").unwrap();
        assert!(text == printed, "write it again with: handfast {} > deploy/{file}", words.join(" "));
    }
}

#[test]
fn the_options_are_in_what_is_printed_and_wrong_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let binary = testkit::binary!();
    let words =
        ["kube", "install", "--replicas", "1", "--image", "a.test/b:3", "--image-pull-policy", "Never"];
    let printed = run(binary, dir.path(), &words).out();
    assert!(printed.contains("image: \"a.test/b:3\"") || printed.contains("image: a.test/b:3"), "{printed}");
    assert!(printed.contains("imagePullPolicy: Never") && printed.contains("replicas: 1"));
    assert!(!printed.contains("PodDisruptionBudget"), "one that may never be disrupted blocks every drain");
    for wrong in [
        &["--trust-domain", "Not/A/Domain"][..],
        &["--cluster-domain", "-"],
        &["--replicas", "0"],
        &["--image-pull-policy", "Sometimes"],
        &["--import-certificate", "ca.crt"],
        // The rights that `kube wire` writes name the service account of one namespace.
        &["--namespace", "other"],
        &["--namespace", "other", "--chart", "chart"],
    ] {
        let mut words = vec!["kube", "install"];
        words.extend(wrong);
        assert_eq!(run(binary, dir.path(), &words).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn without_a_cluster_applying_fails_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("kubeconfig");
    std::fs::write(
        &config,
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n\
         users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n",
    )
    .unwrap();
    let mut command = Command::new(testkit::binary!());
    command.args(["kube", "install", "--apply"]).env("KUBECONFIG", &config).env("NO_COLOR", "1");
    let done = Program::run(&mut command, b"", Duration::from_secs(60));
    assert_eq!(done.code, Some(1), "{}", done.all());
    assert!(done.err().contains("error[HF7001]") && done.err().contains("refused"), "{}", done.err());
}

/// All files below a folder, by their path in it.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, text)| (format!("{name}/{below}"), text)));
        } else {
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

#[test]
fn the_chart_in_deploy_is_what_the_command_writes() {
    let dir = tempfile::tempdir().unwrap();
    let done = run(testkit::binary!(), dir.path(), &["kube", "install", "--chart", "chart"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    let (written, lie) = (files(&dir.path().join("chart")), files(&Path::new(DEPLOY).join("chart/handfast")));
    assert!(written.len() > 15, "{:?}", written.keys());
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&written), names(&lie), "a file that is written no longer has to go");
    for (name, text) in &written {
        assert!(
            lie[name] == *text,
            "{name}: write it again with: handfast kube install --chart deploy/chart/handfast"
        );
    }
}

fn template(helm: &Path, more: &[&str]) -> Finished {
    let mut command = Command::new(helm);
    command
        .args(["template", "handfast", "chart/handfast", "-n", "handfast-system"])
        .args(more)
        .current_dir(DEPLOY);
    Program::run(&mut command, b"", Duration::from_secs(60))
}

/// Objects of a YAML text, by kind and name.
fn objects(text: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for document in text.split("\n---\n").flat_map(|part| part.strip_prefix("---\n").or(Some(part))) {
        let object: Value = serde_saphyr::from_str(document).unwrap();
        if object.is_object() {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            assert!(found.insert(name.clone(), object).is_none(), "{name} is there twice");
        }
    }
    found
}

#[test]
fn helm_makes_the_same_objects_as_the_command_but_for_the_namespace() {
    let Some(helm) = helm() else { return };
    let rendered = template(helm, &[]);
    assert_eq!(rendered.code, Some(0), "{}", rendered.all());
    let mut plain = objects(&std::fs::read_to_string(Path::new(DEPLOY).join("handfast.yaml")).unwrap());
    assert!(plain.remove("\"Namespace\" \"handfast-system\"").is_some(), "{:?}", plain.keys());
    let rendered = objects(&rendered.out());
    assert_eq!(rendered.keys().collect::<Vec<_>>(), plain.keys().collect::<Vec<_>>());
    for (name, object) in &plain {
        assert_eq!(&rendered[name], object, "{name}");
    }
}

#[test]
fn helm_refuses_a_namespace_in_which_no_certificate_would_be_issued() {
    let Some(helm) = helm() else { return };
    let done = template(helm, &["-n", "other"]);
    assert!(done.code == Some(1) && done.err().contains("handfast-system only"), "{}", done.all());
}

#[test]
fn values_are_in_what_helm_makes() {
    let Some(helm) = helm() else { return };
    let values = "replicas: 1\nimage: a.test/b:3\nnodeSelector: {disk: fast}\ntolerations: [{operator: Exists}]\n\
                  podAnnotations: {note: \"yes\"}\nimagePullSecrets: [{name: registry}]\ntrustDomain: example.org\n\
                  resources: {limits: {memory: 1Gi}}\npodMonitor: {enabled: true, labels: {release: p}}\n\
                  prometheusRule: {enabled: true}\ncrds: {install: false}\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("values.yaml");
    std::fs::write(&file, values).unwrap();
    let rendered = template(helm, &["-f", &file.to_string_lossy()]);
    assert_eq!(rendered.code, Some(0), "{}", rendered.all());
    let rendered = objects(&rendered.out());
    let of = |kind: &str| rendered.values().find(|object| object["kind"] == kind);
    assert!(of("PodDisruptionBudget").is_none() && of("CustomResourceDefinition").is_none());
    let deployment = of("Deployment").unwrap();
    assert_eq!(deployment["spec"]["replicas"], 1);
    let template = &deployment["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"]["note"], "yes");
    let pod = &template["spec"];
    assert_eq!(pod["nodeSelector"]["disk"], "fast");
    assert_eq!(pod["tolerations"][0]["operator"], "Exists");
    assert_eq!(pod["imagePullSecrets"][0]["name"], "registry");
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "a.test/b:3");
    assert_eq!(container["resources"]["limits"]["memory"], "1Gi");
    assert!(container["args"].as_array().unwrap().iter().any(|word| word == "example.org"));
    let monitor = of("PodMonitor").unwrap();
    assert_eq!(monitor["metadata"]["labels"]["release"], "p");
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], container["ports"][0]["name"]);
    // Prometheus' own braces are not Helm's.
    let alerts = std::fs::read_to_string(Path::new(DEPLOY).join("monitoring/alerts.yaml")).unwrap();
    let alerts: Value = serde_saphyr::from_str(&alerts).unwrap();
    assert_eq!(of("PrometheusRule").unwrap()["spec"], alerts);
}

#[test]
fn helm_refuses_values_that_are_wrong_or_misspelt() {
    let Some(helm) = helm() else { return };
    for (wrong, place) in [
        ("replicas=0", "replicas"),
        ("replicas=two", "replicas"),
        ("replcias=3", "replcias"),
        ("image=", "image"),
        ("image=null", "image"),
        ("imagePullPolicy=Sometimes", "imagePullPolicy"),
        ("trustDomain=Not/A/Domain", "trustDomain"),
        ("clusterDomain=-", "clusterDomain"),
        ("tolerations=all", "tolerations"),
        ("podMonitor.enable=true", "enable"),
        ("podMonitor.interval=soon", "interval"),
        ("resources.limits=none", "limits"),
    ] {
        let done = template(helm, &["--set", wrong]);
        assert_eq!(done.code, Some(1), "{wrong} is taken");
        assert!(done.err().contains("schema") && done.err().contains(place), "{wrong}: {}", done.err());
    }
}
