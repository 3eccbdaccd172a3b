//! Killed in the middle, too late, without the API, and with a second root.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::cluster::Cluster;

use crate::asking::{self, Place, condition, is_decided};
use crate::scene::{self, SOON, openssl};

const NAMESPACE: &str = "handfast-system";

#[test]
fn a_controller_killed_between_approval_and_signing_is_followed_by_one_that_signs_once() {
    let Some(turn) = crate::cluster() else { return };
    asking::waiting_pod(&turn, "killed");
    let (place, token) = (Place::new(), asking::pod_token(&turn, "killed"));
    let request = place.request("/", &[]);
    // It may approve and not sign: that is where it is killed.
    let role = turn.get(&["clusterrole", "handfast-controller"]);
    let mut narrow = role.clone();
    for rule in narrow["rules"].as_array_mut().unwrap() {
        let resources = rule["resources"].as_array_mut().unwrap();
        resources.retain(|resource| resource != "certificatesigningrequests/status");
    }
    replace(&turn, &place, narrow);
    place.ask(&turn, "killed-one", &request, "client auth", Some(&token));
    turn.wait(&["csr", "killed-one"], SOON, |csr| !condition(csr, "Approved").is_null());
    let leader = scene::leader(&turn);
    let words = ["-n", NAMESPACE, "delete", "pod", &leader, "--grace-period=0", "--force", "--wait=false"];
    turn.kubectl(&words);
    assert!(turn.get(&["csr", "killed-one"])["status"]["certificate"].is_null());
    replace(&turn, &place, role);

    let words = ["csr", "killed-one"];
    let signed = turn.wait(&words, Duration::from_secs(90), |csr| !csr["status"]["certificate"].is_null());
    assert_ne!(scene::leader(&turn), leader);
    assert_eq!(signed["status"]["conditions"].as_array().unwrap().len(), 1, "{signed:#}");
    let chain = place.file("one.crt", &asking::certificate(&signed));
    // What was signed and not handed out is taken back in the log; one is left, and it is the one in the request.
    let log = scene::audit(&turn);
    let of = |action: &str| -> Vec<&str> {
        let lines = log.iter().filter(|line| line["name"] == "killed-one" && line["action"] == action);
        lines.map(|line| line["serial"].as_str().unwrap_or_default()).collect()
    };
    let (issued, discarded) = (of("issue"), of("discard"));
    let left: Vec<&&str> = issued.iter().filter(|serial| !discarded.contains(serial)).collect();
    assert_eq!(left, [&asking::serial(&chain).as_str()], "{issued:?} {discarded:?}");

    // Looked at again by everybody: nothing changes.
    scene::wait_installed(&turn);
    turn.kubectl(&["annotate", "csr", "killed-one", "looked=at"]);
    place.ask(&turn, "killed-two", &request, "client auth", Some(&token));
    turn.wait(&["csr", "killed-two"], SOON, is_decided);
    assert_eq!(turn.get(&["csr", "killed-one"])["status"], signed["status"]);

    // Nobody was there to answer while the pod lived.
    scale(&turn, 0);
    place.ask(&turn, "killed-late", &request, "client auth", Some(&token));
    turn.kubectl(&["-n", "killed", "delete", "pod", "waiter", "--grace-period=0", "--force"]);
    scale(&turn, 2);
    let late = turn.wait(&["csr", "killed-late"], Duration::from_secs(90), is_decided);
    let denied = condition(&late, "Denied");
    assert_eq!(denied["reason"], "PodGone", "{late:#}");
    assert!(denied["message"].as_str().unwrap().contains("does not exist any more"), "{denied}");
    scene::wait_installed(&turn);
    turn.kubectl(&["delete", "namespace", "killed", "--wait=false"]);
}

#[test]
fn without_the_gated_apis_the_controller_goes_on_and_says_so_and_finds_them_when_they_come() {
    let Some(turn) = crate::cluster() else { return };
    asking::waiting_pod(&turn, "plain");
    turn.control(&["stop", "kube-apiserver"]);
    turn.control(&["start", "kube-apiserver", "--plain"]);
    assert!(turn.get(&["podcertificaterequests", "-A"]).is_null());
    let said = wait_log(&turn, "HF7084");
    assert!(said.contains("does not serve PodCertificateRequests"), "{said}");
    // Requests are answered all the same.
    let (place, token) = (Place::new(), asking::pod_token(&turn, "plain"));
    place.ask(&turn, "plain", &place.request("/", &[]), "client auth", Some(&token));
    turn.wait(&["csr", "plain"], SOON, |csr| !csr["status"]["certificate"].is_null());

    turn.control(&["stop", "kube-apiserver"]);
    turn.control(&["start", "kube-apiserver"]);
    let pod = asking::example("pod-certificates.yaml");
    turn.kubectl(&["-n", "plain", "apply", "-f", &pod]);
    turn.wait(&["-n", "plain", "pod", "guest"], Duration::from_secs(120), crate::is_ready);
    scene::wait_installed(&turn);
    turn.kubectl(&["delete", "namespace", "plain", "--wait=false"]);
}

