//! Flows that are broken off by a proxy that goes: nobody takes that for an end, and each has its record.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::mesh::Direction;

/// Uploads at one time. Each has an even chance to end wrongly where the order is left to chance.
const UPLOADS: usize = 24;

/// Reads to the end of a connection that was broken off.
async fn is_reset(socket: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read(&mut [0; 8])).await;
    let read = read.expect("it ends");
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_off_at_either_proxy_is_a_reset_and_has_its_record() {
    for is_called in [true, false] {
        let machine = Machine::new();
        let (web, ledger) = (machine.join("web", 2), machine.join("ledger", 3));
        let listener = TcpListener::bind(SocketAddr::new(machine.ip(3), 8080)).await.unwrap();
        let (mut clients, mut applications) = (Vec::new(), Vec::new());
        for _ in 0..UPLOADS {
            let mut client = TcpStream::connect(web.mapped()).await.unwrap();
            client.write_all(b"part").await.unwrap();
            let (mut application, _) = listener.accept().await.unwrap();
            application.read_exact(&mut [0; 4]).await.unwrap();
            clients.push(client);
            applications.push(application);
        }
        let (cut, _kept, direction) = match is_called {
            true => (ledger, web, Direction::Inbound),
            false => (web, ledger, Direction::Outbound),
        };
        // They are open, so this waits for nothing and cuts them off.
        cut.attached.drain(Duration::ZERO).await;
        let records = machine.records(UPLOADS).await;
        let of_cut = records.iter().filter(|record| record.direction == direction);
        let sent: Vec<u64> = of_cut.map(|record| record.sent).collect();
        assert_eq!(sent, vec![4; UPLOADS], "{direction:?}");
        for socket in clients.iter_mut().chain(&mut applications) {
            assert!(is_reset(socket).await, "{direction:?}");
        }
    }
}
