//! Leader election by a Lease, by the rules of Kubernetes' own components: a Lease of 15 seconds, renewed every
//! 2 seconds; who could not renew it for 10 seconds stops leading, which is 5 seconds before anybody else may begin.
//!
//! Clocks of different machines are never compared: whether a Lease has run out is judged by how long *this* process
//! has seen it unchanged. The Lease is written by compare-and-swap on its resourceVersion. The installer makes it, so
//! that the controller needs no right to create one.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;

use crate::error::{Error, Result, chain};
use crate::names::CONTROLLER;

#[cfg(test)]
mod tests;

/// How long a Lease lasts that is not renewed.
const LASTS: Duration = Duration::from_secs(15);
/// Who could not renew for so long stops leading.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two tries.
const RETRY: Duration = Duration::from_secs(2);

/// What this process has seen of the Lease.
#[derive(Clone, Debug)]
struct Seen {
    holder: String,
    /// Changes with every renewal.
    renewed: Option<Timestamp>,
    /// How long the holder promised to keep renewing.
    lasts: Duration,
    /// When this process saw it change last, by its own clock.
    at: Instant,
}

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    /// It is free, ours, or has run out.
    Take,
    /// Somebody else holds it.
    Wait,
}

impl Seen {
    /// Adds a new sight of the Lease to what was seen before.
    fn next(before: Option<&Self>, spec: Option<&LeaseSpec>, now: Instant) -> Self {
        let holder = spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        let renewed = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
        let lasts = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        let unchanged = before.filter(|seen| seen.holder == holder && seen.renewed == renewed);
        Self {
            at: unchanged.map_or(now, |seen| seen.at),
            // A Lease that promises a year is a mistake that must not stop everybody for a year.
            lasts: Duration::from_secs(u64::try_from(lasts).unwrap_or_default()).min(LASTS * 4),
            holder,
            renewed,
        }
    }

    fn what_now(&self, me: &str, now: Instant) -> Move {
        let over = now.saturating_duration_since(self.at) > self.lasts;
        if self.holder.is_empty() || self.holder == me || over { Move::Take } else { Move::Wait }
    }
}

/// The Lease, and what was seen of it.
pub struct Election {
    api: Api<Lease>,
    me: String,
    seen: Option<Seen>,
    /// When it was renewed last, by us.
    held: Option<Instant>,
    /// How far this clock is ahead of the API server's, in seconds.
    skew: Option<i64>,
}

impl Election {
    /// Takes part under a name that no other process has.
    pub fn new(client: Client, namespace: &str, me: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            me: me.to_owned(),
            seen: None,
            held: None,
            skew: None,
        }
    }

    /// Who holds it, as far as is known.
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref().map(|seen| seen.holder.as_str()).filter(|holder| !holder.is_empty())
    }

    /// How far this clock is ahead of the API server's, in seconds: it stamps each renewal.
    pub fn skew(&self) -> Option<i64> {
        self.skew
    }

    /// Waits until this process leads. `stands_by` is called whenever another one is seen to lead.
    pub async fn acquire(&mut self, stands_by: impl Fn()) {
        loop {
            match self.try_once().await {
                Ok(true) => return,
                Ok(false) => {
                    tracing::debug!(holder = self.holder(), "another controller leads");
                    stands_by();
                }
                // Somebody else was quicker.
                Err(Error::Conflict { .. }) => {}
                Err(error) => tracing::warn!("cannot take part in the election: {}", chain(&error)),
            }
            tokio::time::sleep(RETRY + jitter()).await;
        }
    }

    /// Renews until that fails for too long, somebody else holds the Lease, or `renewed` gives a reason to stop. Returns
    /// why.
    pub async fn hold(&mut self, mut renewed: impl FnMut(&Self) -> Option<String>) -> String {
        loop {
            tokio::time::sleep(RETRY).await;
            let since = self.held.map_or(RENEW_DEADLINE, |held| held.elapsed());
            let left = RENEW_DEADLINE.saturating_sub(since);
            match tokio::time::timeout(left, self.try_once()).await {
                Ok(Ok(true)) => {
                    if let Some(why) = renewed(self) {
                        return why;
                    }
                }
                Ok(Ok(false)) => return format!("{} holds the Lease", self.holder().unwrap_or("nobody")),
                Ok(Err(error)) => {
                    tracing::warn!("cannot renew the Lease: {}", chain(&error));
                    if self.held.is_none_or(|held| held.elapsed() >= RENEW_DEADLINE) {
                        return format!("the Lease could not be renewed in time: {}", chain(&error));
                    }
                }
                Err(_) => return "the Lease could not be renewed in time".to_owned(),
            }
        }
    }

    /// Gives the Lease back, so that another one need not wait.
    pub async fn release(&mut self) {
        if self.held.take().is_none() {
            return;
        }
        if let Ok(mut lease) = self.api.get(CONTROLLER).await
            && let Some(spec) = lease.spec.as_mut()
            && spec.holder_identity.as_deref() == Some(self.me.as_str())
        {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            // If it fails the Lease runs out by itself.
            let _ = self.api.replace(CONTROLLER, &PostParams::default(), &lease).await;
        }
    }

    /// Reads the Lease, and takes or renews it where that is due.
    async fn try_once(&mut self) -> Result<bool> {
        let begun = Instant::now();
        let mut lease = self.api.get(CONTROLLER).await.map_err(Error::api("read the Lease"))?;
        let seen = Seen::next(self.seen.as_ref(), lease.spec.as_ref(), Instant::now());
        let what = seen.what_now(&self.me, Instant::now());
        self.seen = Some(seen);
        if what == Move::Wait {
            return Ok(false);
        }
        let now = Timestamp::now();
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(self.me.as_str()) {
            spec.holder_identity = Some(self.me.clone());
            spec.acquire_time = Some(MicroTime(now));
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
        }
        spec.lease_duration_seconds = Some(LASTS.as_secs() as i32);
        spec.renew_time = Some(MicroTime(now));
        let params = PostParams { field_manager: Some(CONTROLLER.to_owned()), ..PostParams::default() };
        let written =
            self.api.replace(CONTROLLER, &params, &lease).await.map_err(Error::api("write the Lease"))?;
        // Counted from before the request: the API server may have taken it long before it answered.
        self.held = Some(begun);
        self.seen = Some(Seen::next(self.seen.as_ref(), written.spec.as_ref(), begun));
        self.skew = stamp(&written).map(|server| now.as_second() - server.as_second());
        Ok(true)
    }
}

/// When the API server wrote our fields, by its own clock.
fn stamp(lease: &Lease) -> Option<Timestamp> {
    let entries = lease.metadata.managed_fields.as_ref()?;
    let ours = entries.iter().filter(|entry| entry.manager.as_deref() == Some(CONTROLLER));
    ours.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}

/// Up to half a second, so that several who wait do not ask at the same moments.
fn jitter() -> Duration {
    Duration::from_millis(u64::from(rand::random::<u16>()) % 500)
}
