//! Somebody who is no workload calls an application's own port in plain text, as if there were no proxy. Only a pod with a
//! network of its own can know of that: it arrives at the proxy all the same.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use model::mesh::policy::{Arrival, decide};
use model::mesh::{Mode, Workload, World};
use proxy::mesh::{Direction, Record, Secured};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::LIMIT;
use super::call::Fate;
use crate::commands::up::machine::running::Machine;

/// What the policies say of him.
pub fn expected(world: &World, workload: &Workload, from: IpAddr, to: SocketAddr) -> (Fate, String) {
    let arrival = Arrival { identity: None, source: from, address: to.ip(), port: to.port() };
    let decision = decide(world, workload, &arrival);
    let fate = match decision.reason.code() {
        Some(code) => Fate::Refused(code.id),
        None => Fate::Carried(Secured::Plain(match workload.modes.inbound.of(to.port()) {
            Mode::Disabled => "disabled",
            Mode::Permissive | Mode::Strict => "permissive",
        })),
    };
    (fate, decision.reason.to_string())
}

/// What really becomes of it: the record of the pod's proxy. A refusal has to be one for the caller too.
pub async fn call(machine: &Machine, workload: &Workload, to: SocketAddr) -> Result<Fate, String> {
    let mut tap = machine.mesh.tap();
    let asked = async {
        let mut socket = machine.network.connect(to).await?;
        ask(&mut socket).await
    };
    let asked = tokio::time::timeout(LIMIT, asked).await.map_err(|_| format!("no end within {LIMIT:?}"))?;
    let answered = match asked {
        Ok(answered) => answered,
        // The refusal may be there before it is looked for.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
        Err(error) => return Err(error.to_string()),
    };
    let own = |record: &Record| {
        (record.direction, record.workload.as_str()) == (Direction::Inbound, workload.uid.as_str())
            && record.source_address.ip() == machine.network.outside()
            && record.destination_address == Some(to)
    };
    let record = async {
        loop {
            match tap.recv().await {
                Ok(record) if own(&record) => return Some(record),
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return None,
                Ok(_) | Err(_) => {}
            }
        }
    };
    match tokio::time::timeout(LIMIT, record).await.ok().flatten() {
        Some(record) => match record.code {
            Some(_) if answered => Err("answered in plain text".to_owned()),
            Some(code) => Ok(Fate::Refused(code.id)),
            None => Ok(Fate::Carried(record.secured)),
        },
        None => Err("nothing of it arrived at the proxy".to_owned()),
    }
}

/// Whether anything comes back.
async fn ask(socket: &mut TcpStream) -> std::io::Result<bool> {
    socket.write_all(b"GET / HTTP/1.1\r\nhost: application\r\nconnection: close\r\n\r\n").await?;
    socket.shutdown().await?;
    Ok(socket.read(&mut [0]).await? > 0)
}
