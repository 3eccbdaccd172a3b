//! Whoever may write in one namespace does not hold up the rotation of the cluster.

use super::*;

#[test]
fn a_tenant_can_not_keep_a_rotation_from_going_on() {
    let Some(turn) = cluster() else { return };
    let space = "hindering";
    let scene = Scene::new(&turn, space, &["good"]);
    scene.certificate("good", "{secretName: good, serviceAccount: default}");
    scene.wait_ready("good");
    turn.wait(&["-n", space, "configmap", "handfast-trust"], SOON, |map| !map.is_null());
    // A map of our name that the controller does not call its own, and somebody's Secret named in a Certificate.
    turn.apply(
        "\
apiVersion: v1
kind: Namespace
metadata: {name: hindering-too}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: handfast-trust, namespace: hindering-too, labels: {handfast.dev/managed: 'no'}}
data: {ca.crt: mine}
---
apiVersion: v1
kind: Secret
metadata: {name: mine, namespace: hindering}
stringData: {tls.crt: mine}
",
    );
    scene.certificate("mine", "{secretName: mine, serviceAccount: default}");
    // And the controller's own one, which it may not write any more.
    turn.kubectl(&[
        "-n",
        space,
        "patch",
        "configmap",
        "handfast-trust",
        "--type=merge",
        "-p",
        r#"{"immutable": true}"#,
    ]);
    assert_eq!(rotate(&turn, &["start"]).code, Some(0));
    let object = format!("ConfigMap {space}/handfast-trust");
    let found = findings(&turn, &["confirm"], |found| found.iter().all(|(name, _)| *name == object));
    assert!(found[0].1.contains("lacks the new root"), "{found:?}");
    refused(&turn, &["confirm", "--leave-behind", "other"], "HF7050");
    let name = format!("{space}/handfast-trust");
    let done = rotate(&turn, &["confirm", "--leave-behind", &name]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    assert!(done.err().contains(&format!("left behind: {object}")), "{}", done.all());
    assert!(done.out().contains(&format!("left behind  {object}")), "{}", done.all());
    assert_eq!(rotate(&turn, &["abort"]).code, Some(0));
    for namespace in [space, "hindering-too"] {
        turn.kubectl(&["delete", "namespace", namespace, "--timeout=60s"]);
    }
}
