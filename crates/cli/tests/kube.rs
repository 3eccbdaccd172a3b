//! The controller in a real Kubernetes: installed from the image of this very binary, asked by Certificates, killed,
//! and cut off from the API server. One cluster for all tests; they take turns, for some of them break things.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as expected")]

#[path = "kube/faults.rs"]
mod faults;
#[path = "kube/scene.rs"]
mod scene;

use std::time::Duration;

use scene::{SOON, Scene, is_ready, openssl, pem_of, serial, serial_of_secret};
use serde_json::Value;
use testkit::cluster::Cluster;

fn cluster() -> Option<scene::Turn> {
    scene::take_turn(testkit::binary!())
}

#[test]
fn installing_twice_changes_nothing_and_rights_are_least() {
    let Some(turn) = cluster() else { return };
    let cluster: &Cluster = &turn;
    let mut words = vec!["kube", "install", "--dry-run"];
    words.extend(scene::INSTALL);
    let again = cluster.handfast(&words);
    assert_eq!(again.code, Some(0), "{}", again.all());
    assert_eq!(again.out(), "", "{}", again.all());
    assert!(again.err().contains("stay as they are; nothing was changed"), "{}", again.err());

    let changed = cluster.handfast(&["kube", "install", "--dry-run", "--image", "other.test/handfast:2"]);
    assert!(
        changed.out().contains("+") && changed.out().contains("other.test/handfast:2"),
        "{}",
        changed.all()
    );

    let may = |words: &[&str]| {
        let mut all = vec!["auth", "can-i", "--as=system:serviceaccount:handfast-system:handfast-controller"];
        all.extend(words);
        cluster.try_kubectl(&all).out().trim() == "yes"
    };
    for no in [
        &["list", "secrets", "-A"][..],
        &["get", "secrets", "-n", "handfast-system"],
        &["create", "secrets", "-n", "handfast-system"],
        &["get", "secret/any", "-n", "default"],
        &["delete", "secret/handfast-authority", "-n", "handfast-system"],
        &["update", "certificates.handfast.dev", "-n", "default"],
        &["create", "pods", "-A"],
        &["patch", "configmap/other", "-n", "default"],
    ] {
        assert!(!may(no), "the controller may {no:?}");
    }
    assert!(may(&["get", "secret/handfast-authority", "-n", "handfast-system"]));
    assert!(may(&["patch", "configmap/handfast-trust", "-n", "default"]));
}

