//! A workload whose network is its own, and whose connections the kernel redirects here (`sys::Redirection`): calls of
//! an application that knows no proxy. Nothing is looked into, so a server may speak first.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use model::codes::mesh as codes;
use tokio::net::TcpStream;

use super::attached::Own;
use super::inbound::reset;
use super::outbound;
use super::record::{Direction, Record};

/// What a workload with a network of its own adds to an [`super::Attachment`].
pub struct Pod {
    /// Where its calls are redirected to (port 15001): on all addresses of the pod.
    pub outbound: TcpListener,
    /// Where plain connections to it are redirected to (port 15006): on all addresses of the pod.
    pub inbound: TcpListener,
    /// The mark of the proxy's own connections, which the rules let pass; it takes `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    /// None where the rules know the proxy by its user.
    pub mark: Option<u32>,
    /// The application sees its client's address, not the proxy's. It takes the mark, the same capability, and rules
    /// that lead the answers back.
    pub keeps_client_address: bool,
    /// The pod's network, if the process is elsewhere. Its listeners have to be from there as well.
    pub namespace: Option<sys::Namespace>,
    /// Who may look after the pod in plain text.
    pub probes: Probes,
}

/// Kubelet asks a pod whether it is well in plain text, whatever the mode and the policies: from these addresses, at
/// these ports, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// The node's addresses.
    pub nodes: HashSet<IpAddr>,
    /// The ports of the pod's probes.
    pub ports: HashSet<u16>,
}

impl Probes {
    pub(super) fn admits(&self, from: IpAddr, port: u16) -> bool {
        self.ports.contains(&port) && self.nodes.contains(&from.to_canonical())
    }
}

/// Where a redirected connection wanted to go. None: it named this socket itself, or has gone; its record is written
/// then, and it is reset.
pub(super) fn wanted(
    own: &Own,
    socket: &TcpStream,
    direction: Direction,
    from: SocketAddr,
) -> Option<SocketAddr> {
    let why = match sys::original_destination(socket) {
        Ok(Some(wanted)) => return Some(wanted),
        Ok(None) => "nothing was redirected: the proxy's own port was called".to_owned(),
        Err(error) => format!("where it wanted to go is not known: {error}"),
    };
    reset(socket);
    let mut record = Record::new(direction, &own.uid, from);
    let identity = own.credential.borrow().identity.to_string();
    match direction {
        Direction::Outbound => record.source = identity,
        Direction::Inbound => record.destination = identity,
    }
    own.shared.observe(&record.refused(&codes::LOOP, why));
    None
}

/// One call of the application.
pub(super) async fn call(own: Arc<Own>, mut socket: TcpStream, from: SocketAddr) {
    let cut = own.ending.cut.clone();
    let work = async {
        let Some(wanted) = wanted(&own, &socket, Direction::Outbound, from) else { return };
        match outbound::call(&own, from, wanted).await {
            Ok(mut call) => {
                call.look(&own, &socket);
                call.carry(&own, &mut socket, reset).await;
            }
            Err(_) => reset(&socket),
        }
    };
    tokio::select! {
        // What is carried sees the cut itself: it resets both ends and has its record.
        biased;
        () = Box::pin(work) => {}
        () = cut.cancelled() => {}
    }
}
