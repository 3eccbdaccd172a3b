//! Invariant 9: how private keys are written. That none is ever shown is the canary test's.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use testkit::handfast::run;

fn ok(dir: &Path, arguments: &[&str]) -> String {
    let finished = run(testkit::binary!(), dir, arguments);
    assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.all());
    finished.out()
}

/// Every file below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn holds_a_key(path: &Path) -> bool {
    let content = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&content).contains("PRIVATE KEY-----")
}

#[test]
fn invariant_9_private_keys_are_written_with_mode_0600_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let binary = testkit::binary!().display();
    let script = format!(
        "umask 000; {binary} ca init && {binary} cert issue web.test && {binary} cert issue me --client"
    );
    let status =
        std::process::Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let keys: Vec<PathBuf> = files(folder.path()).into_iter().filter(|path| holds_a_key(path)).collect();
    assert!(keys.len() >= 4, "root, intermediate and two leaves: {keys:?}");
    for key in keys {
        let mode = std::fs::metadata(&key).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", key.display());
    }
    // Nothing temporary is left behind.
    let temporary = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().contains("tmp");
    let left: Vec<_> = files(folder.path()).into_iter().filter(temporary).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn invariant_9_a_key_is_never_written_through_a_link_or_over_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    ok(dir, &["ca", "init"]);
    let (out, elsewhere) = (dir.join("out"), dir.join("elsewhere"));
    std::fs::create_dir(&out).unwrap();
    std::fs::write(&elsewhere, "untouched").unwrap();
    symlink(&elsewhere, out.join("me.key")).unwrap();
    let finished = run(testkit::binary!(), dir, &["cert", "issue", "me", "--client", "--out", "out"]);
    assert_ne!(finished.code, Some(0), "{}", finished.all());
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "untouched");
    std::fs::remove_file(out.join("me.key")).unwrap();
    std::fs::write(out.join("me.key"), "somebody's").unwrap();
    let finished = run(testkit::binary!(), dir, &["cert", "issue", "me", "--client", "--out", "out"]);
    assert_ne!(finished.code, Some(0), "{}", finished.all());
    assert_eq!(std::fs::read_to_string(out.join("me.key")).unwrap(), "somebody's");
}
