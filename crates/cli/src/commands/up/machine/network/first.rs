//! The first process of a pod with a network of its own, as Kubernetes has one: init of the pod's processes. When it ends
//! the kernel ends all others, and it ends with `handfast up`, however that does: its stdin is closed then.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

/// The name by which the binary knows that it is this process.
pub const NAME: &str = "handfast-pod";
/// What it says when the others may be started.
pub const READY: &str = "ready";
/// How often it is looked for orphans when there was none.
const LOOK: Duration = Duration::from_millis(500);

/// Is that process.
pub fn run() -> ExitCode {
    // Of the numbers of this pod's processes: those of the machine mean nothing to them.
    if let Err(error) = sys::mounts::processes() {
        println!("/proc: {error}");
        return ExitCode::FAILURE;
    }
    println!("{READY}");
    let flushed = std::io::stdout().flush();
    // Whose parent has ended is this process's child.
    let reaping = std::thread::Builder::new().spawn(|| {
        loop {
            if let Err(Errno::CHILD) = wait(WaitOptions::empty()) {
                std::thread::sleep(LOOK);
            }
        }
    });
    if flushed.is_err() || reaping.is_err() {
        return ExitCode::FAILURE;
    }
    // Nothing is ever written to it.
    let _ = std::io::stdin().lock().read(&mut [0]);
    ExitCode::SUCCESS
}
