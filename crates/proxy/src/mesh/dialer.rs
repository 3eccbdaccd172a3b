//! How a workload's proxy connects: from which address and network, and how its sockets are known for its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sys::{From, Namespace, Outgoing};
use tokio::net::{TcpSocket, TcpStream};

use super::Pod;

/// How a workload's proxy connects to others and to the application.
pub(crate) struct Dialer {
    address: Option<IpAddr>,
    mark: Option<u32>,
    keeps_client_address: bool,
    namespace: Option<Namespace>,
}

impl Dialer {
    pub(super) fn new(address: Option<IpAddr>, pod: Option<&Pod>) -> Self {
        Self {
            address,
            mark: pod.and_then(|pod| pod.mark),
            keeps_client_address: pod.is_some_and(|pod| pod.keeps_client_address),
            namespace: pod.and_then(|pod| pod.namespace.clone()),
        }
    }

    /// Whether it may do what is asked of it: better said at the start than of each connection.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` where the right to mark a socket or to use a client's address is missing.
    pub(super) fn check(&self) -> io::Result<()> {
        let somewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let from = match self.keeps_client_address {
            // TEST-NET-1 (RFC 5737) is nobody's.
            true => From::Foreign(Ipv4Addr::new(192, 0, 2, 1).into()),
            false => From::Any,
        };
        self.socket(somewhere, from).map(drop)
    }

    /// The address that others see.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The network that it is in; none is the process's own.
    pub(crate) fn namespace(&self) -> Option<u64> {
        self.namespace.as_ref().map(Namespace::id)
    }

    /// Connects to somebody else; where the workload's address is of another kind than his, the system chooses one.
    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let fits =
            |from: &IpAddr| from.is_ipv4() == to.is_ipv4() && from.is_loopback() == to.ip().is_loopback();
        self.open(to, self.address.filter(fits).map_or(From::Any, From::Own)).await
    }

    /// Connects to the application for a client, whose address it sees where that is wanted and can be.
    pub(crate) async fn connect_for(&self, client: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
        let keeps = self.keeps_client_address && client.is_ipv4() == to.is_ipv4() && !client.is_loopback();
        self.open(to, if keeps { From::Foreign(client) } else { From::Any }).await
    }

    async fn open(&self, to: SocketAddr, from: From) -> io::Result<TcpStream> {
        TcpSocket::from_std_stream(self.socket(to, from)?).connect(to).await
    }

    /// Not connected yet.
    fn socket(&self, to: SocketAddr, from: From) -> io::Result<std::net::TcpStream> {
        let how = Outgoing { mark: self.mark, from };
        match &self.namespace {
            // A socket stays in the network that it was made in. To make one takes microseconds.
            Some(namespace) => namespace.run(move || sys::outgoing(to, &how))?,
            None => sys::outgoing(to, &how),
        }
    }
}
