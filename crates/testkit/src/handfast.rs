//! The real binary as a child: `handfast serve` and every other command.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::free_port;
use crate::program::{Finished, Program};

/// The path of the `handfast` that cargo built for the calling integration test.
#[macro_export]
macro_rules! binary {
    () => {
        std::path::Path::new(env!("CARGO_BIN_EXE_handfast"))
    };
}

/// A running `handfast serve`. Dropping it kills it.
pub struct Handfast {
    /// The process.
    pub program: Program,
    folder: TempDir,
    config: PathBuf,
    admin: SocketAddr,
}

impl Handfast {
    /// Starts `handfast serve` with this handfast.yaml and waits until it is ready. `ADMIN` in the text stands
    /// for the address of the admin port.
    pub fn serve(binary: &Path, yaml: &str) -> Self {
        Self::serve_file(binary, "handfast.yaml", yaml)
    }

    /// As [`Handfast::serve`], from a file of this name (`.conf` is an nginx configuration).
    pub fn serve_file(binary: &Path, name: &str, text: &str) -> Self {
        Self::serve_with(binary, name, text, &[])
    }

    /// As [`Handfast::serve_file`], with these environment variables.
    pub fn serve_with(binary: &Path, name: &str, text: &str, environment: &[(&str, &str)]) -> Self {
        let mut handfast = Self::launch_with(binary, name, text, environment);
        let admin = handfast.admin;
        handfast.program.wait_for("readiness", Duration::from_secs(20), |_| {
            ask(admin, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        handfast
    }

    /// Starts it without waiting.
    pub fn launch(binary: &Path, name: &str, text: &str) -> Self {
        Self::launch_with(binary, name, text, &[])
    }

    fn launch_with(binary: &Path, name: &str, text: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = folder.path().join(name);
        std::fs::write(&config, text.replace("ADMIN", &admin.to_string())).unwrap();
        let mut command = Command::new(binary);
        command.arg("serve").arg(&config).env("HANDFAST_ADMIN", admin.to_string()).current_dir(folder.path());
        command.envs(environment.iter().copied());
        let program = Program::start(clean(&mut command));
        Self { program, folder, config, admin }
    }

    /// The folder that it runs in.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The admin port.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Replaces the configuration file by renaming a new one over it.
    pub fn rewrite(&self, text: &str) {
        let new = self.config.with_extension("new");
        std::fs::write(&new, text.replace("ADMIN", &self.admin.to_string())).unwrap();
        std::fs::rename(new, &self.config).unwrap();
    }

    /// The body of an answer of the admin port.
    pub fn admin_get(&self, path: &str) -> String {
        let answer = ask(self.admin, path).unwrap_or_else(|| panic!("no answer:\n{}", self.program.output()));
        answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned())
    }

    /// The metrics.
    pub fn metrics(&self) -> String {
        self.admin_get("/metrics")
    }

    /// The sum of the series of this name whose labels contain all of these `name="value"` texts.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.metrics()
            .lines()
            .filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))
            .filter(|line| matches!(line.as_bytes().get(name.len()), Some(b'{' | b' ')))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The log lines that are JSON objects, wherever they were written.
    pub fn log(&self) -> Vec<Value> {
        let output = self.program.output();
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
    }
}

/// Runs a command of Handfast to its end, without any of this shell's `HANDFAST_*`.
pub fn run<S: AsRef<OsStr>>(binary: &Path, dir: &Path, arguments: &[S]) -> Finished {
    let mut command = Command::new(binary);
    command.args(arguments).current_dir(dir);
    Program::run(clean(&mut command), b"", Duration::from_secs(60))
}

/// As [`run`], of a command that must succeed; gives what it wrote to stdout.
pub fn good<S: AsRef<OsStr> + Debug>(binary: &Path, dir: &Path, arguments: &[S]) -> String {
    let finished = run(binary, dir, arguments);
    assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.err());
    String::from_utf8(finished.stdout).unwrap()
}

/// As [`run`], of a command that must end with this exit status and say each of these words on stderr.
pub fn refused<S: AsRef<OsStr> + Debug>(
    binary: &Path,
    dir: &Path,
    arguments: &[S],
    exit: i32,
    words: &[&str],
) {
    let finished = run(binary, dir, arguments);
    let text = finished.err();
    assert_eq!(finished.code, Some(exit), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?} lacks {word}: {text}");
    }
}

/// What a person's shell sets must not change a test.
fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let ours = name.to_string_lossy().starts_with("HANDFAST_");
        if ours && command.get_envs().all(|(set, _)| set != name) {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1")
}

/// One plain HTTP/1.1 request; the whole answer, or `None` if there is none.
pub fn ask(addr: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = Vec::new();
    // A cut connection is an answer as far as it came.
    let _ = stream.read_to_end(&mut answer);
    Some(String::from_utf8_lossy(&answer).into_owned()).filter(|answer| !answer.is_empty())
}

/// Waits until this is true; false after `limit`.
pub fn eventually(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