#[test]
fn a_certificate_becomes_a_secret_like_kubectls_own() {
    let Some(turn) = cluster() else { return };
    let scene = Scene::new(&turn, "shop", &["web-tls", "front-tls"]);
    scene.service("web");
    scene.certificate("web", "{secretName: web-tls, services: [web], clusterIps: true, usage: server}");
    scene.certificate("front", "{secretName: front-tls, serviceAccount: default}");
    let web = scene.wait_ready("web");
    scene.wait_ready("front");

    let secret = scene.secret("web-tls");
    let (chain, root) = (pem_of(&secret, "tls.crt"), pem_of(&secret, "ca.crt"));
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "leaf and intermediate");
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (chain, root, key) =
        (file("tls.crt", &chain), file("ca.crt", &root), file("tls.key", &pem_of(&secret, "tls.key")));
    for name in ["web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local"] {
        let done = openssl(&[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-verify_hostname",
            name,
            "-CAfile",
            &root,
            "-untrusted",
            &chain,
            &chain,
        ]);
        assert!(done.contains(": OK"), "{name}: {done}");
    }
    let address =
        turn.get(&["-n", "shop", "service", "web"])["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let done = openssl(&["verify", "-verify_ip", &address, "-CAfile", &root, "-untrusted", &chain, &chain]);
    assert!(done.contains(": OK"), "{done}");
    let of = |kind: &str, file: &str| openssl(&[kind, "-in", file, "-noout", "-pubkey"]);
    assert_eq!(
        of("x509", &chain),
        openssl(&["pkey", "-in", &key, "-pubout"]),
        "the key belongs to the certificate"
    );
    assert!(pem_of(&secret, "tls.key").starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");
    assert_eq!(serial(&web), serial_of_secret(&secret));

    // The same keys and type as kubectl makes.
    turn.kubectl(&["-n", "shop", "create", "secret", "tls", "by-kubectl", "--cert", &chain, "--key", &key]);
    let theirs = scene.secret("by-kubectl");
    assert_eq!(secret["type"], theirs["type"]);
    for key in ["tls.crt", "tls.key"] {
        assert_eq!(secret["data"][key], theirs["data"][key]);
    }
    assert_eq!(secret["metadata"]["ownerReferences"][0]["name"], "web");

    // The SPIFFE ID, and both uses.
    let front = file("front.crt", &pem_of(&scene.secret("front-tls"), "tls.crt"));
    let text =
        openssl(&["x509", "-in", &front, "-noout", "-ext", "subjectAltName,extendedKeyUsage", "-subject"]);
    assert!(text.contains("URI:spiffe://cluster.local/ns/shop/sa/default"), "{text}");
    assert!(text.contains("TLS Web Server Authentication, TLS Web Client Authentication"), "{text}");
    assert!(text.contains("system:serviceaccount:shop:default"), "{text}");

    // What else tells of it.
    let bundle = turn.wait(&["-n", "shop", "configmap", "handfast-trust"], SOON, |map| !map.is_null());
    assert_eq!(bundle["data"]["ca.crt"], pem_of(&secret, "ca.crt"));
    let cluster_bundle = turn.get(&["clustertrustbundle", "handfast.dev:workload:bundle"]);
    assert_eq!(cluster_bundle["spec"]["trustBundle"], pem_of(&secret, "ca.crt"), "{cluster_bundle}");
    scene.wait_event("web", "Issued");
    let log = scene::audit(&turn);
    let line = log.iter().find(|line| line["namespace"] == "shop" && line["name"] == "web").unwrap();
    assert_eq!(line["action"], "issue");
    assert_eq!(line["serial"].as_str().unwrap(), serial(&web));
    assert_eq!(log.iter().filter(|line| line["namespace"] == "shop").count(), 2, "each was issued once");
    let metrics = scene::metrics(&turn);
    for series in [
        "certmanager_certificate_expiration_timestamp_seconds{name=\"web\",namespace=\"shop\"",
        "certmanager_certificate_ready_status{condition=\"True\",name=\"web\",namespace=\"shop\"",
        "handfast_authority_expiration_timestamp_seconds{authority=\"intermediate-1\"",
    ] {
        assert!(metrics.contains(series), "{series} is missing:\n{metrics}");
    }
}

#[test]
fn names_of_others_are_refused_with_their_reason() {
    let Some(turn) = cluster() else { return };
    let scene = Scene::new(&turn, "thief", &["loot"]);
    let cases = [
        ("account", "{secretName: loot, serviceAccount: nobody}", "no service account \"nobody\""),
        ("service", "{secretName: loot, services: [kubernetes]}", "no Service \"kubernetes\""),
        ("other", "{secretName: loot, dnsNames: [kubernetes.default.svc]}", "name of the namespace default"),
        (
            "outside",
            "{secretName: loot, dnsNames: [www.example.com]}",
            "is not allowed in the namespace thief",
        ),
        ("local", "{secretName: loot, services: [localhost]}", "every machine's own"),
        ("mirror", "{secretName: loot, services: [mirror], clusterIps: true}", "is an ExternalName"),
        ("nothing", "{secretName: loot}", "asks for no name"),
        ("key", "{secretName: loot, serviceAccount: default, key: rsa512}", "no kind of key"),
        ("brief", "{secretName: loot, serviceAccount: default, lifetime: 5s}", "not between 1m and 365d"),
        ("ages", "{secretName: loot, serviceAccount: default, lifetime: 36500d}", "not between 1m and 365d"),
    ];
    scene.service("localhost");
    let external =
        ["-n", "thief", "create", "service", "externalname", "mirror", "--external-name", "bank.test"];
    turn.kubectl(&external);
    for (name, spec, _) in cases {
        scene.certificate(name, spec);
    }
    for (name, _, why) in cases {
        let found = scene.wait(name, |found| !found["status"]["conditions"][0].is_null());
        let condition = &found["status"]["conditions"][0];
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&"False".into(), &"Refused".into()),
            "{found:#}"
        );
        let message = condition["message"].as_str().unwrap();
        assert!(message.contains(why) && message.starts_with("HF70"), "{name}: {message}");
        assert!(found["status"]["failures"].as_i64().unwrap() >= 1);
    }
    assert!(scene.secret("loot").is_null());
    turn.apply(
        "{apiVersion: handfast.dev/v1, kind: Certificate, metadata: {name: api, namespace: default}, \
         spec: {secretName: loot, services: [kubernetes], clusterIps: true}}",
    );
    let api = ["-n", "default", "certificate.handfast.dev", "api"];
    let found = turn.wait(&api, SOON, |found| !found["status"]["conditions"][0].is_null());
    let message = found["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("HF7010") && message.contains("the API server's"), "{message}");
    turn.kubectl(&["-n", "default", "delete", "certificate.handfast.dev", "api"]);
    scene.wait_event("other", "Refused");
    // What was missing is made: nobody has to ask again.
    turn.kubectl(&["annotate", "namespace", "thief", "handfast.dev/allowed-dns-names=*.example.com"]);
    scene.wait_ready("outside");
    let denied = scene::audit(&turn);
    assert!(denied.iter().any(|line| line["action"] == "deny" && line["name"] == "other"));
}

