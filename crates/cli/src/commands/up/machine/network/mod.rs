//! The network that pods are in. With the right to make network namespaces each pod has one of its own ([`sandbox`]) at a
//! [`switch`], and its unchanged application is intercepted; without, pods have loopback [`addresses`] and are told of
//! their proxies. Which way was taken is said, and why.

mod addresses;
mod doors;
pub mod first;
mod hosts;
mod sandbox;
mod switch;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use model::codes::mesh as codes;
use model::mesh::World;
use rustix::process::geteuid;
use tokio::net::TcpStream;
use tokio::sync::watch;

use self::addresses::Addresses;
use self::doors::Doors;
use self::switch::Switch;
use crate::failure::Failure;

pub use self::hosts::{Reader, hosts};
pub use self::sandbox::Sandbox;
pub use self::switch::redirection;

/// Which network a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Wanted {
    /// A network namespace for each pod where they can be made (as root), else loopback addresses.
    Auto,
    /// A network namespace for each pod; fail where they cannot be made.
    Namespaces,
    /// Loopback addresses, and explicit proxies that processes are told of in their environment.
    Loopback,
}

/// The network of a machine's pods.
pub struct Network {
    addresses: Addresses,
    switch: Option<Switch>,
    doors: Option<Doors>,
}

impl Network {
    /// Makes it, and says which it is.
    ///
    /// # Errors
    ///
    /// When namespaces are asked for and cannot be made, or no loopback addresses are free.
    pub fn make(wanted: Wanted) -> Result<Self, Failure> {
        let why = match wanted {
            Wanted::Loopback => "as asked for".to_owned(),
            Wanted::Auto | Wanted::Namespaces => {
                let addresses = Addresses::private();
                match Switch::make(&addresses) {
                    Ok(switch) => {
                        eprintln!(
                            "network: each pod has its own, in {}; all of its TCP goes through its proxy, and nothing leads \
                             out of it\n         to look at what is on the wire: nsenter --net={} tshark -i {}",
                            addresses.block(),
                            switch.path(),
                            sandbox::BRIDGE,
                        );
                        let doors = Addresses::loopback().map(Doors::new)?;
                        return Ok(Self { addresses, switch: Some(switch), doors: Some(doors) });
                    }
                    Err(error) if wanted == Wanted::Namespaces => {
                        return Err(Failure::new(&codes::LOCAL_NETWORKS, error));
                    }
                    Err(error) if geteuid().is_root() => {
                        let code = &codes::LOCAL_NETWORKS;
                        eprintln!(
                            "warning[{}]: {}: {error}\n  nothing is intercepted: applications have to use the proxies that \
                             their environment names; --network namespaces makes this an error",
                            code.id, code.title
                        );
                        "networks cannot be made".to_owned()
                    }
                    Err(_) => "not root; as root each pod has a network of its own".to_owned(),
                }
            }
        };
        let addresses = Addresses::loopback()?;
        eprintln!("network: loopback addresses in {} and explicit proxies ({why})", addresses.block());
        Ok(Self { addresses, switch: None, doors: None })
    }

    /// The address of a pod.
    pub fn pod(&mut self, key: &str) -> IpAddr {
        self.addresses.pod(key).into()
    }

    /// The address of a Service.
    pub fn service(&mut self, key: &str) -> IpAddr {
        self.addresses.service(key).into()
    }

    /// Pods that are no more give theirs back.
    pub fn keep_pods(&mut self, wanted: impl Fn(&str) -> bool) {
        self.addresses.keep_pods(wanted);
    }

    /// What a pod has for itself, if pods have networks.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn sandbox(&self, reader: &Reader<'_>, world: &World) -> Result<Option<Sandbox>, Failure> {
        let (Some(switch), IpAddr::V4(address)) = (&self.switch, reader.address) else { return Ok(None) };
        let made = switch.sandbox(reader.name, address, hosts(world, reader));
        made.map(Some)
            .map_err(|error| Failure::new(&codes::LOCAL_NETWORKS, format!("{}: {error}", reader.name)))
    }

    /// Opens and closes the ways from this machine to Services, where these are elsewhere.
    pub fn keep_doors(&mut self, world: &watch::Receiver<Arc<World>>) {
        if let (Some(doors), Some(switch)) = (&mut self.doors, &self.switch) {
            doors.keep(world, switch.namespace());
        }
    }

    /// Services that are elsewhere, and where they are reached from this machine.
    pub fn doors(&self) -> Vec<(String, SocketAddr)> {
        self.doors.iter().flat_map(Doors::all).collect()
    }

    /// Connects as somebody on this machine who is no pod.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub async fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        match &self.switch {
            Some(switch) => sandbox::connect(switch.namespace(), to).await,
            None => TcpStream::connect(to).await,
        }
    }

    /// From where that is.
    pub fn outside(&self) -> IpAddr {
        match self.switch {
            Some(_) => self.addresses.node().into(),
            None => Ipv4Addr::LOCALHOST.into(),
        }
    }
}
