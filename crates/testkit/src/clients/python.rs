//! Python with a package from its registry, in a folder of its own that later runs find again.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::program::Program;
use crate::{find_program, skipped};

/// A Python that has this package in this version; none, which is said aloud, where it cannot be had.
pub fn python_with(package: &str, version: &str) -> Option<PathBuf> {
    // Tests of one program ask for it at the same time; a failed one does not keep it from the others.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?;
    let folder = cache.join("handfast/tests").join(format!("{package}-{version}"));
    let (python, done) = (folder.join("bin/python"), folder.join(".complete"));
    if done.exists() {
        return Some(python);
    }
    let Some(system) = find_program("python3") else {
        skipped("python3 is not installed");
        return None;
    };
    let run = |command: &mut Command| Program::run(command, b"", Duration::from_secs(180));
    let made = run(Command::new(system).args(["-m", "venv"]).arg(&folder));
    let wanted = format!("{package}=={version}");
    let install = ["install", "-q", "--only-binary", ":all:", &wanted];
    let installed = (made.code == Some(0)).then(|| run(Command::new(folder.join("bin/pip")).args(install)));
    match installed {
        Some(installed) if installed.code == Some(0) => {
            std::fs::write(done, "").unwrap();
            Some(python)
        }
        other => {
            skipped(&format!(
                "{wanted} cannot be installed: {}",
                other.map_or(made.all(), |done| done.all())
            ));
            None
        }
    }
}
