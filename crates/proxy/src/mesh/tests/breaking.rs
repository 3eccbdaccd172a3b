//! Flows that are broken off by a proxy that goes or by a change of policy: nobody takes that for an end, each has its record,
//! and nothing passes afterwards.

use std::collections::HashMap;
use std::net::SocketAddr;

use model::codes::mesh as codes;
use model::mesh::Change;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::direct::{dial, open, say, until};
use super::*;
use crate::mesh::Direction;
use crate::tunnel::direct::message::{Head, answer};

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

/// How many connections to an address wait for their SYN to be answered (state 02 of `/proc/net/tcp`).
fn connecting(to: SocketAddr) -> usize {
    let IpAddr::V4(ip) = to.ip() else { panic!("{to}") };
    let wanted = format!("{:08X}:{:04X} 02 ", u32::from_ne_bytes(ip.octets()), to.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().filter(|line| line.contains(&wanted)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_while_the_application_is_dialled_has_no_byte_carried() {
    const FLOWS: usize = 16;
    let machine = Machine::new();
    let (web, ledger) = (machine.join("web", 2), machine.join("ledger", 3));
    let _application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    // It has room for one connection, which nobody takes: the next ones have to come again.
    let target = SocketAddr::new(machine.ip(3), 8081);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&target.into()).unwrap();
    socket.listen(0).unwrap();
    socket.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(socket.into()).unwrap();
    let filler = TcpStream::connect(target).await.unwrap();

    let mut kept = TcpStream::connect(web.mapped()).await.unwrap();
    kept.write_all(b"kept").await.unwrap();
    kept.read_exact(&mut [0; 4]).await.unwrap();
    let mut flows = Vec::new();
    for _ in 0..FLOWS {
        let mut flow = dial(&machine, &web, &ledger).await;
        let asked = [open(&target.to_string()), Head::Data(4).bytes().to_vec(), b"late".to_vec()];
        say(&mut flow, &asked.concat()).await;
        flows.push(flow);
    }
    until("all are being connected", || connecting(target) == FLOWS).await;
    machine.change(Change::Policy(allow("only-batch", &["batch"])));
    // All of them are judged together.
    assert!(is_reset(&mut kept).await);

    SockRef::from(&listener).listen(128).unwrap();
    let (mut first, from) = listener.accept().await.unwrap();
    assert_eq!(from, filler.local_addr().unwrap());
    drop(filler);
    assert_eq!(first.read(&mut [0; 8]).await.unwrap(), 0);
    for _ in 0..FLOWS {
        let (mut application, _) = listener.accept().await.unwrap();
        assert!(is_reset(&mut application).await);
    }
    for mut flow in flows {
        let mut said = Vec::new();
        let _ = flow.read_to_end(&mut said).await;
        assert!(said.is_empty() || said == answer(200), "{said:?}");
    }
    // One of each end of the one that was kept.
    let records = machine.records(FLOWS + 2).await;
    let mut codes_of = HashMap::new();
    for record in records.iter().filter(|record| record.destination_address == Some(target)) {
        assert_eq!((record.sent, record.received), (0, 0));
        *codes_of.entry(record.code.map(|code| code.id)).or_insert(0) += 1;
    }
    assert_eq!(codes_of, HashMap::from([(Some(codes::REVOKED_BY_CHANGE.id), FLOWS)]));
}
