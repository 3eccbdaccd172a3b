//! A proxy is started again at once when it is killed. Kubelet would do it too, but only after its next look at the
//! container, some seconds later. So the first process of the container carries nothing: it opens the ports, gives them to
//! a second process that does the work, and looks after it. As the ports stay open meanwhile, who calls while there is no
//! proxy waits a moment and is served, where he would have been refused.
//!
//! What ends with an exit code was decided by the proxy itself, and ends the container as well. So does a proxy that is
//! killed again and again: kubelet, its counters and its back-off are what people look at.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use model::codes::mesh::PROXY_KILLED;
use model::codes::usage::INTERNAL;
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::process::{Child, Command};

use super::joining::asked_to_end;
use crate::failure::{Failure, Outcome};

/// Who lived so long was not killed again and again.
const SETTLED: Duration = Duration::from_secs(10);
/// How often in a row it is started anew. The pauses before: none, then from [`PAUSE`] on, doubled each time.
const TRIES: u32 = 5;
/// See [`TRIES`].
const PAUSE: Duration = Duration::from_millis(100);
/// What a started process is given is no longer than this: who started it, and with it the listening sockets.
const GIVEN: usize = 32;

/// Starts this program again with the same arguments and `--supervised`, gives it the sockets, and does so again
/// whenever it is killed. Ends with it when it ends by itself, or was asked to by SIGTERM or SIGINT.
pub fn supervise(listening: Vec<TcpListener>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(internal)?.block_on(keep(listening))
}

/// The sockets that the starting process gives to this one, in their order there.
///
/// # Errors
///
/// When this process was not started by one.
pub fn given() -> Result<Vec<TcpListener>, Failure> {
    // Alone it must not live on: the next one could not have its ports.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| internal(error.into()))?;
    let wrong =
        |why: &str| Failure::usage(format!("--supervised is for a process that another one starts: {why}"));
    let mut bytes = [0; GIVEN];
    let (got, descriptors) =
        sys::receive_descriptors(io::stdin(), &mut bytes).map_err(|error| wrong(&error.to_string()))?;
    let parent = getppid().map(|parent| parent.as_raw_nonzero().to_string()).unwrap_or_default();
    // It may have ended before its death was asked to be told.
    if got == 0 || bytes.get(..got) != Some(parent.as_bytes()) {
        return Err(wrong("that one has ended"));
    }
    Ok(descriptors.into_iter().map(TcpListener::from).collect())
}

async fn keep(listening: Vec<TcpListener>) -> Outcome {
    let mut ended = std::pin::pin!(asked_to_end()?);
    let mut in_a_row = 0;
    for restarts in 0.. {
        let began = Instant::now();
        let mut child = start(&listening, restarts).map_err(internal)?;
        let status = tokio::select! {
            status = child.wait() => status.map_err(internal)?,
            () = &mut ended => return end(child, listening).await,
        };
        if let Some(code) = status.code() {
            return Ok(exit_code(code));
        }
        in_a_row = if began.elapsed() < SETTLED { in_a_row + 1 } else { 1 };
        let why = format!("it was ended by {}", named(status));
        if in_a_row > TRIES {
            let why = format!("{why}, for the {in_a_row}th time in a row");
            return Err(Failure::new(&PROXY_KILLED, why));
        }
        tracing::error!(code = PROXY_KILLED.id, restarts = restarts + 1, "{}: {why}", PROXY_KILLED.title);
        if in_a_row > 1 {
            tokio::select! {
                () = tokio::time::sleep(PAUSE * (1 << (in_a_row - 2))) => {}
                () = &mut ended => break,
            }
        }
    }
    Ok(crate::failure::EXIT_OK)
}

fn start(listening: &[TcpListener], restarts: u32) -> io::Result<Child> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut words = std::env::args_os();
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg0(words.next().unwrap_or_else(|| OsString::from("handfast")));
    command.args(words).arg(format!("--supervised={restarts}")).stdin(OwnedFd::from(theirs));
    let child = Command::from(command).spawn()?;
    let sockets: Vec<_> = listening.iter().map(|one| one.as_fd()).collect();
    match sys::send_descriptors(&ours, std::process::id().to_string().as_bytes(), &sockets) {
        Ok(_) => Ok(child),
        // Already killed: it is seen by waiting for it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(child),
        Err(error) => Err(error),
    }
}

/// Who calls from now on is refused as soon as the child listens no more, and does not wait for an answer in vain.
async fn end(mut child: Child, listening: Vec<TcpListener>) -> Outcome {
    drop(listening);
    let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(process) = process {
        // It may have ended by itself this very moment.
        let _ = kill_process(process, Signal::TERM);
    }
    let status = child.wait().await.map_err(internal)?;
    match status.code() {
        Some(code) => Ok(exit_code(code)),
        None => Err(Failure::new(&PROXY_KILLED, format!("at its end it was ended by {}", named(status)))),
    }
}

fn exit_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(crate::failure::EXIT_FAILED)
}

fn named(status: ExitStatus) -> String {
    status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"))
}

fn internal(error: io::Error) -> Failure {
    Failure::new(&INTERNAL, error)
}
