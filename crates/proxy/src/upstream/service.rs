//! A service and its endpoints while they serve: counters, health, the balancer. State outlives a reload as
//! long as the service is described in the same words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::snapshot::{Endpoint, PassiveHealth, Service};

use super::health::{Health, now_ms};
use super::pool::Place;
use super::retry::RetryBudget;
use super::{Connector, Target};
use crate::balance::{Balancer, Key};
use crate::connection::Connection;
use crate::error::Error;
use crate::state::Assembly;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A service: endpoints and how they are spoken to.
#[derive(Debug)]
pub struct ServiceState {
    /// Its name in the snapshot.
    pub name: Arc<str>,
    /// What the snapshot says of it.
    pub spec: Service,
    /// How connections to it are made.
    pub connector: Arc<Connector>,
    /// Its endpoints.
    pub endpoints: Vec<Arc<EndpointState>>,
    /// Chooses one of them.
    pub balancer: Balancer,
    /// How many retries it may take.
    pub budget: RetryBudget,
    generation: u64,
}

impl ServiceState {
    /// Assembles all services of a snapshot. Endpoints that were there before keep their counters and health.
    ///
    /// # Errors
    ///
    /// An [`Error`] when a file is missing or wrong, or an address cannot be understood.
    pub fn assemble(
        assembly: &mut Assembly<'_>,
        before: &BTreeMap<String, Arc<Self>>,
    ) -> Result<BTreeMap<String, Arc<Self>>, Error> {
        let snapshot = Arc::clone(assembly.snapshot);
        let mut services = BTreeMap::new();
        for (name, spec) in &snapshot.services {
            let connector = Arc::new(Connector::new(name, spec, assembly)?);
            let old = before.get(name);
            // Connections are kept by endpoint and generation. Plain ones outlive a reload; those over TLS were
            // made under certificates and authorities that may have changed since.
            let same_kind = |old: &&Arc<Self>| {
                spec.tls.is_none() && old.spec.tls.is_none() && old.spec.protocol == spec.protocol
            };
            let generation = match old.filter(same_kind) {
                Some(old) => old.generation,
                None => NEXT_ID.fetch_add(1, Relaxed),
            };
            let mut endpoints = Vec::new();
            for endpoint in &spec.endpoints {
                let same = old.filter(|old| old.spec.passive_health == spec.passive_health);
                let known = same.and_then(|old| old.endpoints.iter().find(|known| known.spec == *endpoint));
                endpoints.push(match known {
                    Some(known) => Arc::clone(known),
                    None => Arc::new(EndpointState::new(endpoint, &spec.passive_health)?),
                });
            }
            let state = Self {
                name: name.as_str().into(),
                balancer: Balancer::new(&spec.balance, &endpoints),
                spec: spec.clone(),
                connector,
                endpoints,
                budget: RetryBudget::default(),
                generation,
            };
            services.insert(name.clone(), Arc::new(state));
        }
        Ok(services)
    }

    /// An endpoint for a connection that is not looked into; `tried` are those that failed it already.
    pub fn endpoint_for_stream(
        &self,
        connection: &Connection,
        tried: &[Arc<EndpointState>],
    ) -> Option<Arc<EndpointState>> {
        let address = connection.peer_addr.ip();
        let text = address.map(|ip| ip.to_string()).unwrap_or_default();
        let tried: Vec<usize> = (0..self.endpoints.len())
            .filter(|n| tried.iter().any(|tried| Arc::ptr_eq(tried, &self.endpoints[*n])))
            .collect();
        let picked = self.balancer.pick(&self.endpoints, Key { address, text: &text }, &tried)?;
        self.endpoints.get(picked).map(Arc::clone)
    }

    /// Where connections to an endpoint wait. A PROXY protocol header binds a connection to one client, so
    /// such connections are never kept for another.
    pub fn place(&self, endpoint: &EndpointState) -> Place {
        let most = if self.spec.proxy_protocol.is_some() { 0 } else { self.spec.pool.idle };
        Place { key: (endpoint.id, self.generation), most, timeout: self.spec.pool.idle_timeout.0 }
    }

    /// Notes that a request on an endpoint failed.
    pub fn failed(&self, endpoint: &EndpointState) {
        if endpoint.health.failed(now_ms(), endpoint.max_fails, endpoint.fail_timeout) {
            tracing::warn!(
                service = &*self.name,
                endpoint = &*endpoint.address,
                "endpoint left out for {:?} after {} failures",
                endpoint.fail_timeout,
                endpoint.max_fails
            );
        }
    }
}

/// One endpoint while it serves.
#[derive(Debug)]
pub struct EndpointState {
    /// Unique in this process; pools are kept by it.
    pub id: u64,
    /// What the snapshot says of it.
    pub spec: Endpoint,
    /// Where it is.
    pub target: Target,
    /// As it was written: `host:port`, `[::1]:port` or `unix:/path`.
    pub address: Arc<str>,
    /// Share of the traffic.
    pub weight: u32,
    /// Used only where no other is left.
    pub backup: bool,
    /// Never used.
    pub down: bool,
    /// Connections at one time; 0 for no limit.
    pub max_connections: u32,
    /// Failures until it is left out.
    pub max_fails: u32,
    /// How long failures count, and how long it is left out.
    pub fail_timeout: Duration,
    /// What is known of its health.
    pub health: Health,
    requests: AtomicU32,
    connections: AtomicU32,
}

impl EndpointState {
    /// An endpoint that has not been used yet.
    ///
    /// # Errors
    ///
    /// When its address cannot be understood.
    pub fn new(endpoint: &Endpoint, passive: &PassiveHealth) -> Result<Self, Error> {
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            spec: endpoint.clone(),
            target: Target::parse(&endpoint.address)?,
            address: endpoint.address.as_str().into(),
            weight: endpoint.weight.max(1),
            backup: endpoint.backup,
            down: endpoint.down || endpoint.weight == 0,
            max_connections: endpoint.max_connections,
            max_fails: endpoint.max_fails.unwrap_or(passive.max_fails),
            fail_timeout: endpoint.fail_timeout.unwrap_or(passive.fail_timeout).0,
            health: Health::default(),
            requests: AtomicU32::new(0),
            connections: AtomicU32::new(0),
        })
    }

    /// Whether it may be chosen. `lone`: it is the only one, so that failures do not leave it out.
    pub fn is_usable(&self, now: u64, lone: bool) -> bool {
        !self.down
            && (self.health.is_usable(now) || (lone && !self.health.is_ill()))
            && (self.max_connections == 0 || self.requests() < self.max_connections)
    }

    /// Requests (or TCP connections) under way.
    pub fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    /// Connections that are open to it, busy or idle.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Counts a request (or TCP connection) until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Relaxed);
        Busy(Arc::clone(self))
    }

    /// Counts an open connection until the guard is dropped.
    pub fn opened(self: &Arc<Self>) -> Open {
        self.connections.fetch_add(1, Relaxed);
        Open(Arc::clone(self))
    }

    /// What a further request would cost, for the power of two choices.
    pub fn cost(&self) -> u64 {
        // An endpoint without a sample is tried before those known to be slow.
        let latency = self.health.latency_us().max(1);
        latency.saturating_mul(u64::from(self.requests()) + 1) / u64::from(self.weight)
    }
}

/// A request under way.
#[derive(Debug)]
pub struct Busy(Arc<EndpointState>);

impl Busy {
    /// The endpoint that is busy.
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Open(Arc<EndpointState>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
