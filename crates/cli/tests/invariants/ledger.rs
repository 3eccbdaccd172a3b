//! Invariant 11: what was acknowledged is recorded, and no serial is ever issued twice, whoever dies when.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::handfast::run;
use testkit::program::Program;

/// The serial of a certificate file, as openssl sees it.
fn serial(path: &Path) -> Option<String> {
    let finished = Program::run(
        Command::new("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(path),
        b"",
        Duration::from_secs(10),
    );
    finished.out().trim().strip_prefix("serial=").map(|text| text.to_ascii_lowercase())
}

#[test]
fn invariant_11_what_was_acknowledged_survives_kill_9_and_no_serial_is_issued_twice() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert_eq!(run(testkit::binary!(), dir, &["ca", "init"]).code, Some(0));
    let (mut acknowledged, mut killed) = (Vec::new(), 0);
    for n in 0..40_u64 {
        let name = format!("client-{n}");
        let program = Program::start(
            Command::new(testkit::binary!()).args(["cert", "issue", &name, "--client"]).current_dir(dir),
        );
        if n % 4 == 3 {
            let finished = program.finish(Duration::from_secs(20));
            assert_eq!(finished.code, Some(0), "after {killed} kills: {}", finished.all());
            acknowledged.push(name);
            continue;
        }
        // Killed at another point of its life each time.
        std::thread::sleep(Duration::from_millis(n % 13 * 2));
        program.signal("KILL");
        match program.finish(Duration::from_secs(5)).code {
            // It was faster than the signal.
            Some(0) => acknowledged.push(name),
            _ => killed += 1,
        }
    }
    assert!(killed >= 5 && acknowledged.len() >= 10, "killed {killed}, acknowledged {}", acknowledged.len());
    let listed = run(testkit::binary!(), dir, &["cert", "list", "-o", "json"]);
    assert_eq!(listed.code, Some(0), "{}", listed.all());
    let document: serde_json::Value = serde_json::from_str(&listed.out()).unwrap();
    let text = document.to_string().to_ascii_lowercase().replace(':', "");
    let mut serials = HashSet::new();
    for name in &acknowledged {
        let path = dir.join(".handfast/certs").join(format!("{name}.crt"));
        let serial = serial(&path).unwrap_or_else(|| panic!("{name} was acknowledged and is not there"));
        assert!(serials.insert(serial.clone()), "serial {serial} stands twice");
        assert!(
            text.contains(serial.trim_start_matches('0')),
            "{serial} of {name} is not in the ledger: {text}"
        );
    }
    // Also among what was written without an acknowledgement, no serial stands twice.
    for entry in std::fs::read_dir(dir.join(".handfast/certs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|e| e == "crt") && !acknowledged.contains(&name) {
            let serial = serial(&path).unwrap_or_else(|| panic!("{} is half written", path.display()));
            assert!(serials.insert(serial.clone()), "serial {serial} stands twice");
        }
    }
}

#[test]
fn invariant_11_two_processes_never_issue_the_same_serial() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert_eq!(run(testkit::binary!(), dir, &["ca", "init"]).code, Some(0));
    let programs: Vec<Program> = (0..8)
        .map(|n| {
            let name = format!("client-{n}");
            Program::start(
                Command::new(testkit::binary!()).args(["cert", "issue", &name, "--client"]).current_dir(dir),
            )
        })
        .collect();
    let finished: Vec<_> =
        programs.into_iter().map(|program| program.finish(Duration::from_secs(30))).collect();
    let mut serials = HashSet::new();
    let mut done = 0;
    for (n, finished) in finished.iter().enumerate() {
        // A process may wait for the lock or be told that it is taken; it never issues beside another.
        match finished.code {
            Some(0) => {
                let serial = serial(&dir.join(format!(".handfast/certs/client-{n}.crt"))).unwrap();
                assert!(serials.insert(serial.clone()), "serial {serial} stands twice");
                done += 1;
            }
            code => assert!(finished.err().contains("error[HF"), "{code:?}: {}", finished.all()),
        }
    }
    assert!(done >= 1, "{finished:?}");
}
