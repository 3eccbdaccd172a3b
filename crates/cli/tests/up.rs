//! `handfast up` as a newcomer types it: the table, the exit code, the lines to paste, ports in use, a second run.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::free_port;
use testkit::program::{Finished, Program};

/// The proof waits for time limits of ten seconds; a busy machine may need more.
const LONG: Duration = Duration::from_secs(60);

fn up(dir: &Path, ports: [u16; 3], more: &[&str]) -> Command {
    let mut command = Command::new(testkit::binary!());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HANDFAST_")) {
        command.env_remove(name);
    }
    let [one_way, mutual, admin] = ports.map(|port| port.to_string());
    command.env("NO_COLOR", "1").env("HANDFAST_UP_ADMIN_PORT", admin).current_dir(dir);
    command.args(["up", "--port", &one_way, "--mutual-port", &mutual]).args(more);
    command
}

fn ports() -> [u16; 3] {
    [free_port(), free_port(), free_port()]
}

fn shell(dir: &Path, line: &str) -> Finished {
    let line = line.replacen("curl ", "curl -q -sS --noproxy '*' --max-time 10 ", 1);
    Program::run(Command::new("sh").args(["-c", &line]).current_dir(dir), b"", Duration::from_secs(15))
}

#[test]
fn once_proves_both_sites_even_where_a_port_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [taken.local_addr().unwrap().port(), free_port(), free_port()];
    // As a switch from the environment, in the words that people use.
    let done = Program::run(up(dir.path(), ports, &[]).env("HANDFAST_UP_ONCE", "yes"), b"", LONG);
    let (out, err) = (done.out(), done.err());
    assert_eq!(done.code, Some(0), "{out}{err}");
    assert!(err.contains(&format!("port {} is in use; another one is taken", ports[0])), "{err}");
    assert!(!out.contains(&format!("localhost:{}/", ports[0])), "{out}");
    for (row, end) in [
        ("no client certificate", "refused, certificate_required (116)"),
        ("good client certificate", "accepted, HTTP 200"),
        ("revoked client certificate", "refused, certificate_revoked (44)"),
        ("identity not on the list", "refused, HTTP 403"),
        ("TLS 1.0", "refused, protocol_version (70)"),
        ("ClientHello in drips", "closed after 10"),
    ] {
        let found =
            out.lines().any(|line| line.starts_with("ok ") && line.contains(row) && line.contains(end));
        assert!(found, "{row} -> {end}:\n{out}");
    }
    assert_eq!(out.matches(", 0 failed, ").count(), 2, "{out}");
    // Messages are for people; what was refused stands in the file that they name.
    assert!(!err.contains('{') && err.lines().count() < 20, "{err}");
    let log = std::fs::read_to_string(dir.path().join(".handfast/up.log")).unwrap();
    assert!(err.contains(".handfast/up.log") && log.contains("HF3001"), "{err}{log}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn what_it_prints_can_be_pasted_and_a_second_run_makes_nothing_anew() {
    let dir = tempfile::Builder::new().prefix("with space ").tempdir().unwrap();
    let dir = dir.path();
    let mut first = Program::start(&mut up(dir, ports(), &[]));
    first.wait_for("the end of the proof", LONG, |up| up.stderr().contains("serving until Ctrl-C"));
    let out = first.stdout();
    let lines: Vec<&str> = out.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect();
    let answers: Vec<Finished> = lines.iter().map(|line| shell(dir, line)).collect();
    let all: Vec<String> = answers.iter().map(Finished::all).collect();
    let codes: Vec<_> = answers.iter().map(|answer| answer.code).collect();
    assert_eq!(codes[..3], [Some(0); 3], "{lines:#?}\n{all:#?}");
    assert!(all[0].contains("Notice board"), "{all:#?}");
    assert!(all[1].contains("spiffe://cluster.local/ns/local/sa/alice"), "{all:#?}");
    assert!(all[2].contains(r#""notes":1"#), "{all:#?}");
    assert_ne!(codes[3], Some(0), "the last line is refused: {all:#?}");
    assert!(all[3].contains("certificate required"), "{all:#?}");
    // A browser keeps HSTS for every port of localhost.
    let head = shell(dir, &lines[0].replacen("curl ", "curl -I ", 1));
    assert!(
        head.out().starts_with("HTTP/") && !head.out().to_lowercase().contains("strict-transport"),
        "{}",
        head.all()
    );
    let yaml = std::fs::read_to_string(dir.join(".handfast/up.yaml")).unwrap();
    assert!(yaml.contains("lives inside of `handfast up`") && !yaml.contains("hsts"), "{yaml}");
    let checked =
        testkit::handfast::run(testkit::binary!(), dir, &["config", "validate", ".handfast/up.yaml"]);
    assert_eq!(checked.code, Some(0), "{}", checked.all());
    first.signal("TERM");
    let done = first.finish(Duration::from_secs(20));
    assert_eq!(done.code, Some(0), "{}", done.all());

    let mut second = Program::start(&mut up(dir, ports(), &["--once"]));
    second.wait_for("the sites", LONG, |up| up.stderr().contains("proving it"));
    let err = second.stderr();
    assert!(!err.contains("issued ") && !err.contains("made ") && !err.contains("revoked "), "{err}");
}
