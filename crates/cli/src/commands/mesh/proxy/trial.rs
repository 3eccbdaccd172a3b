//! A call as the application makes it: this process opens a connection without the mark of the proxy's own, so that the
//! pod's rules lead it here, and tells what became of it. Whoever is in the pod could make the same call himself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proxy::mesh::{Direction, Mesh, Record};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::broadcast;

use super::admin::line;

/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the other side may take to close, once this one has.
const CLOSE: Duration = Duration::from_secs(2);
/// How long the proxy may take to say what became of it: it tries other endpoints meanwhile.
const TOLD: Duration = Duration::from_secs(20);

/// Calls, from another network if one is given, sends nothing, and closes.
pub(super) async fn call(mesh: &Mesh, to: SocketAddr, from: Option<sys::Namespace>) -> Value {
    let records = mesh.tap();
    let mut socket = match tokio::time::timeout(CONNECT, connect(to, from)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return json!({ "error": error.to_string() }),
        Err(_) => return json!({ "error": format!("no answer within {CONNECT:?}") }),
    };
    let Ok(own) = socket.local_addr() else { return json!({ "error": "the connection was gone at once" }) };
    // A server that is told that nothing comes closes too; whoever does not is left.
    let _ = socket.shutdown().await;
    let mut heard = [0; 1024];
    let closing = async { while socket.read(&mut heard).await.is_ok_and(|count| count > 0) {} };
    let _ = tokio::time::timeout(CLOSE, closing).await;
    drop(socket);
    let record = tokio::time::timeout(TOLD, of(records, own)).await.ok().flatten();
    json!({ "record": record.map(|record| line(&record)) })
}

async fn connect(to: SocketAddr, from: Option<sys::Namespace>) -> io::Result<TcpStream> {
    let Some(network) = from else { return TcpStream::connect(to).await };
    let socket = move || sys::outgoing(to, &sys::Outgoing { mark: None, from: sys::From::Any });
    let made = tokio::task::spawn_blocking(move || network.run(socket)).await.map_err(io::Error::other)??;
    TcpSocket::from_std_stream(made?).connect(to).await
}

/// The record of the call that came from this address.
async fn of(mut records: broadcast::Receiver<Arc<Record>>, own: SocketAddr) -> Option<Arc<Record>> {
    loop {
        match records.recv().await {
            Ok(record) => {
                let from = record.source_address;
                let same = (from.ip().to_canonical(), from.port()) == (own.ip().to_canonical(), own.port());
                if record.direction == Direction::Outbound && same {
                    return Some(record);
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}
