//! Kubernetes and Istio objects to the model of the mesh: workloads, services, policies and modes. Pure: lists of
//! objects go in, whether a cluster or a folder has them, and the same lists always give the same result.
//!
//! [`istio`] reads the objects that Istio's users write, [`modes`] says how securely a workload is called and calls,
//! [`mod@index`] puts everything together. What is not understood is a [`Problem`], and closes what it would apply to: it is
//! never ignored (invariant 5).

pub mod control;
mod endpoints;
pub mod index;
pub mod issue;
pub mod istio;
pub mod list;
pub mod live;
mod modes;
mod owner;
mod pods;
mod read;
pub mod watch;

#[cfg(test)]
mod api_server;
#[cfg(test)]
mod tests;

use std::fmt;

use model::codes::Code;
use model::identity::TrustDomain;

pub use index::{Index, Objects, index};
pub use istio::Custom;

/// What objects do not say themselves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace whose policies without a selector apply to the whole mesh.
    pub root_namespace: String,
    /// The trust domain of all identities.
    pub trust_domain: TrustDomain,
    /// The name of the cluster, as the uids of its workloads have it.
    pub cluster: String,
    /// The end of all names of Services.
    pub dns_domain: String,
    /// Whether a pod has to have been given its proxy to be reached through it, as in a cluster: one from before its
    /// namespace's label has none, and one that has it keeps it when the label is taken away. Else all pods have one.
    pub injected: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root_namespace: crate::names::SYSTEM_NAMESPACE.to_owned(),
            trust_domain: TrustDomain::default(),
            // Istio's own name for a cluster that was not given one.
            cluster: "Kubernetes".to_owned(),
            dns_domain: "cluster.local".to_owned(),
            injected: false,
        }
    }
}

/// A step from an object to one of its fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Of a mapping.
    Key(String),
    /// Of a list.
    Index(usize),
}

/// Where a field is: `spec.rules[0].to[0].operation.hosts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// The path of these keys.
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if key.contains(['.', '/']) => write!(f, "[{key:?}]")?,
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind of the object.
    pub kind: &'static str,
    /// Its namespace; empty for a Namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The field.
    pub path: Path,
    /// The entry of the table of codes.
    pub code: &'static Code,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Whether workloads refuse what they would otherwise do, until it is mended.
    pub closes: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, path, message, .. } = self;
        let slash = if namespace.is_empty() { "" } else { "/" };
        write!(f, "{kind} {namespace}{slash}{name}: {path}: {message}")
    }
}