#[test]
fn the_clusters_trust_bundle_holds_both_roots_while_there_are_two() {
    let Some(turn) = crate::cluster() else { return };
    let place = Place::new();
    let (key, root) = (place.file("root.key", ""), place.file("root.crt", ""));
    let words = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "30",
        "-subj",
        "/CN=the next root",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout",
        &key,
        "-out",
        &root,
    ];
    openssl(&words);
    let bundle = ["clustertrustbundle", "handfast.dev:workload:bundle"];
    let one = turn.wait(&bundle, SOON, |found| !found.is_null());
    let one = one["spec"]["trustBundle"].as_str().unwrap().to_owned();
    // As a rotation writes it: the new root is trusted from its first step on, and no longer when it is retired.
    let secret = turn.get(&["-n", NAMESPACE, "secret", "handfast-authority"]);
    let state: Value = serde_json::from_str(&scene::pem_of(&secret, "state.json")).unwrap();
    let with = |standing: &str| {
        let mut state = state.clone();
        state["members"].as_array_mut().unwrap().push(json!({ "name": "root-9", "standing": standing }));
        let data = json!({
            "state.json": asking::base64(state.to_string().as_bytes()),
            "root-9.crt": asking::base64(&std::fs::read(&root).unwrap()),
        });
        let patch = place.file("patch.json", &json!({ "data": data }).to_string());
        turn.kubectl(&["-n", NAMESPACE, "patch", "secret", "handfast-authority", "--patch-file", &patch]);
    };
    with("standby");
    let both = turn.wait(&bundle, SOON, |found| found["spec"]["trustBundle"] != *one);
    let both = both["spec"]["trustBundle"].as_str().unwrap();
    assert!(both.starts_with(&one) && both.matches("BEGIN CERTIFICATE").count() == 2, "{both}");
    place.verify_root(both, &root);
    with("retired");
    turn.wait(&bundle, SOON, |found| found["spec"]["trustBundle"] == *one);
    let patch = json!([{ "op": "remove", "path": "/data/root-9.crt" },
        { "op": "replace", "path": "/data/state.json", "value": secret["data"]["state.json"] }]);
    let words = ["-n", NAMESPACE, "patch", "secret", "handfast-authority", "--type=json", "-p"];
    turn.kubectl(&[&words[..], &[&patch.to_string()]].concat());
}

impl Place {
    /// The root is one of the bundle.
    fn verify_root(&self, bundle: &str, root: &str) {
        let bundle = self.file("both.crt", bundle);
        let said = openssl(&["verify", "-CAfile", &bundle, root]);
        assert!(said.contains(": OK"), "{said}");
    }
}

/// Puts an object in the place of the one that is there.
fn replace(cluster: &Cluster, place: &Place, mut object: Value) {
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    let file = place.file("object.json", &object.to_string());
    cluster.kubectl(&["replace", "-f", &file]);
}

/// Lets so many controllers run; none is left over when it is 0.
fn scale(cluster: &Cluster, count: usize) {
    let replicas = format!("--replicas={count}");
    cluster.kubectl(&["-n", NAMESPACE, "scale", "deployment/handfast-controller", &replicas]);
    if count == 0 {
        let pods = ["-n", NAMESPACE, "pods"];
        cluster.wait(&pods, SOON, |pods| pods["items"].as_array().is_some_and(Vec::is_empty));
    }
}

/// Waits until a controller's log holds this; gives the line.
fn wait_log(cluster: &Cluster, word: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(120);
    let words = ["-n", NAMESPACE, "logs", "-l", "app.kubernetes.io/name=handfast-controller", "--tail=-1"];
    loop {
        let log = cluster.try_kubectl(&words).all();
        if let Some(line) = log.lines().find(|line| line.contains(word)) {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "no line with {word}:\n{log}");
        std::thread::sleep(Duration::from_millis(500));
    }
}
