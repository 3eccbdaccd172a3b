use super::*;

fn asked(folder: &Path, command: Command, arguments: &str) -> Asked {
    Asked {
        command,
        arguments: arguments.to_owned(),
        network: "/proc/self/ns/net".into(),
        container: "c".to_owned(),
        folder: folder.to_owned(),
    }
}

#[test]
fn with_nobody_there_a_labelled_pod_does_not_start_and_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let known = Namespaces { node: ["bank".to_owned()].into(), other: ["shop".to_owned()].into() };
    known.write(folder.path()).unwrap();
    let config = json!({ "prevResult": { "ips": [{ "address": "10.244.0.5/24" }] } });
    let of = |namespace: &str| {
        format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=a;K8S_POD_UID=u")
    };
    let add = |namespace: &str| asked(folder.path(), Command::Add, &of(namespace)).done(&config);
    assert!(add("shop").is_ok_and(|result| result.unwrap() == config["prevResult"]));
    assert!(add("bank").is_err_and(|failed| failed.code == AGAIN && failed.message.contains("HF8082")));
    assert!(add("made-since").is_err());
    assert!(add("kube-system").is_ok());
    // What ends always may, and nothing is printed of it.
    assert!(
        asked(folder.path(), Command::Del, &of("bank")).done(&config).is_ok_and(|result| result.is_none())
    );
    // Without Kubernetes, and without a plugin before it.
    assert!(asked(folder.path(), Command::Add, "").done(&config).is_ok());
    assert!(
        asked(folder.path(), Command::Add, &of("shop"))
            .done(&json!({}))
            .is_err_and(|failed| failed.code == INVALID)
    );
    assert_eq!(addresses(&config["prevResult"]), ["10.244.0.5".parse::<IpAddr>().unwrap()]);
}
