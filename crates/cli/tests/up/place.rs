//! The bank of the examples in a folder of its own, for an ordinary user.
#![allow(dead_code, reason = "each suite uses a part")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For what happens by itself.
pub const SOON: Duration = Duration::from_secs(60);
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bank");
/// Debian's `nobody`.
const NOBODY: &str = "65534";

/// Whether one line has all of these parts.
pub fn has_line(text: &str, parts: &[&str]) -> bool {
    text.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

/// The rows that prove the bank, whichever way its pods are carried.
pub fn is_proven(out: &str) {
    for row in [
        ["ok", "teller-0", "-> ledger:8080", "accepted: mutual TLS, allowed by policy bank/ledger-callers"],
        [
            "ok",
            "gossip-0",
            "-> ledger:8080",
            "refused, 1 rule of bank/ledger-callers considered, none matched",
        ],
        ["ok", "no certificate", "-> ledger-0", "refused: alert CertificateRequired"],
        ["ok", "another authority's", "-> ledger-0", "refused: alert UnknownCA"],
        ["ok", "plain text", "-> ledger-0", "refused: closed without an answer"],
    ] {
        assert!(has_line(out, &row), "{row:?}\n{out}");
    }
}

/// One test at a time: a machine that has ended gives its addresses to the next one, and a test looks whether they are
/// free.
static TURN: Mutex<()> = Mutex::new(());

/// This test's turn.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that everybody may use, with the example in it.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("handfast-bank-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::create_dir(dir.path().join("bank")).unwrap();
        std::fs::set_permissions(dir.path().join("bank"), std::fs::Permissions::from_mode(0o777)).unwrap();
        for name in ["bank.yaml", "bank.py"] {
            std::fs::copy(format!("{EXAMPLE}/{name}"), dir.path().join("bank").join(name)).unwrap();
        }
        // The test's own target folder may be closed to others.
        std::fs::copy(testkit::binary!(), dir.path().join("handfast")).unwrap();
        Self { dir }
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `handfast` as a user without any right, where this test may become one.
    pub fn handfast(&self, words: &[&str]) -> Command {
        let command = if rustix::process::getuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--no-new-privs", "--"]);
            command.arg(self.path("handfast"));
            command
        } else {
            Command::new(self.path("handfast"))
        };
        self.command(command, words)
    }

    /// `handfast` by a command that ends with its path, here.
    pub fn command(&self, mut command: Command, words: &[&str]) -> Command {
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("NO_COLOR", "1");
        command.env("HOME", self.dir.path()).current_dir(self.dir.path()).args(words);
        command
    }

    /// Changes the example.
    pub fn edit(&self, change: impl FnOnce(String) -> String) {
        let path = self.path("bank/bank.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = change(text.clone());
        assert_ne!(changed, text, "the edit changes nothing");
        std::fs::write(path, changed).unwrap();
    }
}

/// The address of a pod in the table that is printed at the start.
pub fn address(table: &str, pod: &str) -> String {
    let line =
        table.lines().find(|line| line.starts_with(pod)).unwrap_or_else(|| panic!("no {pod} in:\n{table}"));
    line.split_whitespace().nth(1).unwrap().to_owned()
}
