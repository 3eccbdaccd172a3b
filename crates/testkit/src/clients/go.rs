//! The Go client of `tests/clients/go`, built by `make clients`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;

use super::{Attempt, Narrow, Seen, Version};
use crate::find_program;
use crate::program::Program;

/// What the Go client prints for one connection; see its own source for the meanings.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Round {
    pub handshake: bool,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub cipher: String,
    #[serde(default)]
    pub alpn: String,
    pub resumed: bool,
    pub asked: bool,
    pub read: String,
    pub read_bytes: usize,
    #[serde(default)]
    pub closed: String,
    #[serde(default)]
    pub error: String,
    pub alert: Option<u8>,
    #[serde(default)]
    pub server_leaf: String,
}

/// The built client.
pub struct GoClient(PathBuf);

impl GoClient {
    /// Builds it, once per process; `None` without a Go compiler.
    pub fn find() -> Option<&'static Self> {
        static BUILT: OnceLock<Option<GoClient>> = OnceLock::new();
        BUILT.get_or_init(build).as_ref()
    }

    /// A command to which flags are added.
    pub fn command(&self) -> Command {
        Command::new(&self.0)
    }

    /// Runs it with these flags; one [`Round`] per connection.
    pub fn run(&self, flags: &[&str]) -> Vec<Round> {
        let finished = Program::run(self.command().args(flags), b"", Duration::from_secs(60));
        assert_eq!(finished.code, Some(0), "{flags:?}: {}", finished.all());
        rounds(&finished.out())
    }
}

/// The rounds in the client's output.
pub fn rounds(output: &str) -> Vec<Round> {
    output.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn build() -> Option<GoClient> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/build-clients");
    find_program("go")?;
    // The script builds into the folder that cargo builds into: TARGET/debug/deps/TEST is the running test.
    // Cargo's own mark, CACHEDIR.TAG, is no sign of it: it is missing where the folder was there before cargo.
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let finished =
        Program::run(Command::new(script).env("CARGO_TARGET_DIR", target), b"", Duration::from_secs(300));
    assert_eq!(finished.code, Some(0), "{script}: {}", finished.all());
    Some(GoClient(target.join("clients/tlsclient")))
}

pub(super) fn connect(attempt: &Attempt<'_>) -> Option<Seen> {
    let client = GoClient::find()?;
    let version = match attempt.version {
        Version::Tls10 => "1.0",
        Version::Tls11 => "1.1",
        Version::Tls12 => "1.2",
        Version::Tls13 => "1.3",
    };
    let (addr, enough) = (attempt.addr.to_string(), attempt.enough.to_string());
    let (alpn, limit) = (attempt.alpn.join(","), format!("{}ms", attempt.limit.as_millis()));
    let mut flags = vec!["-addr", &addr, "-min", version, "-max", version, "-send", attempt.send];
    flags.extend(["-servername", attempt.server_name.unwrap_or("")]);
    flags.extend(["-alpn", &alpn, "-want", &enough, "-timeout", &limit]);
    if attempt.narrow == Narrow::NothingInCommon {
        match attempt.version {
            Version::Tls13 => flags.extend(["-curves", "P-521"]),
            _ => flags.extend(["-ciphers", "TLS_RSA_WITH_AES_128_CBC_SHA"]),
        }
    }
    let paths = attempt.credential.map(|c| [&c.chain, &c.key].map(|path| path.to_str().unwrap()));
    if let Some([chain, key]) = paths {
        flags.extend(["-cert", chain, "-key", key]);
    }
    let round = client.run(&flags).pop().unwrap();
    Some(Seen { alert: round.alert, read: round.read.clone(), unable: None, text: format!("{round:?}") })
}
