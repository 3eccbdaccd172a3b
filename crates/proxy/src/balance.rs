//! Chooses an endpoint of a service. Nothing here locks: workers share counters only.
//! Round robin, IP hash and hash follow nginx's own arithmetic, so that a cache behind a moved configuration
//! keeps its keys.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use model::snapshot::Balance;
use rand::Rng as _;

use crate::upstream::health::now_ms;
use crate::upstream::service::EndpointState;

mod crc;
#[cfg(test)]
mod tests;

/// How a service chooses; made once per configuration.
#[derive(Debug)]
pub struct Balancer {
    method: Balance,
    /// Order of turns by smooth weighted round robin, of the primary and of the backup endpoints.
    turns: [Vec<u16>; 2],
    next: AtomicUsize,
    /// Points of the consistent hash, sorted.
    ring: Vec<(u32, u16)>,
}

/// What a request brings for choosing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Key<'a> {
    /// The client's address (`ip-hash`).
    pub address: Option<IpAddr>,
    /// The key's value (`hash`).
    pub text: &'a str,
}

/// Longest order of turns that is kept; larger weights are scaled down to it.
const MOST_TURNS: u32 = 4096;

impl Balancer {
    /// Prepares a method for these endpoints.
    pub fn new(method: &Balance, endpoints: &[std::sync::Arc<EndpointState>]) -> Self {
        let turns = [false, true].map(|backup| {
            let group: Vec<(u16, u32)> = endpoints
                .iter()
                .enumerate()
                .filter(|(_, e)| e.backup == backup)
                .map(|(n, e)| (u16::try_from(n).unwrap_or(u16::MAX), e.weight.max(1)))
                .collect();
            smooth_turns(&group)
        });
        let ring = match method {
            Balance::Hash { consistent: true, .. } => crc::ring(endpoints),
            _ => Vec::new(),
        };
        Self { method: method.clone(), turns, next: AtomicUsize::new(0), ring }
    }

    /// The endpoint to use, beside those in `tried`. Backups are used when no primary can be.
    pub fn pick(
        &self,
        endpoints: &[std::sync::Arc<EndpointState>],
        key: Key<'_>,
        tried: &[usize],
    ) -> Option<usize> {
        let now = now_ms();
        // An only endpoint is never left out for its failures: there is nothing better to do (as nginx).
        let lone = endpoints.len() == 1;
        let usable = |n: usize| !tried.contains(&n) && endpoints[n].is_usable(now, lone);
        if let [turn] = self.turns[0].as_slice()
            && lone
        {
            return usable(usize::from(*turn)).then_some(usize::from(*turn));
        }
        self.pick_in(&self.turns[0], endpoints, key, &usable)
            .or_else(|| self.in_turn(&self.turns[1], &usable))
    }

    fn pick_in(
        &self,
        turns: &[u16],
        endpoints: &[std::sync::Arc<EndpointState>],
        key: Key<'_>,
        usable: &impl Fn(usize) -> bool,
    ) -> Option<usize> {
        match &self.method {
            Balance::RoundRobin => self.in_turn(turns, usable),
            Balance::LeastRequests => {
                let start = self.next.fetch_add(1, Relaxed);
                rotated(endpoints.len(), start).filter(|n| !endpoints[*n].backup && usable(*n)).min_by(
                    |a, b| {
                        let load = |n: usize, other: usize| {
                            u64::from(endpoints[n].requests()) * u64::from(endpoints[other].weight.max(1))
                        };
                        load(*a, *b).cmp(&load(*b, *a))
                    },
                )
            }
            Balance::P2cEwma => {
                let one = self.at_random(turns, usable)?;
                let two = self.at_random(turns, &|n| n != one && usable(n)).unwrap_or(one);
                Some(if endpoints[two].cost() < endpoints[one].cost() { two } else { one })
            }
            Balance::Random => self.at_random(turns, usable),
            Balance::IpHash => {
                crc::by_address(key.address, endpoints, usable).or_else(|| self.in_turn(turns, usable))
            }
            Balance::Hash { consistent: false, .. } => {
                crc::by_key(key.text, endpoints, usable).or_else(|| self.in_turn(turns, usable))
            }
            Balance::Hash { consistent: true, .. } => crc::on_ring(&self.ring, key.text, usable),
        }
    }

    fn in_turn(&self, turns: &[u16], usable: &impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.next.fetch_add(1, Relaxed);
        rotated(turns.len(), start).map(|at| usize::from(turns[at])).find(|n| usable(*n))
    }

    fn at_random(&self, turns: &[u16], usable: &impl Fn(usize) -> bool) -> Option<usize> {
        if turns.is_empty() {
            return None;
        }
        // A few draws by weight; then whatever is usable.
        let mut random = rand::rng();
        for _ in 0..8 {
            let drawn = usize::from(turns[random.random_range(0..turns.len())]);
            if usable(drawn) {
                return Some(drawn);
            }
        }
        rotated(turns.len(), random.random_range(0..turns.len()))
            .map(|at| usize::from(turns[at]))
            .find(|n| usable(*n))
    }
}

fn rotated(length: usize, start: usize) -> impl Iterator<Item = usize> {
    (0..length).map(move |step| (start.wrapping_add(step)) % length)
}

/// nginx's smooth weighted round robin, written out for one whole period.
fn smooth_turns(group: &[(u16, u32)]) -> Vec<u16> {
    let divisor = group.iter().fold(0, |d, (_, weight)| gcd(d, *weight)).max(1);
    let total: u64 = group.iter().map(|(_, weight)| u64::from(weight / divisor)).sum();
    let scale = total.div_ceil(u64::from(MOST_TURNS)).max(1);
    let weights: Vec<i64> =
        group.iter().map(|(_, weight)| (u64::from(weight / divisor) / scale).max(1).cast_signed()).collect();
    let total: i64 = weights.iter().sum();
    let mut current = vec![0i64; group.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        let mut best = 0;
        for n in 0..group.len() {
            current[n] += weights[n];
            if current[n] > current[best] {
                best = n;
            }
        }
        current[best] -= total;
        turns.push(group[best].0);
    }
    turns
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
