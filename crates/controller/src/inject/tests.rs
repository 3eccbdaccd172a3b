use serde_json::{Value, json};

use super::*;
use crate::names::MESH_PROXY;

fn settings() -> Settings {
    Settings {
        image: "handfast.dev/handfast:1".to_owned(),
        pull_policy: "Never".to_owned(),
        control_plane: "handfast-mesh.handfast-system.svc:15012".to_owned(),
        cluster: "Kubernetes".to_owned(),
        trust_domain: "cluster.local".to_owned(),
    }
}

fn pod(change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({
        "metadata": { "name": "web" },
        "spec": {
            "initContainers": [{ "name": "migrate", "image": "m" }],
            "containers": [{
                "name": "web",
                "image": "w",
                "ports": [{ "name": "health", "containerPort": 8081 }],
                "livenessProbe": { "httpGet": { "path": "/", "port": "health" } },
                "readinessProbe": { "tcpSocket": { "port": 8080 } },
                "startupProbe": { "exec": { "command": ["true"] } },
            }],
        },
    });
    change(&mut pod);
    pod
}

fn injected(pod: &Value) -> Value {
    match inject(pod, &settings()) {
        Ok(Injected::Pod(pod)) => pod,
        other => panic!("{other:?}"),
    }
}

fn args(container: &Value) -> Vec<&str> {
    container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect()
}

#[test]
fn the_proxy_stands_before_everything_else_and_stays() {
    let next = injected(&pod(|_| {}));
    let init = next["spec"]["initContainers"].as_array().unwrap();
    let names: Vec<_> = init.iter().map(|container| container["name"].as_str().unwrap()).collect();
    assert_eq!(names, [MESH_REDIRECT, MESH_PROXY, "migrate"]);
    assert_eq!(init[0]["restartPolicy"], Value::Null);
    assert_eq!(init[1]["restartPolicy"], "Always");
    assert_eq!(init[1]["startupProbe"]["httpGet"]["port"], 15021);
    // Named ports are those of their own container; a probe that runs a command asks on none.
    let args = args(&init[1]).join(" ");
    assert!(args.contains("--probe-ports 8080,8081"), "{args}");
    // One that asks only whether a connection is taken goes around the proxy, which takes each.
    let redirect = super::tests::args(&init[0]).join(" ");
    assert!(redirect.ends_with("--probe-ports 8080"), "{redirect}");
    for container in &init[..2] {
        assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    }
    assert_eq!(
        next["spec"]["containers"],
        pod(|_| {})["spec"]["containers"],
        "the application is left as it is"
    );
    // The same webhook may be asked again, after others changed the pod.
    assert!(matches!(inject(&next, &settings()), Ok(Injected::Left(_))));
}

#[test]
fn who_is_out_stays_as_it_is() {
    let left = |change: fn(&mut Value)| matches!(inject(&pod(change), &settings()), Ok(Injected::Left(_)));
    assert!(left(|pod| pod["metadata"]["annotations"][MESH_LABEL] = "disabled".into()));
    assert!(left(|pod| pod["metadata"]["labels"][MESH_LABEL] = "disabled".into()));
    assert!(left(|pod| pod["spec"]["hostNetwork"] = true.into()));
}

#[test]
fn nobody_runs_as_the_proxy_and_nobody_takes_its_names() {
    let field = |change: fn(&mut Value)| inject(&pod(change), &settings()).unwrap_err().field;
    assert_eq!(
        field(|pod| pod["spec"]["securityContext"]["runAsUser"] = 1337.into()),
        "spec.securityContext.runAsUser"
    );
    assert_eq!(
        field(|pod| pod["spec"]["containers"][0]["securityContext"]["runAsUser"] = 1337.into()),
        "spec.containers[0].securityContext.runAsUser"
    );
    assert_eq!(
        field(|pod| pod["spec"]["initContainers"][0]["name"] = MESH_PROXY.into()),
        "spec.initContainers"
    );
    // Whoever writes the annotation himself gets a proxy all the same.
    let forged = pod(|pod| pod["metadata"]["annotations"][INJECTED_ANNOTATION] = "1".into());
    assert!(matches!(inject(&forged, &settings()), Ok(Injected::Pod(_))));
}

