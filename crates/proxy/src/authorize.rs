//! The only gate: gathers the facts about a peer, asks [`model::policy`], and fails closed. TCP asks it once
//! per connection, HTTP for each request whose host or route has a client policy.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::codes::refusals;
use model::peer::Peer;
use model::policy::{ClientMode, Decision, evaluate};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::connection::{Connection, PolicyKey};
use crate::policy::{CompiledPolicy, Said};
use crate::refusal::{self, Facts};

/// What a policy says about a connection.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether it may pass.
    pub decision: Decision,
    /// The peer as this policy sees it: verified against its own authorities. Headers and variables of a
    /// route with a policy of its own are made from this one.
    pub peer: Option<Arc<Peer>>,
    /// Until when this holds, seconds since 1970.
    until: i64,
}

/// The verdicts on one connection. Few policies meet on one connection, so a list will do.
#[derive(Default)]
pub(crate) struct Decisions(Mutex<Vec<(PolicyKey, Arc<Verdict>)>>);

/// Asks whether this connection may do what the policy protects. The first refusal by each policy is logged
/// and counted here; further ones on the same connection are the same refusal.
pub fn request(connection: &Connection, policy: &CompiledPolicy) -> Arc<Verdict> {
    let now = now();
    let mut known = connection.decisions.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, verdict)) = known.iter().find(|(key, _)| *key == policy.key)
        && now <= verdict.until
    {
        return Arc::clone(verdict);
    }
    let verdict = Arc::new(judge(connection, policy, now));
    known.retain(|(key, _)| *key != policy.key);
    known.push((policy.key, Arc::clone(&verdict)));
    drop(known);
    if let Decision::Refuse(denial) = &verdict.decision {
        let facts = Facts::of(connection, &denial.what);
        refusal::handshake(&connection.listener, denial.code, &facts);
    }
    verdict
}

fn judge(connection: &Connection, policy: &CompiledPolicy, now: i64) -> Verdict {
    if policy.spec.mode == ClientMode::Off {
        return Verdict { decision: Decision::Allow, peer: None, until: i64::MAX };
    }
    let seen = connection.tls.as_ref().and_then(|tls| tls.peer.as_deref());
    let Some(seen) = seen else {
        return Verdict { decision: evaluate(&policy.spec, None), peer: None, until: i64::MAX };
    };
    let chain: Vec<CertificateDer<'_>> = seen.chain.iter().map(|der| der.as_slice().into()).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
    let (peer, until, said) = policy.peer(&chain, time);
    let mut decision = evaluate(&policy.spec, Some(&peer));
    match (said, &mut decision) {
        (Said::FailOpen(code), _) => note_fail_open(connection, code),
        // The sentence of the verification says more than the code's title.
        (Said::Why(what), Decision::Refuse(denial)) => {
            denial.what = what;
            let host = connection.tls.as_ref().and_then(|tls| tls.host);
            if denial.code == &refusals::UNKNOWN_ISSUER
                && connection.listener.is_believed_by_some_path(host, &chain, time)
            {
                denial.code = &refusals::CHAIN_UNTRUSTED_FOR_PATH;
            }
        }
        _ => {}
    }
    Verdict { decision, peer: Some(peer), until }
}

/// Each use of the choice to let clients in without knowing is logged.
fn note_fail_open(connection: &Connection, reason: &'static model::codes::Code) {
    let code = &model::codes::serving::FAIL_OPEN_USED;
    connection.listener.metrics.fail_open.inc();
    let peer = connection.tls.as_ref().and_then(|tls| tls.peer.as_deref());
    tracing::warn!(
        code = code.id,
        reason = reason.label,
        listener = &*connection.listener.name,
        peer = %connection.peer_addr,
        serial = peer.map(|peer| peer.serial.as_str()),
        issuer = peer.map(|peer| peer.issuer.as_str()),
        "{}",
        code.title
    );
}

/// The time, seconds since 1970. A clock before 1970 is 1970: everything is then not yet valid.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
