//! Who calls in plain text, and who is called so, as far as this proxy has seen it: what would break if that were no
//! longer taken. Bounded, and made of nothing but addresses: the world says whose they are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::record::{Direction, Record, Secured};

/// Pairs that are remembered in one direction. When there are more, the one that was seen longest ago goes.
const MOST: usize = 1024;

/// One pair of addresses between which plain text went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Whose side this proxy is: inbound, its workload was called.
    pub direction: Direction,
    /// The workload that is carried: its uid.
    pub workload: String,
    /// Who called.
    pub source: IpAddr,
    /// Who was called: an address of the workload, or the destination's.
    pub destination: IpAddr,
    /// The port that was called.
    pub port: u16,
    /// The service that was called, where that is known.
    pub service: String,
    /// Why it was not secured.
    pub why: &'static str,
    /// How often.
    pub count: u64,
    /// When first.
    pub first: SystemTime,
    /// When last.
    pub last: SystemTime,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    inbound: bool,
    workload: String,
    source: IpAddr,
    destination: IpAddr,
    port: u16,
    why: &'static str,
}

/// What was seen so far.
#[derive(Default)]
pub(super) struct Seen {
    pairs: Mutex<Pairs>,
}

#[derive(Default)]
struct Pairs {
    known: HashMap<Key, Plain>,
    forgotten: u64,
}

impl Seen {
    /// Remembers a connection that was plain.
    pub(super) fn note(&self, record: &Record, now: SystemTime) {
        let (Secured::Plain(why), Some(destination)) = (record.secured, record.destination_address) else {
            return;
        };
        let key = Key {
            inbound: record.direction == Direction::Inbound,
            workload: record.workload.clone(),
            source: record.source_address.ip().to_canonical(),
            destination: destination.ip().to_canonical(),
            port: destination.port(),
            why,
        };
        let mut pairs = self.lock();
        if let Some(known) = pairs.known.get_mut(&key) {
            (known.count, known.last) = (known.count.saturating_add(1), now);
            return;
        }
        let same = |other: &Key| other.inbound == key.inbound;
        if pairs.known.keys().filter(|other| same(other)).count() >= MOST {
            let of_direction = pairs.known.iter().filter(|(other, _)| same(other));
            let oldest = of_direction.min_by_key(|(_, plain)| plain.last).map(|(oldest, _)| oldest.clone());
            if let Some(oldest) = oldest {
                pairs.known.remove(&oldest);
                pairs.forgotten += 1;
            }
        }
        let plain = Plain {
            direction: record.direction,
            workload: key.workload.clone(),
            source: key.source,
            destination: key.destination,
            port: key.port,
            service: record.service.clone(),
            why,
            count: 1,
            first: now,
            last: now,
        };
        pairs.known.insert(key, plain);
    }

    /// All pairs, the latest first; and how many were forgotten.
    pub(super) fn all(&self) -> (Vec<Plain>, u64) {
        let pairs = self.lock();
        let mut all: Vec<Plain> = pairs.known.values().cloned().collect();
        all.sort_by(|a, b| {
            (b.last, a.source, a.destination, a.port).cmp(&(a.last, b.source, b.destination, b.port))
        });
        (all, pairs.forgotten)
    }

    fn lock(&self) -> MutexGuard<'_, Pairs> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    fn record(direction: Direction, source: &str, secured: Secured) -> Record {
        let mut record = Record::new(direction, "c//Pod/shop/web", source.parse::<SocketAddr>().unwrap());
        record.destination_address = Some("10.0.0.9:80".parse().unwrap());
        record.secured = secured;
        record
    }

    #[test]
    fn a_plain_caller_is_one_entry_however_often_and_from_whichever_port_it_calls() {
        let seen = Seen::default();
        let at = SystemTime::UNIX_EPOCH;
        for n in 0..3 {
            let from = format!("10.0.0.1:{}", 4000 + n);
            let record = record(Direction::Inbound, &from, Secured::Plain("permissive"));
            seen.note(&record, at + Duration::from_secs(n));
        }
        seen.note(&record(Direction::Inbound, "10.0.0.2:1", Secured::Hbone), at);
        seen.note(&record(Direction::Inbound, "10.0.0.3:1", Secured::Refused), at);
        let (all, forgotten) = seen.all();
        assert_eq!((all.len(), forgotten), (1, 0));
        assert_eq!((all[0].count, all[0].port, all[0].why), (3, 80, "permissive"));
        assert_eq!((all[0].first, all[0].last), (at, at + Duration::from_secs(2)));
    }

    #[test]
    fn what_is_remembered_has_an_end_and_the_oldest_goes_first() {
        let seen = Seen::default();
        let most = u64::try_from(MOST).unwrap();
        for n in 0..most + 5 {
            let from = format!("10.1.{}.{}:1", n / 256, n % 256);
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(n);
            seen.note(&record(Direction::Inbound, &from, Secured::Plain("permissive")), at);
        }
        // The other direction has its own room.
        let outbound = record(Direction::Outbound, "10.0.0.9:1", Secured::Plain("destination_unknown"));
        seen.note(&outbound, SystemTime::UNIX_EPOCH);
        let (all, forgotten) = seen.all();
        assert_eq!((all.len(), forgotten), (MOST + 1, 5));
        assert!(!all.iter().any(|plain| plain.source.to_string() == "10.1.0.4"));
        assert!(all.iter().any(|plain| plain.source.to_string() == "10.1.0.5"));
    }
}
