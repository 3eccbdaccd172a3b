//! The processes of a pod: init containers one after another, then all others, started again as the pod's restart policy
//! says, ended with the pod. Each is the first of a process group of its own, which is ended as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use manifests::folder::{LocalContainer, LocalPod, Restart, Role};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::network::Sandbox;
use super::{output, readiness};

/// How long a process may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// The pause before a process is started again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Who ran so long begins again with the first pause.
const SETTLED: Duration = Duration::from_secs(30);
/// What of our own environment a process gets; all else is what its manifest says.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "TMPDIR", "USER", "TERM"];

/// A pod that is to run.
pub struct Running {
    pub pod: LocalPod,
    /// The name of this machine, as a node.
    pub node: String,
    /// What its processes are told of their proxy and of Services.
    pub given: BTreeMap<String, String>,
    /// Where processes run that name no folder.
    pub folder: PathBuf,
    /// What the pod has for itself; its processes are started in there.
    pub sandbox: Option<Arc<Sandbox>>,
}

impl Running {
    /// Runs it until `stop`; says whether it is ready.
    pub async fn run(self, mut stop: watch::Receiver<bool>, ready: watch::Sender<bool>) {
        let (init, rest): (Vec<_>, Vec<_>) =
            self.pod.containers.iter().cloned().partition(|container| container.role == Role::Init);
        let this = Arc::new(self);
        for container in init {
            if !this.until_done(&container, &mut stop).await {
                return;
            }
        }
        let states = Arc::new(watch::Sender::new(vec![false; rest.len()]));
        let (mut tasks, mut sidecars) = (JoinSet::new(), JoinSet::new());
        // Sidecars end with the application, not with the pod's stop alone: a Job would never finish.
        let (end_sidecars, ended) = watch::channel(false);
        for (index, container) in rest.into_iter().enumerate() {
            let is_sidecar = container.role == Role::Sidecar;
            let mut seen = states.subscribe();
            let (this, states) = (Arc::clone(&this), Arc::clone(&states));
            let stop_one = if is_sidecar { ended.clone() } else { stop.clone() };
            let into = if is_sidecar { &mut sidecars } else { &mut tasks };
            into.spawn(async move {
                let tell = |now: bool| {
                    states.send_if_modified(|all| std::mem::replace(&mut all[index], now) != now);
                };
                this.keep(&container, stop_one, tell).await;
            });
            if is_sidecar {
                // The application starts when the sidecar is ready, or the pod is stopped.
                tokio::select! {
                    _ = seen.wait_for(|all| all[index]) => {}
                    () = stopped(&mut stop) => break,
                }
            }
        }
        let mut seen = states.subscribe();
        loop {
            let all = seen.borrow_and_update().iter().all(|ready| *ready);
            ready.send_if_modified(|ready| std::mem::replace(ready, all) != all);
            tokio::select! {
                _ = seen.changed() => {}
                ended = tasks.join_next() => if ended.is_none() { break },
            }
        }
        ready.send_replace(false);
        end_sidecars.send_replace(true);
        while sidecars.join_next().await.is_some() {}
    }

