//! `handfast up DIR` as an ordinary user runs it: the bank of the examples, unchanged, with real processes, real
//! proxies and a capture of what is on the wire between them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as expected")]

#[path = "up/place.rs"]
mod place;

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use testkit::capture;
use testkit::program::Program;

use place::{Place, SOON, address, has_line, is_proven, turn};

#[test]
fn the_bank_runs_as_an_ordinary_user_and_follows_its_policy() {
    let _turn = turn();
    let place = Place::new();
    let mut up = Program::start(&mut place.handfast(&["up", "bank"]));
    up.wait_for("the proof", SOON, |up| up.stderr().contains("up until Ctrl-C"));
    let (out, table) = (up.stdout(), up.stderr());
    assert!(has_line(&table, &["bank/ledger-0", "spiffe://cluster.local/ns/bank/sa/ledger"]), "{table}");
    is_proven(&out);
    assert!(out.contains("11 ok, 0 failed"), "{out}");
    // The traffic of the services themselves.
    up.wait_for("the teller's answer", SOON, |up| {
        has_line(&up.stdout(), &["teller-0 |", "\"balance\": 120"])
    });
    up.wait_for("the refusal", SOON, |up| has_line(&up.stdout(), &["gossip-0 | 403: HF8011"]));
    up.wait_for("both verdicts", SOON, |up| {
        has_line(
            &up.stdout(),
            &["bank/teller -> bank/ledger:8080", "mutual TLS, allowed by policy bank/ledger-callers"],
        ) && has_line(&up.stdout(), &["bank/gossip -> bank/ledger:8080", "refused[HF8004]"])
    });
    assert!(!up.stdout().contains("Traceback"), "{}", up.stdout());

    let ledger = address(&table, "bank/ledger-0");
    on_the_wire(&place, &ledger);

    // The policy is edited: who is allowed changes places, and the pods are the same ones.
    place.edit(|text| {
        text.replace(
            "principals: [cluster.local/ns/bank/sa/teller]",
            "principals: [cluster.local/ns/bank/sa/gossip]",
        )
    });
    up.wait_for("the new verdicts", SOON, |up| {
        has_line(&up.stdout(), &["bank/gossip -> bank/ledger:8080", "mutual TLS, allowed"])
            && has_line(&up.stdout(), &["bank/teller -> bank/ledger:8080", "refused[HF8004]"])
    });
    assert_eq!(up.stdout().matches("the ledger is open").count(), 1, "no pod is started anew for a policy");

    // What is wrong is said with its place, and changes nothing.
    place.edit(|text| text.replace("action: ALLOW", "action: ALOW"));
    up.wait_for("the error", SOON, |up| up.stderr().contains("the last good state stays in force"));
    assert!(up.stderr().contains("bank.yaml") && up.stderr().contains("ALOW"), "{}", up.stderr());
    // A policy whose kind is misspelt does not vanish.
    place.edit(|text| {
        text.replace("action: ALOW", "action: ALLOW")
            .replace("kind: AuthorizationPolicy", "kind: AuthorisationPolicy")
    });
    up.wait_for("the error", SOON, |up| up.stderr().contains("AuthorisationPolicy"));
    // As editors do it: a new file in the place of the old one.
    let text = std::fs::read_to_string(place.path("bank/bank.yaml")).unwrap();
    let text = text
        .replace("kind: AuthorisationPolicy", "kind: AuthorizationPolicy")
        .replace("replicas: 1", "replicas: 2");
    std::fs::write(place.path("bank/.new"), text).unwrap();
    std::fs::rename(place.path("bank/.new"), place.path("bank/bank.yaml")).unwrap();
    up.wait_for("a second ledger", SOON, |up| up.stdout().contains("ledger-1 | the ledger is open"));

    let log = std::fs::read_to_string(place.path(".handfast/up.log")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let inbound = |source: &str, refused: bool| {
        lines.iter().any(|line| {
            line["direction"] == "inbound"
                && line["source"] == format!("spiffe://cluster.local/ns/bank/sa/{source}")
                && line["destination"] == "spiffe://cluster.local/ns/bank/sa/ledger"
                && line["code"].is_null() != refused
                && (line["secured"] == "hbone") != refused
        })
    };
    assert!(inbound("teller", false) && inbound("gossip", true) && inbound("gossip", false), "{log}");

    up.signal("TERM");
    let done = up.finish(Duration::from_secs(30));
    assert_eq!(done.code, Some(0), "{}", done.all());
    let left =
        TcpStream::connect_timeout(&SocketAddr::new(ledger.parse().unwrap(), 8080), Duration::from_secs(2));
    assert!(left.is_err(), "the ledger's process is still there");
}

/// Between the pods there is TLS and nothing else; the same bytes are readable where the application itself listens.
fn on_the_wire(place: &Place, ledger: &str) {
    if !rustix::process::getuid().is_root() {
        testkit::skipped("capturing packets needs root");
        return;
    }
    let file = place.path("wire.pcap");
    let filter = format!("host {ledger}");
    let mut command = Command::new("tshark");
    command.args(["-q", "-i", "lo", "-a", "duration:7", "-c", "2000", "-f", &filter, "-w"]).arg(&file);
    let done = Program::run(&mut command, b"", SOON);
    assert_eq!(done.code, Some(0), "{}", done.all());
    let (tunnel, application) = (capture::segments(&file, 15008), capture::segments(&file, 8080));
    assert!(
        capture::holds(&application, "balance") && capture::holds(&application, "GET /alice"),
        "the capture has seen the calls"
    );
    assert!(tunnel.len() > 4, "{} packets of the tunnel", tunnel.len());
    for text in ["balance", "alice", "GET ", "HTTP/", "PRI * ", "ledger", "spiffe"] {
        assert!(!capture::holds(&tunnel, text), "{text:?} is readable on the wire");
    }
    let records = capture::tls_records(&tunnel);
    assert!(records > 4 && records * 2 > tunnel.len(), "{records} of {}", tunnel.len());
}

#[test]
fn a_folder_that_is_wrong_starts_nothing_and_two_machines_keep_apart() {
    let _turn = turn();
    let place = Place::new();
    place.edit(|text| text.replacen("        command: [python3, bank.py, ledger]\n", "", 1));
    let done = Program::run(&mut place.handfast(&["up", "--once", "bank"]), b"", SOON);
    assert_eq!(done.code, Some(2), "{}", done.all());
    assert!(done.err().contains("bank.yaml") && done.err().contains("command"), "{}", done.err());
    assert!(!done.all().contains("the ledger is open"), "{}", done.all());
    let done = Program::run(&mut place.handfast(&["up", "--once", "nowhere"]), b"", SOON);
    assert!(done.code == Some(2) && done.err().contains("nowhere"), "{}", done.all());

    let (one, two) = (Place::new(), Place::new());
    let mut first = Program::start(&mut one.handfast(&["up", "bank"]));
    first.wait_for("the proof", SOON, |up| up.stderr().contains("up until Ctrl-C"));
    let second = Program::run(&mut two.handfast(&["up", "--once", "bank"]), b"", SOON);
    assert_eq!(second.code, Some(0), "{}", second.all());
    assert!(second.out().contains("11 ok, 0 failed"), "{}", second.out());
    assert_ne!(address(&first.stderr(), "bank/ledger-0"), address(&second.err(), "bank/ledger-0"));
    first.signal("INT");
    assert_eq!(first.finish(Duration::from_secs(30)).code, Some(0));
}

#[test]
fn no_process_is_left_behind_whenever_it_is_ended() {
    let _turn = turn();
    let place = Place::new();
    // A process that leaves another one behind, again and again; and one that is not ready for long.
    let pod = |name: &str, command: &str, more: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: bank}}\nspec:\n  containers:\n  - name: {name}\n    image: none\n    command: [sh, -c, {command:?}]\n{more}"
        )
    };
    let mark = place.path("mark").to_string_lossy().into_owned();
    let leaves = pod("leaves", &format!("sleep 3177 & echo $! >> {mark}; echo left; exit 1"), "");
    let slow = pod("slow", "sleep 3178", "    readinessProbe: {tcpSocket: {port: 9}}\n");
    place.edit(|text| format!("{text}{leaves}{slow}"));
    // By its file alone, from within its folder.
    let mut command = place.handfast(&["up", "bank.yaml"]);
    command.current_dir(place.path("bank"));
    let mut up = Program::start(&mut command);
    up.wait_for("two starts", SOON, |up| up.stdout().matches("leaves | left").count() >= 2);
    up.wait_for("the ledger", SOON, |up| up.stdout().contains("the ledger is open"));
    assert!(!up.stderr().contains("up until Ctrl-C"), "it is still waiting for the slow one");
    let ledger = address(&up.stderr(), "bank/ledger-0");
    up.signal("INT");
    let done = up.finish(Duration::from_secs(30));
    assert_eq!(done.code, Some(0), "{}", done.all());
    let left =
        TcpStream::connect_timeout(&SocketAddr::new(ledger.parse().unwrap(), 8080), Duration::from_secs(2));
    assert!(left.is_err(), "the ledger's process is still there");
    let children = std::fs::read_to_string(mark).unwrap();
    assert!(children.lines().count() >= 2, "{children}");
    for child in children.lines() {
        let command = std::fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        assert!(!command.contains("3177"), "{child} is still there");
    }
}
