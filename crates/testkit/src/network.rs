//! A network of pods, each in a network namespace of its own: a bridge in a namespace that plays the node, and a veth
//! pair for each pod. Nothing of the machine's own network is touched; everything goes with the value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::skip::{find_program, skipped};

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A node and its pods.
pub struct Network {
    node: Place,
}

/// A network namespace with an address of each kind.
pub struct Place {
    name: String,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl Network {
    /// The node, `10.77.0.1` and `fd77::1`. `None`, after [`skipped`], where namespaces may not be made.
    pub fn start() -> Option<Self> {
        for program in ["ip", "nft", "nsenter"] {
            if find_program(program).is_none() {
                skipped(&format!("{program} is not installed"));
                return None;
            }
        }
        sweep();
        let name = format!("hf-pods-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let made = Command::new("ip").args(["netns", "add", &name]).output().unwrap();
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr).into_owned();
            skipped(&format!("network namespaces cannot be made (root is needed): {why}"));
            return None;
        }
        let node = Place::at(name, 1);
        node.ip(&["link", "set", "lo", "up"]);
        node.ip(&["link", "add", "br0", "type", "bridge"]);
        node.ip(&["link", "set", "br0", "up"]);
        node.address("br0");
        Some(Self { node })
    }

    /// The node.
    pub fn node(&self) -> &Place {
        &self.node
    }

    /// A pod, `10.77.0.LAST` and `fd77::LAST`, whose way out is the node.
    pub fn pod(&self, last: u8) -> Place {
        let pod = Place::at(format!("{}-{last}", self.node.name), last);
        let veth = format!("veth{last}");
        assert!(Command::new("ip").args(["netns", "add", &pod.name]).status().unwrap().success());
        let peer = ["peer", "name", "eth0", "netns", &pod.name];
        self.node.ip(&[&["link", "add", &veth, "type", "veth"][..], &peer].concat());
        self.node.ip(&["link", "set", &veth, "master", "br0", "up"]);
        pod.ip(&["link", "set", "lo", "up"]);
        pod.address("eth0");
        pod.ip(&["link", "set", "eth0", "up"]);
        pod.ip(&["route", "add", "default", "via", &self.node.v4.to_string()]);
        pod.ip(&["-6", "route", "add", "default", "via", &self.node.v6.to_string()]);
        pod
    }
}

/// Takes away what test programs left behind that were killed.
fn sweep() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix("hf-pods-").and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !PathBuf::from("/proc").join(process).exists()) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

impl Place {
    fn at(name: String, last: u8) -> Self {
        let v6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last.into());
        Self { name, v4: Ipv4Addr::new(10, 77, 0, last), v6 }
    }

    /// Both addresses.
    pub fn addresses(&self) -> Vec<IpAddr> {
        vec![self.v4.into(), self.v6.into()]
    }

    /// Stands for the namespace.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command that runs inside; the file system stays as it is.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Runs a command inside, which has to succeed; gives what it wrote.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let done = self.command(program).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{program} {arguments:?} in {}: {error}", self.name);
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Adds an address of this namespace to an interface, as one that needs no proof of being the only one.
    pub fn add_address(&self, interface: &str, address: IpAddr) {
        let (length, nodad) = if address.is_ipv4() { (24, None) } else { (64, Some("nodad")) };
        let address = format!("{address}/{length}");
        self.ip(&["addr", "add", &address, "dev", interface].into_iter().chain(nodad).collect::<Vec<_>>());
    }

    fn address(&self, interface: &str) {
        for address in self.addresses() {
            self.add_address(interface, address);
        }
    }

    fn ip(&self, arguments: &[&str]) {
        let done = Command::new("ip").args(["-n", &self.name]).args(arguments).output().unwrap();
        assert!(done.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}
