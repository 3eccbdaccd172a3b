//! How the plugin hands a pod's network to the node's proxy: one question and one answer on a Unix socket that only root
//! may use, each one line of JSON; the network itself goes with the question, as an open descriptor.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The socket's name.
pub const SOCKET: &str = "cni.sock";
/// How long a question may be under way.
const ASKING: Duration = Duration::from_secs(5);
/// How long the answer may take.
pub const ANSWERING: Duration = Duration::from_secs(30);
/// The longest question, bytes.
const LONGEST: usize = 16 << 10;

/// What the container runtime does with the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// It has its network, and no container yet.
    Add,
    /// Is it still as it was?
    Check,
    /// Its network is taken away.
    Del,
}

/// The question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// What happens.
    pub command: Command,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Its uid, where the runtime says it.
    pub uid: String,
    /// The runtime's name for this network of the pod.
    pub container: String,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The pod is not the node's proxy's.
    NotOurs,
    /// Nothing of it goes around the proxy.
    Carried,
    /// It must not start.
    No(String),
}

/// Asks.
///
/// # Errors
///
/// When nobody is there, or nobody answers.
pub fn ask(socket: &Path, question: &Question, network: Option<BorrowedFd<'_>>) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(ASKING))?;
    stream.set_read_timeout(Some(ANSWERING))?;
    let text = serde_json::to_vec(question)?;
    let descriptors: Vec<BorrowedFd<'_>> = network.into_iter().collect();
    let sent = sys::send_descriptors(&stream, &text, &descriptors)?;
    stream.write_all(text.get(sent..).unwrap_or_default())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Reads a question.
///
/// # Errors
///
/// When it does not come in time, is too long, or none.
pub fn question(stream: &mut UnixStream) -> io::Result<(Question, Option<OwnedFd>)> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ASKING))?;
    stream.set_write_timeout(Some(ASKING))?;
    let mut text = vec![0; LONGEST];
    let (got, descriptors) = sys::receive_descriptors(&*stream, &mut text)?;
    text.truncate(got);
    stream.take(LONGEST as u64).read_to_end(&mut text)?;
    Ok((serde_json::from_slice(&text)?, descriptors.into_iter().next()))
}

/// Answers.
///
/// # Errors
///
/// When the one who asked has gone.
pub fn answer(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    stream.write_all(&serde_json::to_vec(answer)?)
}
