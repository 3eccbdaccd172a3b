//! What is said of connections: each one is a line in the log, and on the terminal each caller and service once, and
//! again when what becomes of them changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use proxy::mesh::{Direction, Record, Secured};

use crate::mesh_log;

/// Pairs of caller and called that are remembered.
const REMEMBERED: usize = 10_000;

/// Who called whom so far, and what became of it.
#[derive(Default)]
pub struct Report {
    said: Mutex<HashMap<(String, String), String>>,
    speaks: AtomicBool,
}

impl Report {
    /// From now on the terminal is told.
    pub fn begin(&self) {
        self.speaks.store(true, Ordering::Relaxed);
    }

    /// Takes a record.
    pub fn take(&self, record: &Record) {
        mesh_log::write(record);
        if !self.speaks.load(Ordering::Relaxed) {
            return;
        }
        let Some((caller, called, verdict)) = verdict(record) else { return };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (caller, called);
        if said.get(&key) == Some(&verdict) {
            return;
        }
        super::output::say(&format!("{} -> {}  {verdict}", key.0, key.1));
        // Names and addresses come from callers: what is remembered of them has an end.
        if said.len() < REMEMBERED {
            said.insert(key, verdict);
        }
    }
}

/// Where the called side decides, it says it; the caller's side says the rest.
fn verdict(record: &Record) -> Option<(String, String, String)> {
    let short = |identity: &str| {
        identity.rsplit_once("/ns/").map_or(identity, |(_, rest)| rest).replacen("/sa/", "/", 1)
    };
    let caller = match record.source.as_str() {
        "" => record.source_address.ip().to_string(),
        identity => short(identity),
    };
    let port = record.destination_address.map(|address| address.port());
    let called = match (record.destination.as_str(), record.service.as_str(), record.destination_address) {
        ("", "", Some(address)) => return Some((caller, address.to_string(), outcome(record)?)),
        ("", name, _) => name.to_owned(),
        (identity, ..) => short(identity),
    };
    let called = port.map_or_else(|| called.clone(), |port| format!("{called}:{port}"));
    Some((caller, called, outcome(record)?))
}

fn outcome(record: &Record) -> Option<String> {
    use model::codes::mesh as codes;
    match (record.direction, record.code) {
        // The other side has said why.
        (Direction::Outbound, Some(code))
            if code == &codes::PEER_REFUSED || code == &codes::APPLICATION_UNREACHABLE =>
        {
            None
        }
        (_, Some(code)) => Some(format!("refused[{}]: {}: {}", code.id, code.title, record.detail)),
        (Direction::Inbound, None) => Some(format!("mutual TLS, {}", record.detail)),
        (Direction::Outbound, None) => match record.secured {
            Secured::Plain(why) => Some(format!("plain text: {}", why.replace('_', " "))),
            _ => None,
        },
    }
}
