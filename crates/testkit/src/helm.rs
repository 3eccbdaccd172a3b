//! The real Helm, built once from the Go module that `tests/helm/go/go.mod` pins.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::skip::skipped;

/// The program. `None`, after [`skipped`], where it cannot be built: without Go, or without the module proxy.
pub fn helm() -> Option<&'static Path> {
    static HELM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = HELM.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/helm/build");
        let done = Command::new(script).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if done.status.success() {
            Ok(PathBuf::from(text(&done.stdout)))
        } else {
            let why = text(&done.stderr);
            Err(format!("helm cannot be built: {}", why.lines().last().unwrap_or_default()))
        }
    });
    match built {
        Ok(path) => Some(path),
        Err(why) => {
            skipped(why);
            None
        }
    }
}
