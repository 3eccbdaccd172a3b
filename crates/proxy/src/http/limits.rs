//! Requests per time (nginx's `limit_req`, a leaky bucket) and requests at one time (`limit_conn`), by key.
//! Zones are shared by all workers and outlive reloads.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use model::snapshot;

use super::exchange::Exchange;
use super::site::Compile;
use super::text::Text;
use crate::upstream::health::now_ms;

#[cfg(test)]
mod tests;

/// Keys that one zone remembers; when it is full, the ones that are idle are forgotten, then any.
const MOST_KEYS: usize = 1 << 17;
const SHARDS: usize = 16;

/// A rate limit, compiled.
#[derive(Debug)]
pub struct RateLimit {
    key: Text,
    zone: Arc<Zone<Bucket>>,
    milli_per_second: u64,
    burst: u64,
    nodelay: bool,
    /// The status of a refusal.
    pub status: u16,
}

/// A limit on requests at one time, compiled.
#[derive(Debug)]
pub struct ConnectionLimit {
    key: Text,
    zone: Arc<Zone<u32>>,
    most: u32,
    /// The status of a refusal.
    pub status: u16,
}

/// What a zone keeps for each key, in shards so that workers rarely meet.
#[derive(Debug)]
pub struct Zone<T> {
    shards: [Mutex<HashMap<Box<str>, T>>; SHARDS],
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of requests above the rate.
    excess: u64,
    last: u64,
}

/// What a rate limit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Go on at once.
    Pass,
    /// Go on after this time.
    Delay(Duration),
    /// Too many.
    Refuse,
}

impl<T> Default for Zone<T> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl<T> Zone<T> {
    fn with<R>(&self, key: &str, work: impl FnOnce(&mut HashMap<Box<str>, T>) -> R) -> R {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        work(&mut self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Zones by kind and name, as long as some configuration uses them.
fn zone<T: Send + 'static>(table: &'static Zones<T>, name: &str) -> Arc<Zone<T>> {
    let mut table = table.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = table.get(name).and_then(Weak::upgrade) {
        return known;
    }
    let made = Arc::new(Zone::default());
    table.insert(name.to_owned(), Arc::downgrade(&made));
    made
}

type Zones<T> = OnceLock<Mutex<HashMap<String, Weak<Zone<T>>>>>;

static RATES: Zones<Bucket> = OnceLock::new();
static CONNECTIONS: Zones<u32> = OnceLock::new();

impl RateLimit {
    /// Compiles a limit.
    pub fn new(limit: &snapshot::RateLimit, compile: &mut Compile<'_, '_>) -> Self {
        Self {
            key: compile.text(&limit.key),
            zone: zone(&RATES, &limit.zone),
            milli_per_second: limit.milli_per_second.max(1),
            burst: u64::from(limit.burst) * 1000,
            nodelay: limit.nodelay,
            status: limit.status,
        }
    }

    /// Takes a request into account.
    pub fn take(&self, x: &Exchange) -> Rate {
        let key = self.key.expand(x);
        if key.is_empty() { Rate::Pass } else { self.take_at(&key, now_ms()) }
    }

    fn take_at(&self, key: &str, now: u64) -> Rate {
        let excess = self.zone.with(key, |buckets| {
            if let Some(bucket) = buckets.get_mut(key) {
                let leaked = now.saturating_sub(bucket.last).saturating_mul(self.milli_per_second) / 1000;
                let excess = (bucket.excess + 1000).saturating_sub(leaked);
                if excess > self.burst {
                    return None;
                }
                *bucket = Bucket { excess, last: now };
                return Some(excess);
            }
            if buckets.len() >= MOST_KEYS / SHARDS {
                buckets.retain(|_, bucket| now.saturating_sub(bucket.last) < 60_000);
                if buckets.len() >= MOST_KEYS / SHARDS {
                    buckets.clear();
                }
            }
            buckets.insert(key.into(), Bucket { excess: 0, last: now });
            Some(0)
        });
        match excess {
            None => Rate::Refuse,
            Some(0) => Rate::Pass,
            Some(_) if self.nodelay => Rate::Pass,
            Some(excess) => Rate::Delay(Duration::from_millis(excess * 1000 / self.milli_per_second)),
        }
    }
}

impl ConnectionLimit {
    /// Compiles a limit.
    pub fn new(limit: &snapshot::ConnectionLimit, compile: &mut Compile<'_, '_>) -> Self {
        Self {
            key: compile.text(&limit.key),
            zone: zone(&CONNECTIONS, &limit.zone),
            most: limit.most,
            status: limit.status,
        }
    }

    /// Takes a place until it is dropped; [`Full`] when none is left.
    pub fn take(&self, x: &Exchange) -> Result<Option<Place>, Full> {
        let key = self.key.expand(x);
        if key.is_empty() {
            return Ok(None);
        }
        let taken = self.zone.with(&key, |counts| {
            let count = counts.entry(key.as_ref().into()).or_insert(0);
            if *count >= self.most {
                return false;
            }
            *count += 1;
            true
        });
        if taken {
            Ok(Some(Place { zone: Arc::clone(&self.zone), key: key.as_ref().into() }))
        } else {
            Err(Full)
        }
    }
}

/// No place is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A place in a zone of `limit_conn`.
#[derive(Debug)]
pub struct Place {
    zone: Arc<Zone<u32>>,
    key: Box<str>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.zone.with(&self.key, |counts| {
            if let Some(count) = counts.get_mut(&self.key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&self.key);
                }
            }
        });
    }
}
