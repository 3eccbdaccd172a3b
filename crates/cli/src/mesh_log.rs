//! One line of the access log for each connection of the mesh: who called whom, what it carried, how it was secured or
//! why not.

use proxy::mesh::{Record, Secured};

/// The target of these lines.
const TARGET: &str = "handfast::mesh";

/// Writes the line.
pub fn write(record: &Record) {
    let refused = record.code.is_some();
    let would_refuse = (!record.would_refuse.is_empty()).then(|| record.would_refuse.join("; "));
    let why = match record.secured {
        Secured::Plain(why) => Some(why),
        _ => None,
    };
    macro_rules! line {
        ($level:ident, $title:expr) => {
            tracing::$level!(
                target: TARGET,
                code = record.code.map(|code| code.id),
                direction = record.direction.as_str(),
                workload = record.workload,
                source = record.source,
                source_address = %record.source_address,
                destination = record.destination,
                destination_address = record.destination_address.map(tracing::field::display),
                service = record.service,
                secured = record.secured.as_str(),
                framing = (!record.framing.is_empty()).then_some(record.framing),
                not_secured_because = why,
                protocol = (!record.protocol.is_empty()).then_some(record.protocol),
                sent = record.sent,
                received = record.received,
                seconds = record.duration.as_secs_f64(),
                detail = record.detail,
                ending = (!record.ending.is_empty()).then_some(record.ending.as_str()),
                would_refuse,
                $title
            )
        };
    }
    if refused { line!(warn, "refused") } else { line!(info, "connection") }
}
