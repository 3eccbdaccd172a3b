//! A workload is called in plain text, by somebody outside of the mesh: the gate, the application.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use model::codes::{Code, mesh as codes};
use model::mesh::Mode;
use model::mesh::policy::decide;
use tokio::net::TcpStream;

use super::attached::Own;
use super::inbound::{application, carry, reset};
use super::live::{Known, Open};
use super::pod::wanted;
use super::record::{Direction, Record, Secured};

/// Why a connection was let in: what its record says of it.
struct Admitted {
    record: Box<Record>,
    /// Says when it has to go. A probe does not: no change of policy concerns it.
    open: Option<Open>,
}

/// One redirected connection.
pub(super) async fn serve(own: Arc<Own>, socket: TcpStream, from: SocketAddr) {
    let cut = own.ending.cut.clone();
    tokio::select! {
        // What is carried sees the cut itself: it resets both ends and has its record.
        biased;
        () = Box::pin(one(&own, socket, from)) => {}
        () = cut.cancelled() => {}
    }
}

async fn one(own: &Arc<Own>, socket: TcpStream, from: SocketAddr) {
    let began = Instant::now();
    let Some(target) = wanted(own, &socket, Direction::Inbound, from) else { return };
    let refuse = |mut record: Box<Record>, code: &'static Code, detail: String| {
        // The peer learns nothing but that there is no connection.
        reset(&socket);
        record.duration = began.elapsed();
        own.shared.observe(&record.refused(code, detail));
    };
    let Admitted { mut record, open } = match judge(own, from, target) {
        Ok(admitted) => admitted,
        Err((record, code, detail)) => return refuse(record, code, detail),
    };
    let application = match application(own, from.ip(), target).await {
        Ok(application) => application,
        Err(why) => {
            record.secured = Secured::Refused;
            return refuse(record, &codes::APPLICATION_UNREACHABLE, why);
        }
    };
    let closed = async {
        match open {
            Some(mut open) => (&codes::REVOKED_BY_CHANGE, open.closed().await),
            None => std::future::pending().await,
        }
    };
    carry(own, record, socket, application, closed, began).await;
}

/// The only gate of plain text.
fn judge(
    own: &Own,
    from: SocketAddr,
    target: SocketAddr,
) -> Result<Admitted, (Box<Record>, &'static Code, String)> {
    let mut record = Box::new(Record::new(Direction::Inbound, &own.uid, from));
    record.destination = own.credential.borrow().identity.to_string();
    record.destination_address = Some(target);
    let known = Known { identity: None, source: from, target };
    // Before the world is looked at, so that no change of policy falls between the two.
    let open = own.live.add(known.clone());
    let world = own.shared.now();
    let Some(workload) = world.workload(&own.uid) else {
        let detail = format!("{} is not known (yet)", own.uid);
        return Err((record, &codes::POLICY_UNKNOWN, detail));
    };
    if !workload.addresses.contains(&target.ip()) {
        let detail = format!("{} is no address of {}", target.ip(), workload.uid);
        return Err((record, &codes::APPLICATION_UNREACHABLE, detail));
    }
    if own.shared.is_own(target) {
        let detail = format!("{target} is this proxy itself");
        return Err((record, &codes::LOOP, detail));
    }
    if own.probes.admits(from.ip(), target.port()) {
        record.secured = Secured::Plain("probe");
        record.detail = format!("port {} is for probes of the node", target.port());
        return Ok(Admitted { record, open: None });
    }
    let decision = decide(&world, workload, &known.arrival());
    record.would_refuse.clone_from(&decision.would_refuse);
    if let Some(code) = decision.reason.code() {
        return Err((record, code, decision.reason.to_string()));
    }
    record.detail = decision.reason.to_string();
    record.secured = Secured::Plain(match workload.modes.inbound.of(target.port()) {
        Mode::Disabled => "disabled",
        Mode::Permissive | Mode::Strict => "permissive",
    });
    Ok(Admitted { record, open: Some(open) })
}
