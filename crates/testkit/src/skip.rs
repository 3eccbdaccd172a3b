//! Tests that cannot run here: said aloud and counted, never silently green.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Records that the running test is skipped, and why. The caller returns right after it.
///
/// The line goes to the file named by `HANDFAST_SKIPS`, from which `make test` counts it, and to stderr. With
/// `HANDFAST_NO_SKIPS=1` it fails the test instead.
pub fn skipped(reason: &str) {
    // libtest names the thread after the test.
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(
        std::env::var_os("HANDFAST_NO_SKIPS").is_none_or(|v| v.is_empty() || v == "0"),
        "{name} cannot run here: {reason}"
    );
    eprintln!("SKIPPED: {name}: {reason}");
    if let Some(path) = std::env::var_os("HANDFAST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        // One write, so that lines of parallel tests do not mix.
        file.write_all(format!("{name}: {reason}\n").as_bytes()).unwrap();
    }
}

/// The path of a program, looked for on `PATH` and where Debian keeps servers; `None` if it is not installed.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/go/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| Path::is_file(candidate))
}