#[test]
fn a_secret_of_somebody_else_is_left_as_it_is() {
    let Some(turn) = cluster() else { return };
    let scene = Scene::new(&turn, "taken", &["mine", "theirs", "unnamed"]);
    turn.kubectl(&[
        "-n",
        "taken",
        "create",
        "secret",
        "generic",
        "theirs",
        "--from-literal=tls.key=precious",
    ]);
    let before = scene.secret("theirs");
    scene.certificate("first", "{secretName: mine, serviceAccount: default}");
    scene.wait_ready("first");
    for (name, secret, why) in [
        ("foreign", "theirs", "somebody else made it"),
        ("second", "mine", "belongs to the Certificate first"),
    ] {
        scene.certificate(name, &format!("{{secretName: {secret}, serviceAccount: default}}"));
        let found = scene.wait(name, |found| !found["status"]["conditions"][0].is_null());
        let message = found["status"]["conditions"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(why) && message.starts_with("HF7012"), "{message}");
    }
    assert_eq!(scene.secret("theirs"), before);
    // A Secret that the controller has no right to.
    scene.certificate("outlaw", "{secretName: kept-away, serviceAccount: default}");
    let found = scene.wait("outlaw", |found| !found["status"]["conditions"][0].is_null());
    let message = found["status"]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("HF7013") && message.contains("may not read"), "{message}");
}

