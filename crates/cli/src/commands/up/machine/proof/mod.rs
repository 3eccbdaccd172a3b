//! The proof: every pod calls every Service as its application does, and what becomes of it is compared with what the
//! policies say ([`call`]); strangers call every proxy ([`stranger`]), and where pods have networks of their own every
//! application's own port as well ([`around`]).

mod around;
mod call;
mod stranger;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use self::call::Fate;
use self::stranger::Stranger;
use super::running::Machine;
use super::started::uid;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(20);

/// One call of the proof.
pub struct Row {
    pub good: bool,
    from: String,
    to: String,
    outcome: String,
}

/// Makes all calls.
pub async fn run(machine: &Machine) -> Vec<Row> {
    let mut rows = Vec::new();
    let world = machine.now();
    for started in machine.pods() {
        let (Some(way), Some(source)) = (started.way_out(), world.workload(&uid(&started.pod))) else {
            continue;
        };
        let mut services: Vec<_> = world.services().collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        for service in services {
            if world.endpoints(&service.name).any(|endpoint| endpoint.uid == source.uid) {
                continue;
            }
            for port in &service.ports {
                let Some(ip) = service.addresses.first() else { continue };
                let at = SocketAddr::new(*ip, port.service);
                let expected = call::expected(&world, source, at);
                let mut tap = machine.mesh.tap();
                let called = call::call(&way, &service.name.hostname, at);
                let answered = tokio::time::timeout(LIMIT, called).await;
                let seen = match answered {
                    Ok(answer) => call::seen(&mut tap, &source.uid, &service.name.to_string(), answer).await,
                    Err(_) => Err(format!("no answer within {LIMIT:?}")),
                };
                let to = format!("{}:{}", service.short, port.service);
                rows.push(row(started.pod.name.clone(), to, &expected, seen));
            }
        }
    }
    for started in machine.pods() {
        let (tunnels, ports) = started.called_at();
        let (Some(tunnels), Some(workload)) = (tunnels, world.workload(&uid(&started.pod))) else { continue };
        // The workload's own identity: no policy has to be in the way of a stranger who claims that.
        let Ok(claims) = workload.identity() else { continue };
        for stranger in [Stranger::Nobody, Stranger::Elsewhere, Stranger::Plain] {
            let (good, outcome) = match stranger.call(&machine.network, tunnels, &claims).await {
                Ok(outcome) => (true, outcome),
                Err(outcome) => (false, outcome),
            };
            rows.push(Row { good, from: stranger.to_string(), to: started.pod.name.clone(), outcome });
        }
        for port in ports {
            let expected = around::expected(&world, workload, machine.network.outside(), port);
            let seen = around::call(machine, workload, port).await;
            let to = format!("{}:{}", started.pod.name, port.port());
            rows.push(row(Stranger::Plain.to_string(), to, &expected, seen));
        }
    }
    rows
}

fn row(from: String, to: String, (fate, why): &(Fate, String), seen: Result<Fate, String>) -> Row {
    let why = if why.is_empty() { String::new() } else { format!(", {why}") };
    let (good, outcome) = match seen {
        Ok(seen) if seen == *fate => (true, format!("{fate}{why}")),
        Ok(Fate::Refused(code)) => (false, format!("refused with {code}; expected: {fate}{why}")),
        Ok(seen) => (false, format!("{seen}; expected: {fate}{why}")),
        Err(said) => (false, format!("{said}; expected: {fate}{why}")),
    };
    Row { good, from, to, outcome }
}

/// The rows as a table, and their count.
pub fn table(rows: &[Row]) -> String {
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).len()).max().unwrap_or_default();
    let (from, to) = (width(|row| &row.from), width(|row| &row.to));
    let mut text = String::from("\n");
    for row in rows {
        let mark = if row.good { "ok" } else { "FAIL" };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{mark:<4}  {:<from$} -> {:<to$}  {}", row.from, row.to, row.outcome);
    }
    if rows.is_empty() {
        text.push_str("nothing is proven: no pod is in the mesh\n");
    }
    let failed = rows.iter().filter(|row| !row.good).count();
    let _ = writeln!(text, "\n{} ok, {failed} failed", rows.len() - failed);
    text
}
