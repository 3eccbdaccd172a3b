//! Which pods get a proxy, and which are refused.

use serde_json::Value;
use testkit::cluster::BUSYBOX;

use super::stage::{self, POD, Stage, run_in};

#[test]
fn pods_get_their_proxy_or_are_refused_with_the_field_that_is_wrong() {
    let Some(turn) = stage::take_turn() else { return };
    let stage = Stage::new(&turn, "admission");
    let make = |name: &str, metadata: &str, spec: &str| {
        let yaml = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: admission, {metadata}}}, spec: {{{spec} \
             containers: [{{name: app, image: '{BUSYBOX}', imagePullPolicy: Never, command: [sleep, '1000']}}]}}}}"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), yaml).unwrap();
        turn.try_kubectl(&["create", "--dry-run=server", "-o", "json", "-f", file.path().to_str().unwrap()])
    };
    let containers = |done: &testkit::program::Finished| -> Vec<String> {
        assert_eq!(done.code, Some(0), "{}", done.all());
        let pod: Value = serde_json::from_slice(&done.stdout).unwrap();
        let init = pod["spec"]["initContainers"].as_array().cloned().unwrap_or_default();
        init.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(containers(&make("plain", "", "")), ["handfast-redirect", "handfast-proxy"]);
    assert!(containers(&make("out", "annotations: {handfast.dev/mesh: disabled}", "")).is_empty());
    assert!(containers(&make("out", "labels: {handfast.dev/mesh: disabled}", "")).is_empty());
    assert!(containers(&make("node", "", "hostNetwork: true,")).is_empty());
    for (metadata, spec, field) in [
        ("", "securityContext: {runAsUser: 1337},", "spec.securityContext.runAsUser"),
        ("annotations: {handfast.dev/skip-outbound-ports: '99999'}", "", "skip-outbound-ports"),
        ("annotations: {handfast.dev/skip-outbound-subnets: '10.0.0.0/99'}", "", "skip-outbound-subnets"),
    ] {
        let refused = make("wrong", metadata, spec);
        assert_eq!(refused.code, Some(1), "{}", refused.all());
        assert!(refused.err().contains("HF8034") && refused.err().contains(field), "{}", refused.all());
    }
    stage.end();
}

/// What the annotations ask for is what the proxy really does: it starts with all of them, the application gets its
/// identity over the Workload API, a port that is skipped is called in plain text under strict, and a probe that asks only
/// whether a connection is taken is answered by the application and not by the proxy.
#[test]
fn every_annotation_does_what_it_says_in_a_pod_that_really_starts() {
    let Some(turn) = stage::take_turn() else { return };
    let stage = Stage::new(&turn, "annotated");
    stage.strict();
    let serve = "mkdir -p /tmp/w && echo hello > /tmp/w/index.html && httpd -p 9100 -h /tmp/w && exec httpd -f -p 8080 -h /tmp/w";
    let all = "handfast.dev/skip-inbound-ports: '9100', handfast.dev/skip-outbound-ports: '7000', \
               handfast.dev/skip-outbound-subnets: 192.0.2.128/25, handfast.dev/opaque-ports: '8080', \
               handfast.dev/workload-api: enabled";
    stage.pod("web", serve, "readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}", all);
    let web = stage.address("web");
    stage::stranger(&turn, "annotated-stranger");
    let call = |port: u16| {
        let url = format!("http://{web}:{port}/");
        run_in(&turn, "default", "annotated-stranger", &["timeout", "3", "wget", "-qO-", &url])
    };
    assert_eq!(call(9100).out().trim(), "hello");
    assert_ne!(call(8080).code, Some(0));
    let seen =
        stage.run("web", &["sh", "-c", "echo $SPIFFE_ENDPOINT_SOCKET; ls -l /run/handfast/workload-api"]);
    assert!(seen.out().contains("unix:///run/handfast/workload-api/api.sock"), "{}", seen.all());
    assert!(seen.out().contains("srw-rw-rw-"), "{}", seen.all());
    // Nobody listens there: the pod is not ready, although its proxy takes connections for it.
    stage.pod("deaf", "exec sleep 100000", "readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}", "");
    turn.wait(&["-n", "annotated", "pod", "deaf"], POD, |pod| {
        pod["status"]["containerStatuses"][0]["state"]["running"].is_object()
    });
    std::thread::sleep(std::time::Duration::from_secs(5));
    let deaf = turn.get(&["-n", "annotated", "pod", "deaf"]);
    assert_eq!(deaf["status"]["containerStatuses"][0]["ready"], false, "{deaf:#}");
    turn.kubectl(&["delete", "pod", "annotated-stranger", "--wait=false"]);
    stage.end();
}

/// A Job is done when its own container is, and what it called went through the mesh; a server that speaks first needs no
/// byte of its client; a port that is skipped goes around the proxy.
#[test]
fn a_job_ends_a_server_may_speak_first_and_a_skipped_port_goes_around() {
    let Some(turn) = stage::take_turn() else { return };
    let stage = Stage::new(&turn, "jobs");
    stage.server("web");
    stage.pod("greeter", "while true; do echo 220 hello first | nc -l -p 2525; done", "", "");
    stage.pod("around", "exec sleep 100000", "", "handfast.dev/skip-outbound-ports: '8080'");
    turn.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: greeter, namespace: jobs}, \
         spec: {selector: {app: greeter}, ports: [{port: 25, targetPort: 2525}]}}",
    );
    stage.ready("greeter");
    let web = stage.address("web");
    turn.apply(&format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: once, namespace: jobs}}, spec: {{template: {{spec: {{\
         restartPolicy: Never, containers: [{{name: app, image: '{BUSYBOX}', imagePullPolicy: Never, \
         command: [sh, -c, 'wget -qO- http://web/ && sleep 8 | timeout 8 nc greeter 25']}}]}}}}}}}}"
    ));
    turn.wait(&["-n", "jobs", "job", "once"], POD, |job| job["status"]["succeeded"] == 1);
    let said = turn.kubectl(&["-n", "jobs", "logs", "job/once", "-c", "app"]);
    assert!(said.contains("hello from web") && said.contains("220 hello first"), "{said}");
    let secured = |line: &Value| {
        line["secured"] == "hbone" && line["source"] == "spiffe://cluster.local/ns/jobs/sa/default"
    };
    assert!(stage.connections("greeter").iter().any(secured), "{:#?}", stage.connections("greeter"));

    stage.ready("around");
    let said = stage.call_until("around", &format!("http://{web}:8080/"), true);
    assert_eq!(said.out().trim(), "hello from web");
    assert!(stage.connections("around").is_empty(), "{:#?}", stage.connections("around"));
    stage.end();
}