#[test]
fn a_damaged_secret_is_mended_and_its_forms_follow_their_password() {
    let Some(turn) = cluster() else { return };
    let scene = Scene::new(&turn, "mended", &["pair", "store-password"]);
    turn.kubectl(&[
        "-n",
        "mended",
        "create",
        "secret",
        "generic",
        "store-password",
        "--from-literal=password=changeit",
    ]);
    scene.certificate(
        "pair",
        "{secretName: pair, serviceAccount: default, combinedPem: true, \
         keystores: {pkcs12: true, jks: true, passwordSecret: store-password}}",
    );
    let found = scene.wait_ready("pair");
    let before = scene.secret("pair");
    let keys: Vec<&String> = before["data"].as_object().unwrap().keys().collect();
    let wanted = [
        "ca.crt",
        "keystore.jks",
        "keystore.p12",
        "tls-combined.pem",
        "tls.crt",
        "tls.key",
        "truststore.jks",
        "truststore.p12",
    ];
    assert_eq!(keys, wanted);
    // A key that does not belong to the certificate: another pair comes, at the next look. The spec is touched so that
    // the look is now and not in ten minutes.
    let other = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("patch.json");
    let patch = serde_json::json!({ "stringData": { "tls.key": other } });
    std::fs::write(&path, patch.to_string()).unwrap();
    turn.kubectl(&["-n", "mended", "patch", "secret", "pair", "--patch-file", &path.to_string_lossy()]);
    scene.patch("pair", r#"{"spec":{"combinedPem":false}}"#);
    let after = scene.wait("pair", |now| is_ready(now) && serial(now) != serial(&found));
    let secret = scene.secret("pair");
    assert_eq!(serial_of_secret(&secret), serial(&after));
    assert!(secret["data"].get("tls-combined.pem").is_none(), "it is not asked for any more");
    assert_eq!(after["status"]["revision"], 2);
    scene.wait_event("pair", "Renewed");
    // The keystores open with their password and hold the new certificate.
    let store = dir.path().join("keystore.p12");
    std::fs::write(&store, scene::bytes_of(&secret, "keystore.p12")).unwrap();
    let store = store.to_string_lossy().into_owned();
    let held = openssl(&["pkcs12", "-in", &store, "-passin", "pass:changeit", "-nokeys", "-clcerts"]);
    let pem = held.find("-----BEGIN").map(|at| &held[at..]).unwrap();
    assert!(pem_of(&secret, "tls.crt").starts_with(pem.trim()), "{held}");
}

#[test]
fn a_short_life_is_renewed_with_a_new_key_before_it_ends() {
    let Some(turn) = cluster() else { return };
    let scene = Scene::new(&turn, "brief", &["brief"]);
    scene.certificate("brief", "{secretName: brief, serviceAccount: default, lifetime: 1m}");
    let first = scene.wait_ready("brief");
    let before = scene.secret("brief");
    let limit = Duration::from_secs(60);
    let words = ["-n", "brief", "certificate.handfast.dev", "brief"];
    turn.wait(&words, limit, |now| is_ready(now) && serial(now) != serial(&first));
    let after = scene.secret("brief");
    assert_ne!(before["data"]["tls.key"], after["data"]["tls.key"]);
    assert_ne!(before["data"]["tls.crt"], after["data"]["tls.crt"]);
    assert_eq!(before["data"]["ca.crt"], after["data"]["ca.crt"]);
    scene.wait_event("brief", "Renewed");
    let log = scene::audit(&turn);
    assert!(log.iter().any(|line| line["action"] == "renew" && line["namespace"] == "brief"));
}

#[test]
fn two_controllers_have_one_leader_and_its_death_loses_and_repeats_nothing() {
    let Some(turn) = cluster() else { return };
    let scene = Scene::new(&turn, "steady", &["one", "two", "three"]);
    scene.certificate("one", "{secretName: one, serviceAccount: default}");
    let one = scene.wait_ready("one");
    let leader = scene::leader(&turn);
    let pods = turn.get(&["-n", "handfast-system", "pods"]);
    assert_eq!(pods["items"].as_array().unwrap().len(), 2, "two stand by");
    // Killed in the middle of issuing another one, without a chance to say good-bye.
    scene.certificate("two", "{secretName: two, serviceAccount: default}");
    turn.kubectl(&[
        "-n",
        "handfast-system",
        "delete",
        "pod",
        &leader,
        "--grace-period=0",
        "--force",
        "--wait=false",
    ]);
    let two = scene.wait_ready("two");
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while scene::leader(&turn) == leader {
        assert!(std::time::Instant::now() < deadline, "nobody took over from {leader}");
        std::thread::sleep(Duration::from_millis(500));
    }
    scene.certificate("three", "{secretName: three, serviceAccount: default}");
    scene.wait_ready("three");
    assert_eq!(serial(&scene.get("one")), serial(&one), "issued twice for nothing");
    assert_eq!(serial(&scene.get("two")), serial(&two), "issued twice for nothing");
    assert_eq!(serial_of_secret(&scene.secret("two")), serial(&two));
    for name in ["one", "two", "three"] {
        assert_eq!(scene.get(name)["status"]["revision"], 1, "{name}");
    }
    scene::wait_installed(&turn);
}

#[test]
fn an_api_server_that_goes_away_loses_and_repeats_nothing() {
    let Some(turn) = cluster() else { return };
    let scene = Scene::new(&turn, "outage", &["before", "after"]);
    scene.certificate("before", "{secretName: before, serviceAccount: default}");
    let before = scene.wait_ready("before");
    turn.control(&["restart-apiserver"]);
    scene.certificate("after", "{secretName: after, serviceAccount: default}");
    let words = ["-n", "outage", "certificate.handfast.dev", "after"];
    turn.wait(&words, Duration::from_secs(90), is_ready);
    assert_eq!(serial(&scene.get("before")), serial(&before));
    assert_eq!(serial_of_secret(&scene.secret("before")), serial(&before));
    scene::wait_installed(&turn);
}

#[test]
fn a_pod_that_holds_connections_open_does_not_get_the_controllers_killed() {
    let Some(turn) = cluster() else { return };
    let pods = turn.get(&["-n", "handfast-system", "pods"]);
    let seen = |pods: &Value| -> Vec<(String, i64)> {
        let restarts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap();
        let name = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
        pods["items"].as_array().unwrap().iter().map(|pod| (name(pod), restarts(pod))).collect()
    };
    let before = seen(&pods);
    let hold: String = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|pod| [(pod, 9402), (pod, 9403)])
        .map(|(pod, port)| {
            let address = pod["status"]["podIP"].as_str().unwrap();
            format!(
                "(while :; do i=0; while [ $i -lt 100 ]; do (sleep 60 | nc -w 60 {address} {port} >/dev/null 2>&1) & \
                 i=$((i+1)); done; sleep 5; done) & "
            )
        })
        .collect();
    turn.kubectl(&["create", "namespace", "hog"]);
    turn.kubectl(&[
        "-n",
        "hog",
        "run",
        "hog",
        "--image=handfast.test/busybox:1",
        "--image-pull-policy=Never",
        "--restart=Never",
        "--",
        "sh",
        "-c",
        &format!("{hold} sleep 600"),
    ]);
    turn.wait(&["-n", "hog", "pod", "hog"], SOON, |pod| pod["status"]["phase"] == "Running");
    // As long as it took: six probes at five seconds.
    std::thread::sleep(Duration::from_secs(40));
    let pods = turn.get(&["-n", "handfast-system", "pods"]);
    assert_eq!(seen(&pods), before, "killed");
    let ready = turn.get(&["-n", "handfast-system", "deployment", "handfast-controller"]);
    assert_eq!(ready["status"]["availableReplicas"], 2);
    assert!(scene::metrics(&turn).contains("handfast_leader 1"), "others are answered");
    turn.kubectl(&["delete", "namespace", "hog", "--wait=false"]);
    turn.kubectl(&["-n", "hog", "delete", "pod", "hog", "--grace-period=0", "--force"]);
}

