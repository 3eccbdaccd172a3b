//! `handfast kube install` without a cluster: what it prints is what lies in `deploy/`.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as expected")]

use std::path::Path;

use testkit::handfast::run;

#[test]
fn what_lies_in_deploy_is_what_the_command_prints() {
    let dir = tempfile::tempdir().unwrap();
    let printed = run(testkit::binary!(), dir.path(), &["kube", "install"]);
    assert_eq!(printed.code, Some(0), "{}", printed.all());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/handfast.yaml");
    let lies = std::fs::read_to_string(&path).unwrap();
    let text = lies.split_once("---\n").map_or("", |(_, text)| text);
    let printed = printed.out();
    let printed = printed.strip_prefix("---\n").unwrap();
    assert!(text == printed, "write it again with: handfast kube install > deploy/handfast.yaml");
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
    let mut command = std::process::Command::new(testkit::binary!());
    command.args(["kube", "install", "--apply"]).env("KUBECONFIG", &config).env("NO_COLOR", "1");
    let done = testkit::program::Program::run(&mut command, b"", std::time::Duration::from_secs(60));
    assert_eq!(done.code, Some(1), "{}", done.all());
    assert!(done.err().contains("error[HF7001]") && done.err().contains("refused"), "{}", done.err());
}
