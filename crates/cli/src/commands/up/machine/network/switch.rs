//! The switch: a network namespace that holds nothing but a bridge, which the pods' cables lead to. The machine's own
//! network has no part in it: no interface, no address, no route, no rule.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use sys::{Namespace, Redirection, link};

use super::addresses::{Addresses, LENGTH};
use super::sandbox::{BRIDGE, Plan, Sandbox};

/// A switch.
pub struct Switch {
    namespace: Namespace,
    /// The number of its thread: by it people find the namespace.
    thread: i32,
    next: AtomicU32,
}

impl Switch {
    /// Makes a switch with the machine's own address, and tries whether a pod can be made at it.
    ///
    /// # Errors
    ///
    /// What could not be made, and why.
    pub fn make(addresses: &Addresses) -> io::Result<Self> {
        let told = |what: &'static str| {
            move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        let namespace = Namespace::create("switch").map_err(told("a network namespace"))?;
        let node = addresses.node();
        let made = namespace.run(move || {
            link::up("lo")?;
            link::bridge(BRIDGE)?;
            link::address(BRIDGE, node.into(), LENGTH)
        });
        made.and_then(|made| made).map_err(told("a bridge"))?;
        let thread = namespace.run(|| rustix::thread::gettid().as_raw_nonzero().get())?;
        let switch = Self { namespace, thread, next: AtomicU32::new(1) };
        // Better said now than of each pod.
        let [a, b, ..] = node.octets();
        let tried =
            switch.sandbox("trial", Ipv4Addr::new(a, b, 127, 254), "127.0.0.1 localhost\n".to_owned())?;
        let rules = tried.namespace().run(|| redirection().apply())?;
        rules.map_err(|error| io::Error::other(format!("packet rules: {error}")))?;
        Ok(switch)
    }

    /// Makes what a pod has for itself.
    ///
    /// # Errors
    ///
    /// What could not be made, and why.
    pub fn sandbox(&self, name: &str, address: Ipv4Addr, hosts: String) -> io::Result<Sandbox> {
        let port = format!("pod{}", self.next.fetch_add(1, Ordering::Relaxed));
        Sandbox::make(&self.namespace, Plan { name: name.to_owned(), address, hosts, port })
    }

    /// The network of the switch: whoever calls from it is a stranger.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where a person finds it, for nsenter(1).
    pub fn path(&self) -> String {
        format!("/proc/{}/task/{}/ns/net", std::process::id(), self.thread)
    }
}

/// All TCP of a pod, without exception: there is no DNS and no node that would have to reach it otherwise.
pub fn redirection() -> Redirection {
    Redirection { outbound: Default::default(), ..Redirection::default() }
}
