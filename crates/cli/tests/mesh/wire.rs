//! What is between two pods.

use std::path::PathBuf;
use std::time::Duration;

use testkit::capture;

use super::stage::{self, Stage, run_in};

/// The outcome of all of it: unchanged pods, mutual TLS and nothing else between them, strangers refused with zero bytes,
/// kubelet's probes answered, the client's own address seen by the application.
#[test]
fn two_unchanged_pods_talk_by_mutual_tls_alone_and_a_stranger_gets_nothing() {
    let Some(turn) = stage::take_turn() else { return };
    let stage = Stage::new(&turn, "wire");
    stage.strict();
    stage.server("web");
    stage.client("client");
    stage::stranger(&turn, "wire-stranger");
    let (web, client) = (stage.address("web"), stage.address("client"));
    stage.call_until("client", "http://web/", true);

    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("wire.pcap");
    let path = file.to_string_lossy().into_owned();
    let capturing = std::thread::scope(|scope| {
        let capturing = scope.spawn(|| {
            let filter = format!("host {web} and tcp");
            let words =
                ["tshark", "-q", "-i", "pods", "-a", "duration:8", "-c", "4000", "-f", &filter, "-w", &path];
            turn.exec(&words, Duration::from_secs(40))
        });
        std::thread::sleep(Duration::from_secs(2));
        for url in ["http://web/", "http://web.wire.svc.cluster.local/", &format!("http://{web}:8080/")] {
            let said = stage.call("client", url);
            assert_eq!((said.code, said.out().trim()), (Some(0), "hello from web"), "{url}: {}", said.all());
        }
        // By its Service and by its address, from outside of the mesh.
        for url in ["http://web.wire/", &format!("http://{web}:8080/")] {
            let refused = run_in(&turn, "default", "wire-stranger", &["timeout", "5", "wget", "-qO-", url]);
            assert_ne!(refused.code, Some(0), "{url}: {}", refused.all());
        }
        capturing.join().unwrap()
    });
    assert_eq!(capturing.code, Some(0), "{}", capturing.all());
    let tunnel = capture::segments(&file, 15008);
    assert!(tunnel.len() > 6, "{} packets of the tunnel", tunnel.len());
    let between =
        tunnel.iter().all(|one| [&web, &client].contains(&&one.from) && [&web, &client].contains(&&one.to));
    assert!(between, "the tunnel is between the two pods alone");
    for text in ["hello", "GET ", "HTTP/", "PRI * ", "spiffe", "web"] {
        assert!(!capture::holds(&tunnel, text), "{text:?} is readable on the wire");
    }
    let records = capture::tls_records(&tunnel);
    assert!(records > 6 && records * 2 > tunnel.len(), "{records} of {}", tunnel.len());
    // In plain text there are the node's probes, and nothing of the client's; the stranger's request was never answered.
    let plain = capture::segments(&file, 8080);
    assert!(capture::holds(&plain, "kube-probe"), "the capture has seen the probes");
    assert!(
        plain.iter().all(|one| one.from != client && one.to != client),
        "the client called in plain text"
    );
    let stranger = turn.get(&["pod", "wire-stranger"])["status"]["podIP"].as_str().unwrap().to_owned();
    assert!(plain.iter().all(|one| one.to != stranger), "the stranger got an answer");

    // The application saw its client's address, and never the stranger's.
    let application = stage.application_log("web");
    assert!(application.contains(&client) && !application.contains(&stranger), "{application}");
    // Both proxies name both ends; the refusal has its line and its code.
    let (own, other) = ("spiffe://cluster.local/ns/wire/sa/web", "spiffe://cluster.local/ns/wire/sa/client");
    for (pod, direction) in [("web", "inbound"), ("client", "outbound")] {
        let lines = stage.connections(pod);
        let secured = |line: &serde_json::Value| {
            line["direction"] == direction
                && line["secured"] == "hbone"
                && line["source"] == other
                && line["destination"] == own
        };
        assert!(lines.iter().filter(|line| secured(line)).count() >= 3, "{pod}: {lines:#?}");
    }
    let lines = stage.connections("web");
    let refused = |line: &serde_json::Value| {
        line["code"] == "HF8001" && line["source_address"].as_str().unwrap_or_default().starts_with(&stranger)
    };
    assert!(lines.iter().filter(|line| refused(line)).count() >= 2, "{lines:#?}");
    turn.kubectl(&["delete", "pod", "wire-stranger", "--wait=false"]);
    stage.end();
}

/// The caller's side is strict too: it does not fall back to plain text (invariant 3).
#[test]
fn a_strict_caller_calls_nobody_in_plain_text_and_a_permissive_one_says_that_it_does() {
    let Some(turn) = stage::take_turn() else { return };
    let stage = Stage::new(&turn, "outbound");
    stage.client("permissive");
    stage.pod("strict", "exec sleep 100000", "", "handfast.dev/outbound-mode: strict");
    stage::stranger(&turn, "outbound-stranger");
    let address = turn.get(&["pod", "outbound-stranger"])["status"]["podIP"].as_str().unwrap().to_owned();
    let url = format!("http://{address}:8080/");
    stage.ready("permissive");
    stage.ready("strict");
    let said = stage.call_until("permissive", &url, true);
    assert_eq!(said.out().trim(), "a stranger");
    let refused = stage.call_until("strict", &url, false);
    assert!(!refused.out().contains("stranger"), "{}", refused.all());
    let of = |pod: &str| stage.connections(pod);
    let plain = |line: &serde_json::Value| {
        line["secured"] == "plain" && line["not_secured_because"] == "destination_not_in_mesh"
    };
    assert!(of("permissive").iter().any(plain), "{:#?}", of("permissive"));
    assert!(of("strict").iter().any(|line| line["code"] == "HF8005"), "{:#?}", of("strict"));
    turn.kubectl(&["delete", "pod", "outbound-stranger", "--wait=false"]);
    stage.end();
}
