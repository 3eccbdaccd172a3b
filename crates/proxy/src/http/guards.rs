//! Who may use a route: its client policy, address rules and password. A route inside of another is behind the
//! same guards, unless it has a guard of that kind of its own: what is locked outside is locked inside.

use std::collections::HashMap;

use model::policy::ClientPolicy;
use model::snapshot::{AddressRule, BasicAuth, Route};

/// The guards of one route, its own and those around it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guard<'a> {
    /// The client policy in force; none: the host's.
    pub clients: Option<&'a ClientPolicy>,
    /// Address rules.
    pub addresses: &'a [AddressRule],
    /// User and password.
    pub auth: Option<&'a BasicAuth>,
}

/// The guards of all routes of a host.
#[derive(Debug, Default)]
pub struct Guards<'a>(HashMap<*const Route, Guard<'a>>);

impl<'a> Guards<'a> {
    /// Gathers them.
    pub fn of(routes: &'a [Route]) -> Self {
        let mut guards = Self::default();
        guards.gather(routes, Guard::default());
        guards
    }

    /// The guards of one of those routes.
    pub fn around(&self, route: &Route) -> Guard<'a> {
        self.0.get(&std::ptr::from_ref(route)).copied().unwrap_or_default()
    }

    fn gather(&mut self, routes: &'a [Route], outer: Guard<'a>) {
        for route in routes {
            let guard = Guard {
                clients: route.clients.as_ref().or(outer.clients),
                addresses: if route.addresses.is_empty() { outer.addresses } else { &route.addresses },
                auth: route.basic_auth.as_ref().or(outer.auth),
            };
            self.0.insert(std::ptr::from_ref(route), guard);
            self.gather(&route.routes, guard);
        }
    }
}
