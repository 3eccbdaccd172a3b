//! `kube revoke`: the list, the new certificate, and which authority is meant.

use super::*;

#[test]
fn a_revoked_certificate_is_on_the_list_and_replaced_at_once() {
    let Some(turn) = cluster() else { return };
    let scene = Scene::new(&turn, "lost", &["one"]);
    scene.certificate("one", "{secretName: one, serviceAccount: default}");
    let before = scene.wait_ready("one");
    let old = scene.secret("one");
    let number = serial(&before).to_owned();
    let revoke = |more: &[&str]| turn.handfast(&[&["kube", "revoke"], more].concat());
    let tried = revoke(&["lost/one", "--dry-run"]);
    assert!(
        tried.code == Some(0) && tried.out().contains(&format!("would revoke certificate {number}")),
        "{}",
        tried.all()
    );
    let done = revoke(&["lost/one", "--reason", "keyCompromise", "-o", "json"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    let document: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&document["serial"], &document["revoked_before"]), (&number.clone().into(), &false.into()));
    let issuer = document["issuer"].as_str().unwrap();
    let after = scene.wait("one", |now| is_ready(now) && serial(now) != number);
    scene.wait_event("one", "Renewed");

    // The list, as openssl reads it: signed, with the number and the reason; and the old certificate is refused by it.
    let key = format!("{issuer}.crl");
    let words = ["-n", "handfast-system", "configmap", "handfast-revocation"];
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let listed = |map: &Value, number: &str| {
        let list = file("list.pem", map["data"][&key].as_str().unwrap_or_default());
        openssl(&["crl", "-in", &list, "-noout", "-text"]).contains(&number.to_uppercase())
    };
    let map = turn.wait(&words, SOON, |map| listed(map, &number));
    let list = file("list.pem", map["data"][&key].as_str().unwrap());
    let root = file("root.pem", &pem_of(&old, "ca.crt"));
    let chain = file("chain.pem", &pem_of(&old, "tls.crt"));
    let new = file("new.pem", &pem_of(&scene.secret("one"), "tls.crt"));
    let authority = turn.get(&["-n", "handfast-system", "secret", "handfast-authority"]);
    let signer = file("signer.pem", &pem_of(&authority, &format!("{issuer}.crt")));
    let read = openssl(&["crl", "-in", &list, "-CAfile", &signer, "-noout", "-text"]);
    assert!(read.contains("verify OK") && read.contains("Key Compromise"), "{read}");
    let check = |leaf: &str| {
        openssl(&["verify", "-crl_check", "-CRLfile", &list, "-CAfile", &root, "-untrusted", leaf, leaf])
    };
    assert!(check(&chain).contains("certificate revoked"), "{}", check(&chain));
    assert!(check(&new).contains(": OK"), "{}", check(&new));
    let line = |log: &[Value], number: &str| {
        log.iter().any(|line| line["action"] == "revoke" && line["serial"] == *number)
    };
    assert!(line(&scene::audit(&turn), &number));
    wait_event(&turn, "Revoked");

    // Again, by its serial number: nothing changes. One that nobody holds; and what there is not.
    let again = revoke(&["--serial", &number]);
    assert!(again.code == Some(0) && again.out().contains("was revoked already"), "{}", again.all());
    assert_eq!(revoke(&["--serial", "0a0b0c0d"]).code, Some(0));
    turn.wait(&words, SOON, |map| listed(map, "0a0b0c0d") && listed(map, &number));
    // Many at once: some come while a list is being signed, and each is in the audit log.
    let many: Vec<String> = (1..=8).map(|i| format!("0c0d0e{i:02x}")).collect();
    let cluster: &Cluster = &turn;
    std::thread::scope(|scope| {
        for number in &many {
            scope.spawn(move || {
                let done = cluster.handfast(&["kube", "revoke", "--serial", number]);
                assert_eq!(done.code, Some(0), "{}", done.all());
            });
        }
    });
    turn.wait(&words, SOON, |map| many.iter().all(|number| listed(map, number)));
    let log = scene::audit(&turn);
    for number in many.iter().map(String::as_str).chain(["0a0b0c0d"]) {
        assert!(line(&log, number), "{number} is on the list and not in the log");
    }
    // While there are two authorities, the wrong one would list it for nothing; what was said wrongly is corrected.
    assert_eq!(rotate(&turn, &["start"]).code, Some(0));
    let unnamed = revoke(&["--serial", "0e0f0a0b"]);
    assert!(unnamed.code == Some(2) && unnamed.err().contains("--issuer"), "{}", unnamed.all());
    let new = status(&turn)["to"].as_str().unwrap().to_owned();
    for authority in [new.as_str(), issuer] {
        let done = revoke(&["--serial", "0e0f0a0b", "--issuer", authority]);
        assert!(
            done.code == Some(0) && done.out().contains(&format!("signed by {authority}")),
            "{}",
            done.all()
        );
        assert!(done.out().starts_with("revoked certificate"), "{}", done.all());
    }
    turn.wait(&words, SOON, |map| listed(map, "0e0f0a0b"));
    assert_eq!(rotate(&turn, &["abort"]).code, Some(0));
    let gone = revoke(&["--serial", "0e0f0a0c", "--issuer", &new]);
    assert!(gone.code == Some(1) && gone.err().contains("retired"), "{}", gone.all());
    let found = turn
        .wait(&["-n", "lost", "secret", "one"], SOON, |now| pem_of(now, "ca.crt") == pem_of(&old, "ca.crt"));
    assert!(!found.is_null());
    assert_eq!(serial(&scene.get("one")), serial(&after));
    for (wrong, code) in [(&["lost/none"][..], 1), (&["none"], 2), (&[], 2), (&["--serial", "xyz"], 2)] {
        assert_eq!(revoke(wrong).code, Some(code), "{wrong:?}");
    }
    turn.kubectl(&["delete", "namespace", "lost", "--timeout=60s"]);
}
