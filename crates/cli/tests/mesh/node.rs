//! Node mode while everything works.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::capture;
use testkit::cluster::{BUSYBOX, Cluster};

use super::stage::{self, Stage, run_in};

/// The lines of the node's proxy about connections of one pod, `NAMESPACE/NAME`.
pub fn connections(cluster: &Cluster, pod: &str) -> Vec<Value> {
    let log = log(cluster);
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of = format!("Kubernetes//Pod/{pod}");
    lines.filter(|line| line["target"] == "handfast::mesh" && line["workload"] == of.as_str()).collect()
}

/// What the node's proxy wrote.
pub fn log(cluster: &Cluster) -> String {
    cluster.try_kubectl(&["-n", "handfast-node", "logs", "daemonset/handfast-node", "--tail=-1"]).all()
}

/// Waits until the node's proxy says that it carries a pod.
pub fn carried(cluster: &Cluster, pod: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let is = |line: Value| line["message"] == "the pod's connections are carried" && line["pod"] == pod;
    while !log(cluster).lines().filter_map(|line| serde_json::from_str(line).ok()).any(is) {
        assert!(Instant::now() < deadline, "{pod} is not carried:\n{}", log(cluster));
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn label(stage: &Stage, label: &str) {
    stage.cluster.kubectl(&["label", "--overwrite", "namespace", &stage.namespace, label]);
}

fn containers(stage: &Stage, pod: &str) -> (Value, Value) {
    let found = stage.ready(pod);
    assert_eq!(found["spec"]["containers"].as_array().unwrap().len(), 1);
    assert!(found["spec"]["initContainers"].is_null(), "nothing was added to it");
    let one = &found["status"]["containerStatuses"][0];
    assert_eq!(one["restartCount"], 0);
    (one["containerID"].clone(), found["metadata"]["uid"].clone())
}

/// The outcome of all of it: pods from before the label, not restarted, mutual TLS alone between them under strict, a
/// stranger refused with zero bytes, policies, and out of the mesh again.
#[test]
fn pods_that_run_are_taken_in_without_a_restart_and_nothing_but_mutual_tls_is_between_them() {
    let Some(turn) = stage::take_turn_with_node() else { return };
    let stage = Stage::labelled(&turn, "calm", "a: b");
    stage.server("web");
    stage.client("client");
    stage::stranger(&turn, "calm-stranger");
    let (web, client) = (stage.address("web"), stage.address("client"));
    let stranger = turn.get(&["pod", "calm-stranger"])["status"]["podIP"].as_str().unwrap().to_owned();
    let before = (containers(&stage, "web"), containers(&stage, "client"));
    stage.call_until("client", "http://web/", true);

    std::thread::scope(|scope| {
        // A connection that is open when the label comes: it asks ten seconds later, and is answered.
        let open = scope.spawn(|| {
            let ask = "(sleep 10; printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 3) | timeout 20 nc web 80";
            stage.run("client", &["sh", "-c", ask])
        });
        std::thread::sleep(Duration::from_secs(3));
        stage.strict();
        label(&stage, "handfast.dev/mesh=node");
        let labelled = Instant::now();
        carried(&turn, "calm/web");
        carried(&turn, "calm/client");
        eprintln!("both pods are carried {:?} after the label", labelled.elapsed());
        stage.call_until("client", "http://web/", true);
        let said = open.join().unwrap();
        assert!(said.out().contains("hello from web"), "the open connection was lost: {}", said.all());
    });
    assert_eq!(before, (containers(&stage, "web"), containers(&stage, "client")), "nothing was restarted");

    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("calm.pcap");
    let path = file.to_string_lossy().into_owned();
    let capturing = std::thread::scope(|scope| {
        let capturing = scope.spawn(|| {
            let filter = format!("host {web} and tcp");
            let words =
                ["tshark", "-q", "-i", "pods", "-a", "duration:7", "-c", "4000", "-f", &filter, "-w", &path];
            turn.exec(&words, Duration::from_secs(40))
        });
        std::thread::sleep(Duration::from_secs(2));
        for url in ["http://web/", &format!("http://{web}:8080/")] {
            let said = stage.call("client", url);
            assert_eq!((said.code, said.out().trim()), (Some(0), "hello from web"), "{url}: {}", said.all());
        }
        for url in ["http://web.calm/", &format!("http://{web}:8080/")] {
            let refused = run_in(&turn, "default", "calm-stranger", &["timeout", "5", "wget", "-qO-", url]);
            assert_ne!(refused.code, Some(0), "{url}: {}", refused.all());
        }
        capturing.join().unwrap()
    });
    assert_eq!(capturing.code, Some(0), "{}", capturing.all());
    let tunnel = capture::segments(&file, 15008);
    assert!(tunnel.len() > 4, "{} packets of the tunnel", tunnel.len());
    for text in ["hello", "GET ", "HTTP/", "PRI * ", "spiffe", "web"] {
        assert!(!capture::holds(&tunnel, text), "{text:?} is readable on the wire");
    }
    assert!(capture::tls_records(&tunnel) * 2 > tunnel.len());
    // In plain text there are the node's probes alone; the stranger got no byte of payload.
    let plain = capture::segments(&file, 8080);
    assert!(capture::holds(&plain, "kube-probe"), "the capture has seen the probes");
    assert!(
        plain.iter().all(|one| one.from != client && one.to != client),
        "the client called in plain text"
    );
    assert!(plain.iter().all(|one| one.to != stranger), "the stranger got an answer");
    let application = stage.application_log("web");
    assert!(application.contains(&client) && !application.contains(&stranger), "{application}");
    let (own, other) = ("spiffe://cluster.local/ns/calm/sa/web", "spiffe://cluster.local/ns/calm/sa/client");
    for (pod, direction) in [("calm/web", "inbound"), ("calm/client", "outbound")] {
        let lines = connections(&turn, pod);
        let secured = |line: &&Value| {
            line["direction"] == direction
                && line["secured"] == "hbone"
                && line["source"] == other
                && line["destination"] == own
        };
        assert!(lines.iter().filter(secured).count() >= 2, "{pod}: {lines:#?}");
    }
    let lines = connections(&turn, "calm/web");
    let refused = |line: &&Value| {
        line["code"] == "HF8001" && line["source_address"].as_str().unwrap_or_default().starts_with(&stranger)
    };
    assert!(lines.iter().filter(refused).count() >= 2, "{lines:#?}");

    // Policies.
    stage.policy(
        "not-the-client",
        "web",
        "action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/calm/sa/client]}}]}]",
    );
    stage.call_until("client", "http://web/", false);
    let denied = |line: &Value| line["code"] == "HF8003" && line["source"] == other;
    assert!(connections(&turn, "calm/web").iter().any(denied), "{:#?}", connections(&turn, "calm/web"));
    turn.kubectl(&["-n", "calm", "delete", "authorizationpolicy", "not-the-client"]);
    stage.call_until("client", "http://web/", true);

    // Out of the mesh: plain again, for the stranger too, and still nothing was restarted.
    label(&stage, "handfast.dev/mesh-");
    let deadline = Instant::now() + Duration::from_secs(20);
    while run_in(&turn, "default", "calm-stranger", &["timeout", "5", "wget", "-qO-", "http://web.calm/"])
        .code
        != Some(0)
    {
        assert!(Instant::now() < deadline, "{}", log(&turn));
    }
    stage.call_until("client", "http://web/", true);
    assert_eq!(before, (containers(&stage, "web"), containers(&stage, "client")), "nothing was restarted");
    turn.kubectl(&["delete", "pod", "calm-stranger", "--wait=false"]);
    stage.end();
}

/// The plugin hands a new pod over before its first container starts: its first call goes through the mesh. Who has a proxy
/// beside him and who is carried by the node's understand each other.
#[test]
fn a_new_pod_calls_through_the_mesh_from_its_first_call_and_sidecars_are_understood() {
    let Some(turn) = stage::take_turn_with_node() else { return };
    let nodes = Stage::labelled(&turn, "fresh", "handfast.dev/mesh: node");
    let sidecars = Stage::new(&turn, "beside");
    nodes.strict();
    sidecars.strict();
    nodes.server("web");
    sidecars.server("web");
    sidecars.client("client");
    nodes.ready("web");
    nodes.client("client");
    nodes.ready("client");
    nodes.call_until("client", "http://web/", true);
    for _ in 0..3 {
        let name = format!("first-{:x}", rand_name());
        turn.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: fresh}}, spec: {{restartPolicy: Never, \
             containers: [{{name: app, image: '{BUSYBOX}', imagePullPolicy: Never, \
             command: [sh, -c, 'timeout 10 wget -qO- http://web/']}}]}}}}"
        ));
        turn.wait(&["-n", "fresh", "pod", &name], stage::POD, |pod| {
            pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed"
        });
        let said = turn.kubectl(&["-n", "fresh", "logs", &name]);
        let lines = connections(&turn, &format!("fresh/{name}"));
        assert!(said.contains("hello from web"), "{said}\n{lines:#?}\n{}", log(&turn));
        assert!(!lines.is_empty() && lines.iter().all(|line| line["secured"] == "hbone"), "{lines:#?}");
    }
    sidecars.ready("web");
    sidecars.ready("client");
    sidecars.call_until("client", "http://web.fresh/", true);
    nodes.call_until("client", "http://web.beside/", true);
    let from = |line: &Value, who: &str| line["secured"] == "hbone" && line["source"] == who;
    let lines = connections(&turn, "fresh/web");
    assert!(lines.iter().any(|line| from(line, "spiffe://cluster.local/ns/beside/sa/client")), "{lines:#?}");
    let lines = sidecars.connections("web");
    assert!(lines.iter().any(|line| from(line, "spiffe://cluster.local/ns/fresh/sa/client")), "{lines:#?}");
    nodes.end();
    sidecars.end();
}

fn rand_name() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos()
}
