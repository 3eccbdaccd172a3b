//! Sockets as only a proxy needs them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that wait to be accepted; the kernel has its own limit too (`net.core.somaxconn`).
const QUEUE: i32 = 1024;

/// Whose address a connection comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// What the system chooses.
    #[default]
    Any,
    /// One of this machine.
    Own(IpAddr),
    /// Somebody else's: the answers come back only where a rule leads them here (see [`crate::Redirection`]). Needs
    /// `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    Foreign(IpAddr),
}

/// How a connection is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// `SO_MARK`, by which packet rules know it. Needs `CAP_NET_ADMIN`, or since Linux 5.17 `CAP_NET_RAW`.
    pub mark: Option<u32>,
    /// Whose address it comes from.
    pub from: From,
}

/// A socket that is ready to connect to `to`: it does not block, and belongs to the calling thread's namespace.
///
/// # Errors
///
/// `PermissionDenied` without the capability that is asked for; else why the kernel has no such socket or address.
pub fn outgoing(to: SocketAddr, how: &Outgoing) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Some(mark) = how.mark {
        socket.set_mark(mark)?;
    }
    match how.from {
        From::Any => {}
        From::Own(address) => bind(&socket, address)?,
        From::Foreign(address) => {
            match to {
                SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
                SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
            }
            bind(&socket, address)?;
        }
    }
    Ok(socket.into())
}

/// The port is chosen when it connects, so that one address has as many as there are for each destination.
fn bind(socket: &Socket, address: IpAddr) -> io::Result<()> {
    bind_address_no_port(socket)?;
    socket.bind(&SocketAddr::new(address, 0).into())
}

/// `IP_BIND_ADDRESS_NO_PORT` (ip(7), Linux 4.2); it is IPv6's too.
fn bind_address_no_port(socket: &Socket) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let on: libc::c_int = 1;
    #[expect(unsafe_code, reason = "neither rustix nor socket2 has this option")]
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the value is a c_int that outlives the call,
    // and its length is given as such. The kernel only reads it.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Listens at a port on all addresses of the calling thread's namespace, for IPv6 and IPv4; for IPv4 alone where the
/// machine has no IPv6.
///
/// # Errors
///
/// When somebody else listens there, or it is not allowed.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    match listen_at(both) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
            listen_at(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
        }
        done => done,
    }
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(QUEUE)?;
    Ok(socket.into())
}

/// Where an accepted connection wanted to go before it was redirected (`SO_ORIGINAL_DST`). None: it was not
/// redirected; whoever made it named this socket.
///
/// # Errors
///
/// When the socket is not connected any more.
pub fn original_destination(socket: impl std::os::fd::AsFd) -> io::Result<Option<SocketAddr>> {
    let socket = SockRef::from(&socket);
    let here = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    // An IPv4 connection at a socket for both is asked for as what it is.
    let local = SocketAddr::new(here.ip().to_canonical(), here.port());
    let asked = match local {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    match asked.map(|address| address.as_socket()) {
        // The kernel gives an IPv6 address its interface; a destination has none unless it is of one link.
        Ok(Some(wanted)) => {
            let wanted = SocketAddr::new(wanted.ip().to_canonical(), wanted.port());
            Ok((wanted != local).then_some(wanted))
        }
        Ok(None) => Ok(None),
        // Nobody keeps track of the connection (ENOENT), or of any (ENOPROTOOPT).
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOPROTOOPT)) => Ok(None),
        Err(error) => Err(error),
    }
}
