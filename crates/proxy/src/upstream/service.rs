//! A service and its endpoints as the proxy keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::snapshot::{Endpoint, Service};

use super::{Connector, Target};
use crate::connection::Connection;
use crate::error::Error;
use crate::state::Assembly;

/// A service: endpoints and how they are spoken to.
pub struct ServiceState {
    /// Its name in the snapshot.
    pub name: Arc<str>,
    /// What the snapshot says of it.
    pub spec: Service,
    /// How connections to it are made.
    pub connector: Arc<Connector>,
    /// Its endpoints.
    pub endpoints: Vec<Arc<EndpointState>>,
    next: AtomicUsize,
}

/// One endpoint of a service.
pub struct EndpointState {
    /// What the snapshot says of it.
    pub spec: Endpoint,
    /// Where it is.
    pub target: Target,
}

impl ServiceState {
    /// Assembles all services of a snapshot.
    ///
    /// # Errors
    ///
    /// An [`Error`] when a file is missing or wrong, or an address cannot be understood.
    pub fn assemble(
        assembly: &mut Assembly<'_>,
        _before: &BTreeMap<String, Arc<Self>>,
    ) -> Result<BTreeMap<String, Arc<Self>>, Error> {
        let snapshot = Arc::clone(assembly.snapshot);
        let mut services = BTreeMap::new();
        for (name, spec) in &snapshot.services {
            let connector = Arc::new(Connector::new(name, spec, assembly)?);
            let mut endpoints = Vec::new();
            for endpoint in &spec.endpoints {
                let target = Target::parse(&endpoint.address)?;
                endpoints.push(Arc::new(EndpointState { spec: endpoint.clone(), target }));
            }
            let state = Self {
                name: name.as_str().into(),
                spec: spec.clone(),
                connector,
                endpoints,
                next: AtomicUsize::new(0),
            };
            services.insert(name.clone(), Arc::new(state));
        }
        Ok(services)
    }

    /// An endpoint for a connection that is not looked into; `tried` are those that failed it already.
    pub fn endpoint_for_stream(
        &self,
        _connection: &Connection,
        tried: &[Arc<EndpointState>],
    ) -> Option<Arc<EndpointState>> {
        let untried = |endpoint: &&Arc<EndpointState>| {
            !endpoint.spec.down && !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint))
        };
        let usable: Vec<_> = self.endpoints.iter().filter(untried).collect();
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        usable.get(next.checked_rem(usable.len())?).map(|endpoint| Arc::clone(endpoint))
    }
}
