//! What both ends of a kept connection proved themselves with ends while it is kept: nothing new is carried on it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::codes::refusals;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::direct::{dial, open, until};
use super::*;
use crate::mesh::Direction;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// One whole flow through the mesh.
async fn call(web: &Joined) -> std::io::Result<Vec<u8>> {
    let mut flow = TcpStream::connect(web.mapped()).await?;
    flow.write_all(b"hello").await?;
    flow.shutdown().await?;
    let mut back = Vec::new();
    flow.read_to_end(&mut back).await?;
    Ok(back)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_carries_nothing_new_once_the_called_certificate_has_ended() {
    for is_shared in [false, true] {
        let machine = Machine::new();
        let (web, ledger) = (machine.join("web", 2), machine.join("ledger", 3));
        let application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
        let places = if is_shared { ledger.attached.direct.available_permits() } else { 0 };
        let others = ledger.attached.direct.acquire_many(u32::try_from(places).unwrap()).await.unwrap();
        // A slow machine gets more time for the first call.
        let mut end = 0;
        for seconds in [3, 10, 60] {
            end = now() + seconds;
            let (chain, key) = machine.ca.pair(&["spiffe://cluster.local/ns/bank/sa/ledger"], |params| {
                params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
            });
            let roots = machine.ca.root.as_bytes();
            let short = crate::mesh::Credential::new(chain.as_bytes(), key.as_bytes(), roots).unwrap();
            ledger.renew.send_replace(Arc::new(short));
            if call(&web).await.is_ok_and(|back| back == b"hello") {
                break;
            }
        }
        let pool = &machine.mesh.shared.pool;
        until("it is kept", || pool.len() == 1 && (is_shared || pool.spares() == 1)).await;
        let served = application.count();
        machine.records(2).await;
        while now() <= end {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(call(&web).await.is_err(), "shared: {is_shared}");
        assert_eq!(application.count(), served);
        let records = machine.records(1).await;
        let outbound = records.iter().find(|record| record.direction == Direction::Outbound).unwrap();
        assert_eq!(outbound.code, Some(&refusals::CERTIFICATE_EXPIRED), "{outbound:#?}");
        drop(others);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_judged_by_a_root_that_is_gone_has_not_even_a_first_flow() {
    let machine = Machine::new();
    let (web, ledger) = (machine.join("web", 2), machine.join("ledger", 3));
    let application = Application::start(SocketAddr::new(machine.ip(3), 8080)).await;
    let mut stream = dial(&machine, &web, &ledger).await;
    let next = Ca::new();
    ledger.renew.send_replace(next.credential_that_trusts("ledger", &next.root));
    // It may be gone by now.
    let _ = stream.write_all(&open(&format!("{}:8080", machine.ip(3)))).await;
    let _ = stream.flush().await;
    let read = stream.read(&mut [0; 8]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}: no answer");
    assert_eq!(application.count(), 0);
}
