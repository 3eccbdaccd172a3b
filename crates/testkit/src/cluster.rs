//! A real Kubernetes (`tests/cluster`), one for all tests of a process. Test binaries take turns: a lock is held for
//! as long as a cluster is up.
//!
//! The cluster is kept by a small shell that ends it when its stdin ends. That is when this process ends, in whatever
//! way: nothing has to be called, and nothing is left behind by a test that is killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Finished, Program};
use crate::skip::{find_program, skipped};

/// Image with the binary under test.
pub const IMAGE: &str = "handfast.test/handfast:1";
/// Image with a shell and the usual programs.
pub const BUSYBOX: &str = "handfast.test/busybox:1";

/// A cluster that is up.
pub struct Cluster {
    dir: PathBuf,
    binary: PathBuf,
    image: OnceLock<()>,
    /// Keeps the cluster: see above.
    _keeper: Mutex<Child>,
}

impl Cluster {
    /// The cluster of this process, brought up by the first test that asks. `None`, after [`skipped`], where this
    /// machine cannot have one.
    pub fn shared(binary: &Path) -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::up(binary)) {
            Ok(cluster) => Some(cluster),
            Err(why) => {
                skipped(why);
                None
            }
        }
    }

    fn up(binary: &Path) -> Result<Self, String> {
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
        if !root {
            return Err("a cluster needs root".to_owned());
        }
        for program in ["containerd", "runc", "flock", "nsenter", "python3"] {
            find_program(program)
                .ok_or_else(|| format!("{program} is not installed (tests/cluster/tools)"))?;
        }
        let dir = std::env::var_os("HANDFAST_CLUSTER_DIR")
            .map_or_else(|| PathBuf::from("/tmp/handfast-cluster-test"), PathBuf::from);
        std::fs::create_dir_all(&dir).unwrap();
        let log = std::fs::File::create(dir.with_extension("log")).unwrap();
        let script = r#"
            trap '' INT TERM HUP
            # Who waited for the lock may be gone by now.
            echo locked >&3; read -r go || exit 0
            # A machine that is busy with other things may be too slow the first time.
            if "$0" --dir "$1" up || "$0" --dir "$1" up; then echo up >&3; exec 3>&-; cat > /dev/null; else echo failed >&3; fi
            "$0" --dir "$1" down
        "#;
        let mut keeper = Command::new("flock")
            // Its stdout is the only pipe to us; the cluster's own output goes to the log.
            // Who holds it may have the cluster of this folder up.
            .arg(dir.with_extension("lock"))
            .args(["sh", "-c", &format!("exec 3>&1 >&2; {script}")])
            .arg(program())
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(keeper.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert_eq!(said.next().as_deref(), Some("locked"));
        keeper.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let said = said.next().unwrap_or_default();
        let log = dir.with_extension("log");
        assert_eq!(
            said.trim(),
            "up",
            "the cluster does not come up:\n{}",
            std::fs::read_to_string(&log).unwrap_or_default()
        );
        Ok(Self { dir, binary: binary.to_owned(), image: OnceLock::new(), _keeper: Mutex::new(keeper) })
    }

    /// Its folder: what `HANDFAST_CLUSTER_DIR` names for programs that are not ours.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The network namespace that all of it is in: a file that can be entered.
    pub fn network(&self) -> PathBuf {
        let done = Program::run(&mut self.command(&["status"]), b"", Duration::from_secs(60));
        let path = done.out().rsplit_once(", ").map(|(_, path)| PathBuf::from(path.trim()));
        path.filter(|path| path.exists()).unwrap_or_else(|| panic!("no network: {}", done.all()))
    }

    /// A command of `tests/cluster/cluster`.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--dir").arg(&self.dir).args(words);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HANDFAST_") {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1");
        command
    }

    /// Does something to the cluster, as in `restart-apiserver`; panics when it fails.
    pub fn control(&self, words: &[&str]) {
        let done = Program::run(&mut self.command(words), b"", Duration::from_secs(180));
        assert_eq!(done.code, Some(0), "cluster {words:?}:\n{}", done.all());
    }

    /// kubectl as the administrator.
    pub fn try_kubectl(&self, words: &[&str]) -> Finished {
        let mut all = vec!["kubectl"];
        all.extend(words);
        Program::run(&mut self.command(&all), b"", Duration::from_secs(120))
    }

    /// kubectl as the administrator; panics when it fails. Gives its stdout.
    pub fn kubectl(&self, words: &[&str]) -> String {
        let done = self.try_kubectl(words);
        assert_eq!(done.code, Some(0), "kubectl {words:?}:\n{}", done.all());
        done.out()
    }

    /// `kubectl apply -f -`.
    pub fn apply(&self, yaml: &str) {
        let mut command = self.command(&["kubectl", "apply", "-f", "-"]);
        let done = Program::run(&mut command, yaml.as_bytes(), Duration::from_secs(60));
        assert_eq!(done.code, Some(0), "kubectl apply:\n{}\n{yaml}", done.all());
    }

    /// `kubectl create -f -`: many objects, none of which is there.
    pub fn create(&self, yaml: &str) {
        let mut command = self.command(&["kubectl", "create", "-f", "-"]);
        let done = Program::run(&mut command, yaml.as_bytes(), Duration::from_secs(240));
        assert_eq!(done.code, Some(0), "kubectl create:\n{}", done.all());
    }

    /// An object, `Null` where there is none; as in `["-n", "shop", "secret", "web-tls"]`.
    pub fn get(&self, words: &[&str]) -> Value {
        let mut all = vec!["get", "-o", "json"];
        all.extend(words);
        let done = self.try_kubectl(&all);
        if done.code != Some(0) {
            return Value::Null;
        }
        serde_json::from_slice(&done.stdout).unwrap_or(Value::Null)
    }

    /// Waits until an object is as `done` wants it, and gives it; panics with its last form after `limit`.
    pub fn wait(&self, words: &[&str], limit: Duration, done: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            let found = self.get(words);
            if done(&found) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{words:?} did not become what was waited for:\n{found:#}\n{}",
                self.controller_log()
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// What the controller's pods logged last, for the message of a test that fails.
    fn controller_log(&self) -> String {
        let words = [
            "-n",
            "handfast-system",
            "logs",
            "-l",
            "app.kubernetes.io/name=handfast-controller",
            "--tail=40",
            "--prefix",
        ];
        self.try_kubectl(&words).all()
    }

    /// A program of this machine in the cluster's network, with `KUBECONFIG` set, run to its end.
    pub fn exec(&self, words: &[&str], limit: Duration) -> Finished {
        let mut all = vec!["exec", "--"];
        all.extend(words);
        Program::run(&mut self.command(&all), b"", limit)
    }

    /// The binary under test in the cluster's network, run to its end.
    pub fn handfast(&self, words: &[&str]) -> Finished {
        let binary = self.binary.to_string_lossy().into_owned();
        let mut all = vec![binary.as_str()];
        all.extend(words);
        self.exec(&all, Duration::from_secs(300))
    }

    /// The binary under test in the cluster's network, as a child that goes on. Its process id is the binary's own.
    pub fn start_handfast(&self, words: &[&str], environment: &[(&str, &str)]) -> Program {
        let binary = self.binary.to_string_lossy().into_owned();
        let settings: Vec<String> =
            environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // Only for the binary: the programs on the way to it take none of it.
        let mut all = vec!["exec", "--", "env"];
        all.extend(settings.iter().map(String::as_str));
        all.push(&binary);
        all.extend(words);
        Program::start(&mut self.command(&all))
    }

    /// Loads the image [`IMAGE`] with the binary under test, once.
    pub fn load_image(&self) {
        self.image.get_or_init(|| {
            let binary = format!("{}:/handfast", self.binary.display());
            self.control(&[
                "image",
                IMAGE,
                "--binary",
                &binary,
                "--entrypoint",
                "/handfast",
                "--user",
                "65532",
            ]);
        });
    }
}

fn program() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cluster/cluster")).canonicalize().unwrap()
}
