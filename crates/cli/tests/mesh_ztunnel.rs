//! A real ztunnel of Istio's, named by `ZTUNNEL_BIN`: it runs from Handfast's control plane (certificate, workloads,
//! policies) in the place of a sidecar, and talks HBONE with Handfast's proxies both ways.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test stops where something is not as expected"
)]

#[path = "kube/scene.rs"]
mod scene;
#[path = "mesh/stage.rs"]
mod stage;

use stage::{Stage, run_in};
use testkit::cluster::{BUSYBOX, IMAGE};

const ZTUNNEL: &str = "handfast.test/ztunnel:1";

/// A pod whose connections a ztunnel carries. It says of itself that it was injected, so that it is not given ours.
fn pod(name: &str, command: &str) -> String {
    let root = "/var/run/handfast";
    let variables = [
        ("PROXY_MODE", "dedicated".to_owned()),
        ("PROXY_WORKLOAD_INFO", format!("interop/{name}/{name}")),
        ("PACKET_MARK", "1337".to_owned()),
        ("ENABLE_ORIG_SRC", "false".to_owned()),
        ("XDS_ADDRESS", "https://handfast-mesh.handfast-system.svc:15012".to_owned()),
        ("CA_ADDRESS", "https://handfast-mesh.handfast-system.svc:15012".to_owned()),
        ("XDS_ROOT_CA", format!("{root}/ca.crt")),
        ("CA_ROOT_CA", format!("{root}/ca.crt")),
        ("AUTH_TOKEN", format!("{root}/token")),
        ("CLUSTER_ID", "Kubernetes".to_owned()),
        ("NODE_NAME", "node".to_owned()),
        ("POD_NAME", name.to_owned()),
        ("POD_NAMESPACE", "interop".to_owned()),
        ("SERVICE_ACCOUNT", name.to_owned()),
        ("ZTUNNEL_WORKER_THREADS", "2".to_owned()),
        ("RUST_LOG", "info".to_owned()),
    ];
    let variables: Vec<String> =
        variables.iter().map(|(name, value)| format!("{{name: {name}, value: '{value}'}}")).collect();
    format!(
        "
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: interop}}
---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: interop
  labels: {{app: {name}}}
  annotations: {{handfast.dev/injected: 'by hand'}}
spec:
  serviceAccountName: {name}
  terminationGracePeriodSeconds: 2
  initContainers:
  - name: handfast-redirect
    image: {IMAGE}
    imagePullPolicy: Never
    # The ztunnel of a pod does not mark what it says to its control plane.
    args: [mesh, redirect, --skip-outbound-ports, '15012']
    securityContext: {{runAsUser: 0, capabilities: {{add: [NET_ADMIN]}}}}
  - name: handfast-proxy
    image: {ZTUNNEL}
    imagePullPolicy: Never
    restartPolicy: Always
    args: [proxy, ztunnel]
    env: [{}, {{name: INSTANCE_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]
    startupProbe: {{httpGet: {{path: /healthz/ready, port: 15021}}, periodSeconds: 1, failureThreshold: 60}}
    securityContext: {{runAsUser: 0, capabilities: {{add: [NET_ADMIN]}}}}
    volumeMounts: [{{name: handfast-mesh, mountPath: {root}, readOnly: true}}]
  containers:
  - {{name: app, image: '{BUSYBOX}', imagePullPolicy: Never, command: [sh, -c, {command:?}]}}
  volumes:
  - name: handfast-mesh
    projected:
      sources:
      - serviceAccountToken: {{audience: istio-ca, expirationSeconds: 43200, path: token}}
      - configMap: {{name: handfast-trust, items: [{{key: ca.crt, path: ca.crt}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: interop}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}
",
        variables.join(", ")
    )
}

#[test]
fn a_real_ztunnel_runs_from_our_control_plane_and_talks_with_our_proxies_both_ways() {
    let Some(binary) = std::env::var("ZTUNNEL_BIN").ok().filter(|path| !path.is_empty()) else {
        testkit::skipped("no ztunnel: ZTUNNEL_BIN names none");
        return;
    };
    let Some(turn) = stage::take_turn() else { return };
    turn.control(&[
        "image",
        ZTUNNEL,
        "--binary",
        &format!("{binary}:/ztunnel"),
        "--entrypoint",
        "/ztunnel",
        "--user",
        "0",
    ]);
    let stage = Stage::new(&turn, "interop");
    stage.strict();
    stage.server("web");
    stage.client("client");
    let serve =
        "mkdir -p /tmp/w && echo hello from zweb > /tmp/w/index.html && exec httpd -f -v -p 8080 -h /tmp/w";
    turn.apply(&pod("zweb", serve));
    turn.apply(&pod("zclient", "exec sleep 100000"));
    for pod in ["web", "client", "zweb", "zclient"] {
        stage.ready(pod);
    }
    for (from, to) in [("client", "zweb"), ("zclient", "web"), ("zclient", "zweb"), ("client", "web")] {
        let said = stage.call_until(from, &format!("http://{to}/"), true);
        assert_eq!(said.out().trim(), format!("hello from {to}"), "{from} -> {to}");
    }
    // Each side says by whom it was called.
    let ours = stage.connections("web");
    let by = |line: &serde_json::Value| {
        line["secured"] == "hbone" && line["source"] == "spiffe://cluster.local/ns/interop/sa/zclient"
    };
    assert!(ours.iter().any(by), "{ours:#?}");
    let theirs = stage.log("zweb");
    assert!(theirs.contains("spiffe://cluster.local/ns/interop/sa/client"), "{theirs}");

    // Strict reaches the ztunnel as a policy, ...
    stage::stranger(&turn, "interop-stranger");
    let address = stage.address("zweb");
    let url = format!("http://{address}:8080/");
    let refused = run_in(&turn, "default", "interop-stranger", &["timeout", "5", "wget", "-qO-", &url]);
    assert_ne!(refused.code, Some(0), "{}\n{}", refused.all(), stage.log("zweb"));
    // ... and so does who may call.
    stage.policy(
        "zclient-only",
        "zweb",
        "action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/interop/sa/zclient]}}]}]",
    );
    stage.call_until("client", "http://zweb/", false);
    stage.call_until("zclient", "http://zweb/", true);
    let log = stage.connections("client");
    assert!(log.iter().any(|line| line["code"] == "HF8011"), "{log:#?}");
    turn.kubectl(&["delete", "pod", "interop-stranger", "--wait=false"]);
    stage.end();
}