#[test]
fn what_goes_around_the_proxy_is_read_and_refused_when_misspelt() {
    let annotated = |name: &str, value: &str| pod(|pod| pod["metadata"]["annotations"][name] = value.into());
    let next = injected(&annotated(crate::names::SKIP_OUTBOUND_PORTS, "5432, 6379"));
    let redirect = args(&next["spec"]["initContainers"][0]).join(" ");
    assert!(redirect.contains("--skip-outbound-ports 5432,6379"), "{redirect}");
    let next = injected(&annotated(crate::names::SKIP_OUTBOUND_SUBNETS, "10.1.0.0/16,fd00::/8"));
    let redirect = args(&next["spec"]["initContainers"][0]).join(" ");
    assert!(redirect.contains("--skip-outbound-subnets 10.1.0.0/16,fd00::/8"), "{redirect}");
    for (name, value) in [
        (crate::names::SKIP_OUTBOUND_PORTS, "0"),
        (crate::names::SKIP_INBOUND_PORTS, "80-90"),
        (crate::names::OPAQUE_PORTS, "http"),
        (crate::names::SKIP_OUTBOUND_SUBNETS, "10.1.0.0"),
        (crate::names::SKIP_OUTBOUND_SUBNETS, "10.1.0.0/33"),
        (crate::names::SKIP_OUTBOUND_SUBNETS, "10.1.0.1/16"),
        (crate::names::SKIP_OUTBOUND_SUBNETS, "fd00::1/8"),
    ] {
        let refusal = inject(&annotated(name, value), &settings()).unwrap_err();
        assert!(refusal.field.contains(name), "{refusal}");
    }
}

#[test]
fn a_review_is_answered_with_a_patch_or_a_refusal_with_its_code() {
    let review = |pod: &Value| {
        let body = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "42",
                "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "resource": { "group": "", "version": "v1", "resource": "pods" },
                "namespace": "shop",
                "name": "web",
                "operation": "CREATE",
                "userInfo": {},
                "object": pod,
            },
        });
        let answer = answer(&serde_json::to_vec(&body).unwrap(), &settings()).unwrap();
        serde_json::from_slice::<Value>(&answer).unwrap()["response"].clone()
    };
    let mut typed = pod(|_| {});
    (typed["apiVersion"], typed["kind"]) = ("v1".into(), "Pod".into());
    let answer = review(&typed);
    assert_eq!(
        (&answer["uid"], &answer["allowed"], &answer["patchType"]),
        (&json!("42"), &json!(true), &json!("JSONPatch"))
    );
    let mut refused = typed.clone();
    refused["spec"]["securityContext"]["runAsUser"] = 1337.into();
    let answer = review(&refused);
    assert_eq!(answer["allowed"], false);
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(message.contains("HF8034") && message.contains("runAsUser"), "{message}");
    assert!(super::answer(b"{}", &settings()).is_err());
}

#[test]
fn who_wants_its_identity_itself_gets_the_socket() {
    let wants = |value: &str| {
        pod(|pod| pod["metadata"]["annotations"][crate::names::WORKLOAD_API_ANNOTATION] = value.into())
    };
    let next = injected(&wants("enabled"));
    let has = |container: &Value, read_only: bool| {
        container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .any(|mount| mount["name"] == "handfast-workload-api" && mount["readOnly"] == read_only)
    };
    let init = next["spec"]["initContainers"].as_array().unwrap();
    assert!(has(&init[1], false) && has(&init[2], true) && has(&next["spec"]["containers"][0], true));
    assert_eq!(init[0]["volumeMounts"], Value::Null);
    assert_eq!(
        next["spec"]["containers"][0]["env"][0],
        json!({ "name": "SPIFFE_ENDPOINT_SOCKET", "value": "unix:///run/handfast/workload-api/api.sock" })
    );
    assert!(args(&init[1]).join(" ").ends_with("--workload-api /run/handfast/workload-api/api.sock"));
    let without = injected(&wants("disabled"));
    assert!(!args(&without["spec"]["initContainers"][1]).join(" ").contains("--workload-api"));
    assert!(inject(&wants("yes"), &settings()).unwrap_err().field.contains("workload-api"));
}