#[test]
fn a_namespace_that_is_deleted_is_no_failure() {
    let Some(turn) = cluster() else { return };
    let scene = Scene::new(&turn, "doomed", &["pair"]);
    scene.certificate("pair", "{secretName: pair, serviceAccount: default}");
    scene.wait_ready("pair");
    turn.kubectl(&["delete", "namespace", "doomed", "--wait=true", "--timeout=60s"]);
    let log = turn.kubectl(&["-n", "handfast-system", "logs", &scene::leader(&turn), "--since=60s"]);
    let complaints = log.lines().filter(|line| line.contains("doomed") && line.contains("WARN")).count();
    assert!(complaints <= 1, "{log}");
}

#[test]
fn no_private_key_is_in_any_log_event_or_status() {
    let Some(turn) = cluster() else { return };
    let scene = Scene::new(&turn, "quiet", &["pair"]);
    scene.certificate("pair", "{secretName: pair, serviceAccount: default}");
    scene.wait_ready("pair");
    let key = pem_of(&scene.secret("pair"), "tls.key");
    let line = key.lines().nth(1).unwrap();
    let mut all = turn.kubectl(&["get", "events,certificates.handfast.dev,configmaps", "-A", "-o", "yaml"]);
    all += &turn.kubectl(&[
        "-n",
        "handfast-system",
        "logs",
        "-l",
        "app.kubernetes.io/name=handfast-controller",
        "--tail=-1",
    ]);
    assert!(!all.contains(line) && !all.contains("PRIVATE KEY"));
    let whole: Value = turn.get(&["-n", "quiet", "certificate.handfast.dev", "pair"]);
    assert!(is_ready(&whole));
}
