//! SOCKS version 5 (RFC 1928): CONNECT to an address or a name, without a password. The client is the workload itself:
//! who may speak here is decided by who reaches the port.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use model::codes::mesh as codes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::attached::Own;
use super::explicit::{Refusal, WORDS, destination};
use super::inbound::reset;
use super::outbound;
use super::record::{Direction, Record};

/// The first byte of each message.
pub(super) const VERSION: u8 = 5;

const NO_PASSWORD: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;

const GRANTED: u8 = 0;
const FAILED: u8 = 1;
const NOT_ALLOWED: u8 = 2;
const HOST_UNREACHABLE: u8 = 4;
const REFUSED: u8 = 5;
const NO_SUCH_COMMAND: u8 = 7;
const NO_SUCH_ADDRESS: u8 = 8;

/// What a client wants, or the reply that it gets instead.
enum Asked {
    To(String, u16),
    Not(u8, &'static str),
}

pub(super) async fn serve(own: &Arc<Own>, mut socket: TcpStream, from: SocketAddr) {
    let asked = match tokio::time::timeout(WORDS, read(&mut socket)).await {
        Ok(Ok(asked)) => asked,
        // It went in the middle of its words.
        _ => return,
    };
    let (host, port) = match asked {
        Asked::To(host, port) => (host, port),
        Asked::Not(reply, why) => {
            let record = Record::new(Direction::Outbound, &own.uid, from);
            own.shared.observe(&record.refused(&codes::PROXY_REQUEST_INVALID, why));
            return farewell(socket, reply).await;
        }
    };
    let called = match destination(own, from, &host, port).await {
        Ok(destination) => outbound::call(own, from, destination).await,
        Err(refusal) => Err(refusal),
    };
    match called {
        Ok(call) => match socket.write_all(&reply(GRANTED)).await {
            Ok(()) => call.carry(own, &mut socket, reset).await,
            Err(_) => call.finish(own, 0, 0),
        },
        Err(refusal) => farewell(socket, meaning(&refusal)).await,
    }
}

async fn read(socket: &mut TcpStream) -> io::Result<Asked> {
    let [_, methods] = array(socket).await?;
    let mut offered = vec![0; methods.into()];
    socket.read_exact(&mut offered).await?;
    if !offered.contains(&NO_PASSWORD) {
        socket.write_all(&[VERSION, NO_METHOD]).await?;
        return Ok(Asked::Not(FAILED, "the client insists on a password"));
    }
    socket.write_all(&[VERSION, NO_PASSWORD]).await?;
    let [version, command, _, kind] = array(socket).await?;
    if version != VERSION {
        return Ok(Asked::Not(FAILED, "the request is not of version 5"));
    }
    let host = match kind {
        1 => Ipv4Addr::from(array::<4>(socket).await?).to_string(),
        4 => Ipv6Addr::from(array::<16>(socket).await?).to_string(),
        3 => {
            let [length] = array(socket).await?;
            let mut name = vec![0; length.into()];
            socket.read_exact(&mut name).await?;
            match String::from_utf8(name) {
                Ok(name) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) => name,
                _ => return Ok(Asked::Not(FAILED, "the name cannot be read")),
            }
        }
        _ => return Ok(Asked::Not(NO_SUCH_ADDRESS, "the address is of an unknown kind")),
    };
    let port = u16::from_be_bytes(array(socket).await?);
    match command {
        CONNECT => Ok(Asked::To(host, port)),
        _ => Ok(Asked::Not(NO_SUCH_COMMAND, "only CONNECT is served, neither BIND nor UDP")),
    }
}

async fn array<const N: usize>(socket: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    socket.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A reply; the address that we call from is nobody's business.
fn reply(meaning: u8) -> [u8; 10] {
    [VERSION, meaning, 0, 1, 0, 0, 0, 0, 0, 0]
}

fn meaning((code, _): &Refusal) -> u8 {
    if *code == &codes::WOULD_BE_PLAIN || *code == &codes::PEER_REFUSED || *code == &codes::PEER_IDENTITY {
        NOT_ALLOWED
    } else if *code == &codes::NO_PORT {
        REFUSED
    } else {
        HOST_UNREACHABLE
    }
}

async fn farewell(mut socket: TcpStream, meaning: u8) {
    // Whether the client listens is its own affair.
    let _ = socket.write_all(&reply(meaning)).await;
    let _ = socket.shutdown().await;
}
