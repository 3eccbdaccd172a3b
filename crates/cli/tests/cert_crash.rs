//! Invariant 11: an acknowledged record survives kill -9 and a full disk; no serial is ever issued twice.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as expected")]

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handfast"));
    command.current_dir(dir).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

fn serials(dir: &Path) -> Vec<String> {
    let output = run(dir, &["cert", "list", "-o", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = document["certificates"].as_array().unwrap();
    rows.iter().map(|row| row["serial"].as_str().unwrap().to_owned()).collect()
}

/// The serial numbers of all certificates that lie in the folder: those that were handed out.
fn handed_out(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir.join(".handfast/certs")).unwrap().map(|entry| entry.unwrap().path());
    let certificates = files.filter(|path| path.extension().is_some_and(|ending| ending == "crt"));
    certificates
        .map(|path| {
            let output = Command::new("openssl")
                .args(["x509", "-noout", "-serial", "-in"])
                .arg(&path)
                .output()
                .unwrap();
            assert!(output.status.success(), "{} is no whole certificate", path.display());
            let text = String::from_utf8(output.stdout).unwrap();
            text.trim().trim_start_matches("serial=").trim_start_matches('0').to_owned()
        })
        .collect()
}

#[test]
fn invariant_11_kill_9_at_any_moment_loses_no_record_and_repeats_no_serial() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(run(dir, &["ca", "init"]).status.success());
    let mut killed = 0;
    for turn in 0..60u64 {
        let name = format!("n{turn}.test");
        let mut child = command(dir, &["cert", "issue", &name]).spawn().unwrap();
        // From before the first write to after the last one.
        std::thread::sleep(Duration::from_millis(turn));
        let _ = child.kill();
        killed += u32::from(!child.wait().unwrap().success());
    }
    assert!(killed > 5, "only {killed} were killed in time: the test proves nothing");
    assert!(run(dir, &["cert", "issue", "last.test"]).status.success(), "no lock and no damage stays behind");
    let ledger = serials(dir);
    let known: HashSet<&String> = ledger.iter().collect();
    assert_eq!(known.len(), ledger.len(), "a serial number stands twice");
    for serial in handed_out(dir) {
        assert!(
            ledger.iter().any(|known| known.trim_start_matches('0') == serial),
            "{serial} is not recorded"
        );
    }
    let status = run(dir, &["ca", "status"]);
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
}

#[test]
fn kill_9_in_any_step_of_a_rotation_leaves_the_step_before_or_after() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(run(dir, &["ca", "init"]).status.success());
    let standing = || {
        let output = run(dir, &["ca", "rotate", "status", "-o", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        document["step"].as_str().map_or("none".to_owned(), str::to_owned)
    };
    let roots = || {
        std::fs::read_to_string(dir.join(".handfast/ca.crt")).unwrap().matches("BEGIN CERTIFICATE").count()
    };
    let mut killed = 0;
    for (before, arguments, after, trusted) in [
        ("none", &["ca", "rotate", "start"][..], "distributing", 2),
        ("distributing", &["ca", "rotate", "confirm", "--all-have-it"], "confirmed", 2),
        ("confirmed", &["ca", "rotate", "switch"], "switched", 2),
        ("switched", &["ca", "rotate", "retire"], "none", 1),
    ] {
        // Killed later and later, until the step is done, however slow the machine is.
        let mut delay = 0u64;
        while standing() == before {
            let mut child = command(dir, arguments).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            let _ = child.kill();
            killed += u32::from(!child.wait().unwrap().success());
            delay += 3 + delay / 4;
            assert!(delay < 60_000, "{arguments:?} never came to its end");
        }
        assert_eq!((standing().as_str(), roots()), (after, trusted), "{arguments:?}");
        assert!(run(dir, &["cert", "issue", "web.test", "--force"]).status.success(), "{after}");
        assert!(run(dir, &["cert", "revoke", "web.test"]).status.success(), "{after}");
    }
    assert!(killed > 3, "only {killed} were killed in time: the test proves nothing");
}

#[test]
fn a_revocation_killed_at_any_moment_is_published_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(run(dir, &["ca", "init"]).status.success());
    for turn in 0..12u64 {
        let name = format!("n{turn}.test");
        assert!(run(dir, &["cert", "issue", &name]).status.success());
        let mut child = command(dir, &["cert", "revoke", &name]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(turn * 3));
        let _ = child.kill();
        let _ = child.wait();
        // Done now, or told that it is done already: either way everybody can see it.
        let output = run(dir, &["cert", "revoke", &name]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || text.contains("HF1021"), "{text}");
        let verified = run(dir, &["cert", "verify", &format!(".handfast/certs/{name}.crt")]);
        assert_eq!(verified.status.code(), Some(3), "{name} is still good");
        assert_eq!(run(dir, &["ca", "status"]).status.code(), Some(0));
    }
}

#[test]
fn two_processes_at_once_issue_different_serials() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(run(dir, &["ca", "init"]).status.success());
    let children: Vec<_> =
        (0..8).map(|n| command(dir, &["cert", "issue", &format!("n{n}.test")]).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let all: HashSet<String> = serials(dir).into_iter().collect();
    assert_eq!(all.len(), 8);
}

#[test]
fn a_held_lock_is_named_with_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(run(dir, &["ca", "init"]).status.success());
    let lock = dir.join(".handfast/lock");
    let file = std::fs::File::options().read(true).write(true).open(&lock).unwrap();
    file.lock().unwrap();
    std::fs::write(&lock, "4242\n").unwrap();
    let output = run(dir, &["cert", "issue", "web.test"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("HF1003") && text.contains("process 4242"), "{text}");
    assert!(run(dir, &["cert", "list"]).status.success(), "looking needs no lock");
}

#[test]
fn invariant_11_on_a_full_disk_nothing_is_issued_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(dir.path()).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: a full disk needs the right to mount a tmpfs (run as root)");
        return;
    }
    let _unmount = Unmount(dir.path());
    let dir = dir.path();
    assert!(run(dir, &["ca", "init"]).status.success());
    assert!(run(dir, &["cert", "issue", "before.test"]).status.success());
    let before = serials(dir);
    // Fill it to the last byte.
    let filler = std::fs::write(dir.join("filler"), vec![0; 1 << 20]);
    assert!(filler.is_err(), "the disk is not full");
    let mut failed = 0;
    for turn in 0..5 {
        let output = run(dir, &["cert", "issue", &format!("full{turn}.test"), "--out", "."]);
        failed += u32::from(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("HF1006"), "a full disk is no reason to restore a backup: {text}");
        assert!(!dir.join(format!("full{turn}.test.crt")).exists() || output.status.success());
    }
    assert_eq!(failed, 5);
    std::fs::remove_file(dir.join("filler")).unwrap();
    assert!(run(dir, &["cert", "issue", "after.test"]).status.success());
    let after = serials(dir);
    assert!(before.iter().all(|serial| after.contains(serial)), "a record was lost");
    assert_eq!(after.iter().collect::<HashSet<_>>().len(), after.len());
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}
