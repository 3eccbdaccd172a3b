//! Session tickets (RFC 8446, section 4.6.1; RFC 5077): sealed with AES-256-GCM under keys of one virtual host,
//! one client policy and one set of authorities and revocation lists. When any of these changes the keys are
//! others, and a client comes back with a full handshake (invariant 6). Keys rotate; a ticket also carries the
//! time until which what was verified holds, and is not accepted after it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::server::ProducesTickets;

use super::context;
use crate::authorize::now;
use crate::policy::sha256;

const NAME_LEN: usize = 16;
const UNTIL_LEN: usize = 8;

/// Seals and opens the tickets of one scope.
pub(crate) struct Tickets {
    scope: [u8; 32],
    lifetime: Duration,
    keys: RwLock<Keys>,
}

struct Keys {
    made: Instant,
    current: Key,
    previous: Option<Key>,
}

struct Key {
    name: [u8; NAME_LEN],
    key: LessSafeKey,
}

impl Key {
    fn new() -> Option<Self> {
        let (mut name, mut bytes) = ([0; NAME_LEN], zeroize::Zeroizing::new([0; 32]));
        aws_lc_rs::rand::fill(&mut name).ok()?;
        aws_lc_rs::rand::fill(&mut bytes[..]).ok()?;
        Some(Self { name, key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes[..]).ok()?) })
    }
}

impl Tickets {
    fn new(scope: [u8; 32], lifetime: Duration) -> Option<Self> {
        let keys = Keys { made: Instant::now(), current: Key::new()?, previous: None };
        Some(Self { scope, lifetime, keys: RwLock::new(keys) })
    }

    /// Makes a new key when the current one has served for half of a ticket's life. A key opens tickets for
    /// another half, so none is opened when it is older than its life.
    fn rotate(&self, age: Duration) {
        let half = self.lifetime / 2;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.made.elapsed() < half {
            return;
        }
        // Without randomness there is no new key, and no new ticket: see `encrypt`.
        let Some(fresh) = Key::new() else { return };
        let old = std::mem::replace(&mut keys.current, fresh);
        keys.previous = (age < self.lifetime).then_some(old);
        keys.made = Instant::now();
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Keys> {
        let age = self.keys.read().unwrap_or_else(PoisonError::into_inner).made.elapsed();
        if age >= self.lifetime / 2 {
            self.rotate(age);
        }
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX).min(7 * 86_400)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let until = context::note(|notes| notes.until).unwrap_or(i64::MAX);
        if until <= now() {
            return None;
        }
        let keys = self.read();
        if keys.made.elapsed() >= self.lifetime {
            return None;
        }
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(UNTIL_LEN + plain.len());
        sealed.extend_from_slice(&until.to_be_bytes());
        sealed.extend_from_slice(plain);
        keys.current
            .key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(self.scope), &mut sealed)
            .ok()?;
        let mut ticket = Vec::with_capacity(NAME_LEN + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&keys.current.name);
        ticket.extend_from_slice(&nonce);
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_LEN)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.read();
        let key = std::iter::once(&keys.current).chain(&keys.previous).find(|key| key.name == name)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = key.key.open_in_place(nonce, Aad::from(self.scope), &mut opened).ok()?;
        let (until, session) = plain.split_at_checked(UNTIL_LEN)?;
        let until = i64::from_be_bytes(until.try_into().ok()?);
        if until <= now() {
            return None;
        }
        context::note(|notes| notes.until = Some(until));
        Some(session.to_vec())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// The keys of all scopes: those whose content did not change survive a reload.
#[derive(Debug, Default)]
pub(crate) struct Ticketers(Mutex<HashMap<Scope, Weak<Tickets>>>);

/// The content of what tickets are bound to, and how long they live.
type Scope = ([u8; 32], Duration);

impl Ticketers {
    /// The tickets of a scope. None where the system has no randomness: then there are none.
    pub(crate) fn of(&self, scope: &[&[u8]], lifetime: Duration) -> Option<Arc<Tickets>> {
        let mut hash = Vec::new();
        for part in scope {
            hash.extend_from_slice(&(part.len() as u64).to_be_bytes());
            hash.extend_from_slice(part);
        }
        let scope = sha256([hash]);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, tickets| tickets.strong_count() > 0);
        if let Some(tickets) = all.get(&(scope, lifetime)).and_then(Weak::upgrade) {
            return Some(tickets);
        }
        let tickets = Arc::new(Tickets::new(scope, lifetime)?);
        all.insert((scope, lifetime), Arc::downgrade(&tickets));
        Some(tickets)
    }
}