    /// Runs an init container to a good end. False: stopped.
    async fn until_done(&self, container: &LocalContainer, stop: &mut watch::Receiver<bool>) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.once(container, stop, |_| ()).await {
                Ended::Stopped => return false,
                Ended::Itself(Some(status)) if status.success() => return true,
                _ if self.pod.restart == Restart::Never => {
                    eprintln!(
                        "{}: the init container failed, and the pod is never started again",
                        self.name(container)
                    );
                    return false;
                }
                _ => {}
            }
            if !wait(&mut pause, stop).await {
                return false;
            }
        }
    }

    /// Keeps a container as its pod says.
    async fn keep(&self, container: &LocalContainer, mut stop: watch::Receiver<bool>, tell: impl Fn(bool)) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = tokio::time::Instant::now();
            let ended = self.once(container, &mut stop, &tell).await;
            tell(false);
            let good = match ended {
                Ended::Stopped => return,
                Ended::Itself(status) => status.is_some_and(|status| status.success()),
            };
            let again = match self.pod.restart {
                _ if container.role == Role::Sidecar => true,
                Restart::Always => true,
                Restart::OnFailure => !good,
                Restart::Never => false,
            };
            if !again {
                return;
            }
            if began.elapsed() >= SETTLED {
                pause = FIRST_PAUSE;
            }
            if !wait(&mut pause, &mut stop).await {
                return;
            }
        }
    }

    async fn once(
        &self,
        container: &LocalContainer,
        stop: &mut watch::Receiver<bool>,
        tell: impl Fn(bool),
    ) -> Ended {
        let name = self.name(container);
        let variables = container.variables(&self.pod, &self.node, &self.given);
        let command = container.command(&variables);
        let folder =
            container.working_dir.as_deref().map_or(self.folder.clone(), |own| self.folder.join(own));
        let mut child = match spawn(&command, &variables, &folder, self.sandbox.as_deref()) {
            Ok(child) => child,
            Err(error) => {
                eprintln!(
                    "{name}: {} cannot be started: {error}",
                    command.first().map_or("", String::as_str)
                );
                return Ended::Itself(None);
            }
        };
        // Of the group, which outlives its first process where that left others behind.
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut lines = JoinSet::new();
        if let Some(out) = child.stdout.take() {
            lines.spawn(output::print(name.clone(), out));
        }
        if let Some(err) = child.stderr.take() {
            lines.spawn(output::print(name.clone(), err));
        }
        let probe = async {
            match (&container.readiness, self.pod.address) {
                (Some(readiness), Some(address)) => {
                    let of = readiness::Of {
                        address,
                        variables: &variables,
                        folder: &folder,
                        sandbox: self.sandbox.as_deref(),
                    };
                    readiness::keep(readiness, &of, &tell).await;
                }
                _ => {
                    tell(true);
                    std::future::pending().await
                }
            }
        };
        let ended = tokio::select! {
            status = child.wait() => {
                let status = status.ok();
                // Those that it left behind: they would keep its port from the next one. Nobody is no error.
                if let Some(group) = group {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                if !status.is_some_and(|status| status.success()) {
                    let how = status.map_or_else(|| "in an unknown way".to_owned(), |status| status.to_string());
                    eprintln!("{name}: ended: {how}");
                }
                Ended::Itself(status)
            }
            () = probe => Ended::Stopped,
            () = stopped(stop) => {
                end(&mut child, group).await;
                Ended::Stopped
            }
        };
        // What it wrote last is read; a grandchild that keeps the pipe open is not waited for.
        let _ = tokio::time::timeout(Duration::from_millis(200), async {
            while lines.join_next().await.is_some() {}
        })
        .await;
        ended
    }

    fn name(&self, container: &LocalContainer) -> String {
        match self.pod.containers.len() {
            1 => self.pod.name.clone(),
            _ => format!("{}/{}", self.pod.name, container.name),
        }
    }
}

enum Ended {
    /// With its status; without one it could not be started.
    Itself(Option<ExitStatus>),
    /// The pod is stopped.
    Stopped,
}

/// Returns when the pod is stopped, or nobody is there any more who would say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await.map(|_| ());
}

/// Waits before the next start. False: stopped in the meantime.
async fn wait(pause: &mut Duration, stop: &mut watch::Receiver<bool>) -> bool {
    let now = *pause;
    *pause = (now * 2).min(LONGEST_PAUSE);
    tokio::select! {
        () = tokio::time::sleep(now) => true,
        () = stopped(stop) => false,
    }
}

/// What of our own environment a process gets.
pub fn inherited() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)))
}

fn spawn(
    words: &[String],
    variables: &BTreeMap<String, String>,
    folder: &Path,
    sandbox: Option<&Sandbox>,
) -> std::io::Result<Child> {
    let Some((program, rest)) = words.split_first() else {
        return Err(std::io::Error::other("the command is empty"));
    };
    let mut command = Command::new(program);
    command
        .args(rest)
        .current_dir(folder)
        .env_clear()
        .envs(inherited())
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    start(command, sandbox)
}

/// Starts a process where its pod is.
pub fn start(mut command: Command, sandbox: Option<&Sandbox>) -> std::io::Result<Child> {
    match sandbox {
        Some(sandbox) => sandbox.spawn(command),
        None => command.spawn(),
    }
}

/// Asks the whole group to end, and ends it.
async fn end(child: &mut Child, group: Option<Pid>) {
    let Some(group) = group else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let _ = tokio::time::timeout(GRACE, child.wait()).await;
    // Those of the group who are left; nobody is no error.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}
