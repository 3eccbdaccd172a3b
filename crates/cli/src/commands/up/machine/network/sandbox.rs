//! What a pod has for itself, where networks can be made: a network, process numbers, shared memory, a host name, and the
//! few files that names are looked up in. Nothing of it has a name on the machine or is written there: it is gone when its processes and
//! this one are, however they end.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use sys::{Namespace, Outgoing, link, mounts};
use tokio::net::{TcpSocket, TcpStream};

use super::addresses::LENGTH;
use super::{first, hosts};

/// The bridge in the switch.
pub const BRIDGE: &str = "br0";
/// A host name has at most so many bytes.
const HOST_NAME: usize = 63;

/// What is to be made.
pub struct Plan {
    /// The pod's name.
    pub name: String,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// Its `/etc/hosts`.
    pub hosts: String,
    /// The name of its cable's other end, in the switch.
    pub port: String,
}

/// A pod's own.
pub struct Sandbox {
    /// Its network, for the proxy's sockets.
    namespace: Namespace,
    /// The same with all else, where processes are started: that takes longer than a socket may.
    processes: Namespace,
    switch: Namespace,
    port: String,
    first: Mutex<Option<Child>>,
    hosts: Mutex<(String, File)>,
}

impl Sandbox {
    /// Makes it, and connects it to a switch.
    ///
    /// # Errors
    ///
    /// What could not be made, and why.
    pub fn make(switch: &Namespace, plan: Plan) -> io::Result<Self> {
        let Plan { name, address, hosts, port } = plan;
        let processes = inside("a namespace", Namespace::create_for_processes("pod"))?;
        let network = flat(processes.run(|| File::open("/proc/thread-self/ns/net")))?;
        let namespace = Namespace::enter(network.try_clone()?.into())?;
        let named = port.clone();
        let cable = switch.run(move || {
            let [a, b, c, d] = address.octets();
            let hardware = [2, 0, a, b, c, d];
            link::veth(&named, BRIDGE, &link::Peer { name: "eth0", hardware, network: network.as_fd() })
        });
        inside("a pair of interfaces", flat(cable))?;
        let (own, written) = (name.clone(), hosts.clone());
        let made = processes.run(move || {
            link::up("lo")?;
            link::address("eth0", address.into(), LENGTH)?;
            link::up("eth0")?;
            mounts::host_name(own.get(..HOST_NAME).unwrap_or(&own))?;
            mounts::shared_memory()?;
            files(&written)
        });
        let file = inside("its interface and files", flat(made))?;
        let mut child = inside("its first process", flat(processes.run(first_process)))?;
        let said = child.stdout.take();
        let sandbox = Self {
            namespace,
            processes,
            switch: switch.clone(),
            port,
            first: Mutex::new(Some(child)),
            hosts: Mutex::new((hosts, file)),
        };
        let mut line = String::new();
        if let Some(said) = said {
            BufReader::new(said).read_line(&mut line)?;
        }
        if line.trim_end() != first::READY {
            return inside("its first process", Err(io::Error::other(line.trim_end().to_owned())));
        }
        // Only now: the first process mounted, and no other may.
        inside("the limit of rights", flat(sandbox.processes.run(sys::as_in_a_container)))?;
        Ok(sandbox)
    }

    /// Its network.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Whether its first process has ended: all others have, and no other can be started.
    pub fn is_over(&self) -> bool {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        !first.as_mut().is_some_and(|first| matches!(first.try_wait(), Ok(None)))
    }

    /// Starts a process in it.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn(&self, mut command: tokio::process::Command) -> io::Result<tokio::process::Child> {
        let runtime = tokio::runtime::Handle::current();
        let start = move || {
            let _entered = runtime.enter();
            command.spawn()
        };
        tokio::task::block_in_place(|| flat(self.processes.run(start)))
    }

    /// Connects from inside, as the pod's own processes do.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        connect(&self.namespace, to).await
    }

    /// Changes what its processes know of names.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn set_hosts(&self, hosts: String) -> io::Result<()> {
        let mut known = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != hosts {
            known.1.write_all_at(hosts.as_bytes(), 0)?;
            known.1.set_len(hosts.len() as u64)?;
            known.0 = hosts;
        }
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(mut first) = self.first.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // It may have ended. The kernel ends what is left in the pod, which may take a moment.
            let _ = first.kill();
            let _ = std::thread::Builder::new().spawn(move || first.wait());
        }
        // Now, and not when the last socket in there is closed: the address may be another pod's by then.
        let port = std::mem::take(&mut self.port);
        let _ = self.switch.run(move || link::remove(&port));
    }
}

/// Connects from a network.
///
/// # Errors
///
/// Why there is no connection.
pub async fn connect(from: &Namespace, to: SocketAddr) -> io::Result<TcpStream> {
    // To make a socket takes microseconds.
    let socket = flat(from.run(move || sys::outgoing(to, &Outgoing::default())))?;
    TcpSocket::from_std_stream(socket).connect(to).await
}

/// Puts the pod's files in the place of the machine's; gives `/etc/hosts`.
fn files(hosts: &str) -> io::Result<File> {
    let nsswitch = std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let nsswitch = hosts::nsswitch(&nsswitch);
    let mut files: Vec<(&Path, &[u8])> = vec![(Path::new("/etc/hosts"), hosts.as_bytes())];
    for (path, content) in [
        ("/etc/resolv.conf", hosts::RESOLV_CONF),
        ("/etc/nsswitch.conf", nsswitch.as_str()),
        // The machine's memory of names.
        ("/run/nscd/socket", ""),
    ] {
        if Path::new(path).exists() {
            files.push((Path::new(path), content.as_bytes()));
        }
    }
    let made = mounts::replace(&files)?;
    made.into_iter().next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn first_process() -> io::Result<Child> {
    // The file that this process was started from, whatever has become of its name.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(first::NAME).env_clear().current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

/// What was done in a namespace, or why it was not.
fn flat<T>(done: io::Result<io::Result<T>>) -> io::Result<T> {
    done.and_then(|done| done)
}

fn inside<T>(what: &str, done: io::Result<T>) -> io::Result<T> {
    done.map_err(|error| io::Error::new(error.kind(), format!("{what}: {error}")))
}
