//! Killed, paused, taken out and put back, and asked for a thousand certificates at once.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::cluster::Cluster;
use testkit::program::Program;

use crate::scene::{self, INSTALL, SOON, Scene, is_ready, openssl, pem_of, serial, serial_of_secret};

/// All at once.
const MANY: usize = 1000;

#[test]
fn a_thousand_certificates_at_once_survive_the_death_of_their_leaders() {
    let Some(turn) = crate::cluster() else { return };
    let names: Vec<String> = (0..MANY).map(|i| format!("c{i}")).collect();
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    let _scene = Scene::new(&turn, "many", &words);
    let all: String = names
        .iter()
        .map(|name| {
            format!(
                "---\napiVersion: handfast.dev/v1\nkind: Certificate\nmetadata: {{name: {name}, namespace: many}}\n\
                 spec: {{secretName: {name}, serviceAccount: default}}\n"
            )
        })
        .collect();
    // All are due at one moment: nobody leads while they are made.
    scale(&turn, 0);
    turn.create(&all);
    let begun = Instant::now();
    scale(&turn, 2);
    let mut killed = 0;
    let deadline = Instant::now() + Duration::from_secs(240);
    let ready = loop {
        let found = turn.get(&["-n", "many", "certificates.handfast.dev"]);
        let ready = found["items"].as_array().into_iter().flatten().filter(|item| is_ready(item)).count();
        if ready == MANY {
            break found;
        }
        assert!(Instant::now() < deadline, "only {ready} of {MANY} are ready");
        if killed < 2 && ready > killed * MANY / 4 {
            let leader = scene::leader(&turn);
            let words = [
                "-n",
                "handfast-system",
                "delete",
                "pod",
                &leader,
                "--grace-period=0",
                "--force",
                "--wait=false",
            ];
            turn.kubectl(&words);
            killed += 1;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    eprintln!("{MANY} certificates in {:?}, {killed} leaders killed on the way", begun.elapsed());
    assert_eq!(killed, 2);
    let items = ready["items"].as_array().unwrap();
    let serials: HashSet<&str> = items.iter().map(serial).collect();
    assert_eq!(serials.len(), MANY, "a serial number stands twice");
    let secrets = turn.get(&["-n", "many", "secrets"]);
    for secret in secrets["items"].as_array().unwrap() {
        let annotations = &secret["metadata"]["annotations"];
        let of = items.iter().find(|item| item["metadata"]["name"] == secret["metadata"]["name"]).unwrap();
        assert_eq!(annotations["handfast.dev/serial"], of["status"]["serial"]);
        // Nothing was issued into a Secret that had a good certificate already.
        assert_eq!(annotations["handfast.dev/revision"], "1", "{}", secret["metadata"]["name"]);
    }
    // Whoever leads next looks at all of them, and finds nothing to do.
    scene::wait_installed(&turn);
    let before: Vec<&Value> = items.iter().map(|item| &item["status"]["serial"]).collect();
    turn.kubectl(&["-n", "handfast-system", "rollout", "restart", "deployment/handfast-controller"]);
    turn.kubectl(&[
        "-n",
        "handfast-system",
        "rollout",
        "status",
        "deployment/handfast-controller",
        "--timeout=120s",
    ]);
    scene::wait_metric(&turn, "certmanager_certificate_ready_status{condition=\"True\",name=\"c999\"");
    let after = turn.get(&["-n", "many", "certificates.handfast.dev"]);
    let after: Vec<&Value> =
        after["items"].as_array().unwrap().iter().map(|item| &item["status"]["serial"]).collect();
    assert_eq!(before, after);
    turn.kubectl(&["delete", "namespace", "many", "--wait=false"]);
}

#[test]
fn a_leader_that_was_paused_steps_back_and_spoils_nothing() {
    let Some(turn) = crate::cluster() else { return };
    let scene = Scene::new(&turn, "paused", &["one", "two", "three"]);
    turn.kubectl(&["-n", "handfast-system", "scale", "deployment/handfast-controller", "--replicas=0"]);
    turn.wait(&["-n", "handfast-system", "pods"], SOON, |pods| {
        pods["items"].as_array().is_some_and(Vec::is_empty)
    });
    let start = |name: &str, port: &str| {
        let listen = format!("127.0.0.1:{port}");
        let words = ["kube", "controller", "--leader-elect", "--listen", &listen];
        turn.start_handfast(&words, &[("HANDFAST_POD_NAME", name), ("HANDFAST_LOG_FORMAT", "json")])
    };
    let mut first = start("first", "19402");
    first.wait_for("the lead", SOON, |first| first.stderr().contains("\"leads\""));
    let mut second = start("second", "19403");
    scene.certificate("one", "{secretName: one, serviceAccount: default}");
    let one = scene.wait_ready("one");
    assert_eq!(scene::leader(&turn), "first");
    assert!(ask(&turn, "19403", "readyz").contains("ready"), "who stands by is ready");
    assert!(ask(&turn, "19403", "metrics").contains("handfast_leader 0"));

    first.signal("STOP");
    scene.certificate("two", "{secretName: two, serviceAccount: default}");
    second.wait_for("the lead", SOON, |second| second.stderr().contains("\"leads\""));
    let two = scene.wait_ready("two");
    first.signal("CONT");
    first.wait_for("stepping back", SOON, |first| first.stderr().contains("leads no longer"));
    scene.certificate("three", "{secretName: three, serviceAccount: default}");
    scene.wait_ready("three");
    assert_eq!(scene::leader(&turn), "second");
    for (name, before) in [("one", &one), ("two", &two)] {
        assert_eq!(serial(&scene.get(name)), serial(before));
        assert_eq!(serial_of_secret(&scene.secret(name)), serial(before));
    }
    // Each line of the audit log is of who did it, and each certificate was issued once.
    let issued =
        |program: &Program| program.stdout().lines().filter(|line| line.contains("\"paused\"")).count();
    assert_eq!((issued(&first), issued(&second)), (1, 2), "{}\n{}", first.stdout(), second.stdout());

    // One that is asked to end gives the Lease back: the other need not wait for it to run out.
    let begun = Instant::now();
    second.signal("TERM");
    first.wait_for("the lead", SOON, |first| first.stderr().matches("\"leads\"").count() == 2);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    first.signal("TERM");
    assert_eq!(first.finish(Duration::from_secs(10)).code, Some(0));
    scale(&turn, 2);
    scene::wait_installed(&turn);
}

#[test]
fn taking_it_out_keeps_the_authority_and_another_one_can_be_imported() {
    let Some(turn) = crate::cluster() else { return };
    let scene = Scene::new(&turn, "moved", &["pair"]);
    scene.certificate("pair", "{secretName: pair, serviceAccount: default}");
    let before = scene.wait_ready("pair");
    let authority = || scene::authority(&turn);
    let kept = authority();
    handfast(&turn, &["kube", "uninstall", "--apply"]);
    assert!(turn.get(&["-n", "handfast-system", "deployment", "handfast-controller"]).is_null());
    assert!(authority() == kept, "the authority is another one");
    let mut install = vec!["kube", "install", "--apply"];
    install.extend(INSTALL);
    handfast(&turn, &install);
    assert!(authority() == kept, "the authority is another one");
    // A second one is refused where there is one.
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("ca").to_string_lossy().into_owned();
    handfast(&turn, &["ca", "init", "--dir", &folder, "--name", "Elsewhere"]);
    let (certificate, key) = (format!("{folder}/ca.crt"), format!("{folder}/root/root-1.key"));
    let mut import = install.clone();
    import.extend(["--import-certificate", &certificate, "--import-key", &key]);
    let refused = turn.handfast(&import);
    assert!(refused.code == Some(1) && refused.err().contains("HF7007"), "{}", refused.all());
    assert_eq!(serial(&scene.get("pair")), serial(&before));

    handfast(&turn, &["kube", "uninstall", "--apply", "--delete-authority"]);
    turn.kubectl(&["wait", "--for=delete", "namespace/handfast-system", "--timeout=90s"]);
    // What runs trusts the one that is gone: no new one begins by itself.
    let refused = turn.handfast(&install);
    assert!(refused.code == Some(1) && refused.err().contains("HF7005"), "{}", refused.all());
    assert!(refused.err().contains("--new-authority"), "{}", refused.all());
    assert!(turn.get(&["namespace", "handfast-system"]).is_null(), "nothing was applied");
    handfast(&turn, &import);
    let after = scene.wait("pair", |now| is_ready(now) && serial(now) != serial(&before));
    assert_eq!(after["status"]["revision"], 2);
    let secret = scene.secret("pair");
    let chain = dir.path().join("chain.pem").to_string_lossy().into_owned();
    std::fs::write(&chain, pem_of(&secret, "tls.crt")).unwrap();
    let done = openssl(&["verify", "-CAfile", &certificate, "-untrusted", &chain, &chain]);
    assert!(done.contains(": OK"), "{done}");
    turn.wait(&["-n", "moved", "configmap", "handfast-trust"], SOON, |map| {
        map["data"]["ca.crt"].as_str() == Some(pem_of(&secret, "ca.crt").as_str())
    });

    // In words it does, and only once.
    let mut anew = install.clone();
    anew.push("--new-authority");
    let refused = turn.handfast(&anew);
    assert!(refused.code == Some(1) && refused.err().contains("HF7007"), "{}", refused.all());
    handfast(&turn, &["kube", "uninstall", "--apply", "--delete-authority"]);
    turn.kubectl(&["wait", "--for=delete", "namespace/handfast-system", "--timeout=90s"]);
    handfast(&turn, &anew);
    scene.wait("pair", |now| is_ready(now) && serial(now) != serial(&after));
    let secret = turn.get(&["-n", "handfast-system", "secret", "handfast-authority"]);
    assert!(secret["metadata"]["annotations"]["handfast.dev/new-authority"].is_null(), "it counts again");
    scene::wait_installed(&turn);
}

/// Lets so many controllers run; none is left over when it is 0.
fn scale(cluster: &Cluster, count: usize) {
    let replicas = format!("--replicas={count}");
    cluster.kubectl(&["-n", "handfast-system", "scale", "deployment/handfast-controller", &replicas]);
    if count == 0 {
        let pods = ["-n", "handfast-system", "pods"];
        cluster.wait(&pods, SOON, |pods| pods["items"].as_array().is_some_and(Vec::is_empty));
    }
}

fn handfast(cluster: &Cluster, words: &[&str]) {
    let done = cluster.handfast(words);
    assert_eq!(done.code, Some(0), "{words:?}:\n{}", done.all());
}

/// What a controller outside of a pod answers.
fn ask(cluster: &Cluster, port: &str, path: &str) -> String {
    let url = format!("http://127.0.0.1:{port}/{path}");
    cluster.exec(&["curl", "-s", "--max-time", "5", &url], Duration::from_secs(10)).out()
}
