//! A reader that goes away (`handfast test --rows | head -1`) is no failure and no panic; a full disk is one.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::process::{Command, Stdio};

/// Runs it with stdout, stderr or both as a pipe that nobody reads.
fn run(arguments: &[&str], out: bool, err: bool) -> std::process::Output {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(testkit::binary!());
    command.args(arguments).current_dir(dir.path()).stdin(Stdio::null());
    command.stdout(if out { closed() } else { Stdio::piped() });
    command.stderr(if err { closed() } else { Stdio::piped() });
    command.output().unwrap()
}

/// Any of the documented exit codes.
const ANY: i32 = -1;

#[test]
fn nobody_who_reads_is_no_panic() {
    let port = testkit::free_port();
    let at = format!("127.0.0.1:{port}");
    for (arguments, code) in [
        (vec!["test", "--rows"], 0),
        (vec!["test", "--rows", "-o", "json"], 0),
        (vec!["explain", "HF3001"], 0),
        (vec!["explain", "certificate has expired"], 0),
        (vec!["explain", &at], 3),
        (vec!["explain", "nothing that is known"], 1),
        (vec!["config", "schema"], 0),
        (vec!["config", "validate", "nowhere.yaml"], 2),
        (vec!["ca", "init"], 0),
        (vec!["ca", "status"], ANY),
        (vec!["cert", "list"], ANY),
        (vec!["trust", "install", "--dry-run"], ANY),
        (vec!["--help"], 0),
        (vec!["nonsense"], 2),
    ] {
        for (out, err) in [(true, false), (false, true), (true, true)] {
            let done = run(&arguments, out, err);
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(!said.contains("panicked"), "{arguments:?}: {said}");
            let ended = done.status.code();
            let good = if code == ANY { matches!(ended, Some(0..=3)) } else { ended == Some(code) };
            assert!(good, "{arguments:?}, {out}, {err}: {ended:?}, not {code}: {said}");
        }
    }
}

#[test]
fn the_proof_of_up_goes_on_when_nobody_reads_it() {
    let free = ["up", "--once", "--port", "0", "--mutual-port", "0", "--admin-port", "0"];
    let done = run(&free, true, true);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
}

#[test]
fn data_that_is_lost_is_a_failure() {
    for arguments in [vec!["test", "--rows"], vec!["explain", "HF3001"], vec!["config", "schema"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let done = Command::new(testkit::binary!()).args(&arguments).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("cannot write stdout: No space left"), "{said}");
    }
}

/// Clippy refuses std's printing macros in the binary (see main.rs); this holds for builds without clippy too.
#[test]
fn the_binary_prints_through_its_own_macros_only() {
    let main = include_str!("../src/main.rs");
    let ours = main.find("#[macro_use]\nmod output;").unwrap();
    assert!(main.find("\nmod ").is_none_or(|first| first > ours), "output comes first");
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for (number, line) in text.lines().enumerate() {
                let plain = ["std::println!", "std::print!", "std::eprintln!", "std::eprint!", "io::_print"];
                assert!(!plain.iter().any(|word| line.contains(word)), "{}:{}", path.display(), number + 1);
            }
        }
    }
}
