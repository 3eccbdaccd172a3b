//! The Services that lead to a workload. Most workloads have one, and a proxy knows thousands of workloads: a list takes a
//! tenth of what a tree takes for one entry.

use super::{Port, ServiceName};

/// Services, each once, in the order of their names, with the ports that lead to the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships(Vec<(ServiceName, Vec<Port>)>);

impl Memberships {
    /// The ports of a Service; what was there before is given back.
    pub fn insert(&mut self, name: ServiceName, mut ports: Vec<Port>) -> Option<Vec<Port>> {
        ports.shrink_to_fit();
        match self.position(&name) {
            Ok(at) => self.0.get_mut(at).map(|(_, known)| std::mem::replace(known, ports)),
            Err(at) => {
                // By one, not by four: few workloads are of a second Service.
                self.0.reserve_exact(1);
                self.0.insert(at, (name, ports));
                None
            }
        }
    }

    /// The ports of a Service, if it leads here.
    pub fn get(&self, name: &ServiceName) -> Option<&Vec<Port>> {
        let at = self.position(name).ok()?;
        self.0.get(at).map(|(_, ports)| ports)
    }

    /// The Services.
    pub fn keys(&self) -> impl Iterator<Item = &ServiceName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The ports of each.
    pub fn values(&self) -> impl Iterator<Item = &Vec<Port>> {
        self.0.iter().map(|(_, ports)| ports)
    }

    /// The Services, each with its ports.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceName, &Vec<Port>)> {
        self.0.iter().map(|(name, ports)| (name, ports))
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, name: &ServiceName) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(name))
    }
}

impl FromIterator<(ServiceName, Vec<Port>)> for Memberships {
    fn from_iter<I: IntoIterator<Item = (ServiceName, Vec<Port>)>>(all: I) -> Self {
        let mut memberships = Self::default();
        for (name, ports) in all {
            memberships.insert(name, ports);
        }
        memberships
    }
}

impl<const N: usize> From<[(ServiceName, Vec<Port>); N]> for Memberships {
    fn from(all: [(ServiceName, Vec<Port>); N]) -> Self {
        all.into_iter().collect()
    }
}
