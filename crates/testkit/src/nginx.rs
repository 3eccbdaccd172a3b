//! Debian's nginx under a prefix of its own: to shake out the clients, and to compare answers with.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::program::Program;
use crate::skip::find_program;

/// A running nginx. Dropping it ends it.
pub struct Nginx {
    folder: TempDir,
    program: Program,
}

impl Nginx {
    /// Starts nginx with this content of `http {}` and waits until `port` answers; `None` if it is not installed.
    /// Relative paths in the configuration are below the prefix [`Nginx::prefix`].
    pub fn http(content: &str, port: u16) -> Option<Self> {
        Self::run(&format!("http {{\n{SCRATCH}\naccess_log off;\n{content}\n}}\n"), port)
    }

    /// Starts nginx with this main-level configuration.
    pub fn run(content: &str, port: u16) -> Option<Self> {
        let nginx = find_program("nginx")?;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf");
        // One process in the foreground: the child that is killed is all there is.
        let main = "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr info;\nevents { }\n";
        std::fs::write(&file, format!("{main}{content}")).unwrap();
        let mut program = Program::start(
            Command::new(nginx).arg("-p").arg(folder.path()).args(["-e", "stderr", "-c"]).arg(&file),
        );
        wait_for_port(&mut program, port);
        Some(Self { folder, program })
    }

    /// The folder that relative paths start from.
    pub fn prefix(&self) -> &Path {
        self.folder.path()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.program.stderr()
    }
}

const SCRATCH: &str = "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; \
                       uwsgi_temp_path uwsgi; scgi_temp_path scgi;";

/// Waits until something accepts on this port of 127.0.0.1; panics with the program's output if it ends first.
pub(crate) fn wait_for_port(program: &mut Program, port: u16) {
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = program.ended();
        assert!(
            ended.is_none() && started.elapsed() < Duration::from_secs(20),
            "nothing listens on {port} ({ended:?}):\n{}",
            program.output()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
