//! What NetworkPolicies say of one connection, from the policies that a cluster has: by whom it is stopped, and which
//! rules were looked at. Pure. Whether the cluster's network does what they say is another question, which `handfast kube
//! netpol test` answers.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::mesh::policy::Network;

use super::selects;

/// Which way a policy looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Connections from a pod.
    Egress,
    /// Connections to a pod.
    Ingress,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        })
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Its address.
    pub address: Option<IpAddr>,
    /// The pod that has it, where it is one's own.
    pub pod: Option<&'a Pod>,
}

/// A TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Who opens it.
    pub from: End<'a>,
    /// Who takes it.
    pub to: End<'a>,
    /// The port of the pod that takes it.
    pub port: u16,
}

/// What the policies of one way say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No policy selects the pod this way: everything is open.
    Unselected,
    /// A rule lets it pass.
    Allowed {
        /// The policy, `namespace/name`.
        policy: String,
        /// Which of its rules, from 0.
        rule: usize,
    },
    /// Policies select the pod, and none of their rules lets it pass.
    Blocked {
        /// The policies, `namespace/name`.
        policies: Vec<String>,
        /// How many rules they have.
        rules: usize,
    },
}

impl Verdict {
    /// Whether the connection goes on.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::Blocked { .. })
    }
}

/// What decides: all policies and namespaces of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The policies.
    pub policies: &'a [NetworkPolicy],
    /// The namespaces, by whose labels peers are selected.
    pub namespaces: &'a [Namespace],
}

impl Rules<'_> {
    /// What is said of a connection, one way.
    pub fn judge(&self, connection: &Connection<'_>, way: Way) -> Verdict {
        let (own, peer) = match way {
            Way::Egress => (connection.from, connection.to),
            Way::Ingress => (connection.to, connection.from),
        };
        // No policy holds for a pod in the node's network.
        let Some(pod) = own.pod.filter(|pod| !is_on_host(pod)) else { return Verdict::Unselected };
        let mut policies = Vec::new();
        let mut count = 0;
        for policy in self.policies.iter().filter(|policy| applies(policy, pod, way)) {
            let key = format!("{}/{}", namespace(&policy.metadata.namespace), name(&policy.metadata.name));
            let home = namespace(&policy.metadata.namespace);
            let spec = policy.spec.clone().unwrap_or_default();
            type One = (Option<Vec<NetworkPolicyPeer>>, Option<Vec<NetworkPolicyPort>>);
            let rules: Vec<One> = match way {
                Way::Egress => {
                    spec.egress.unwrap_or_default().into_iter().map(|rule| (rule.to, rule.ports)).collect()
                }
                Way::Ingress => {
                    spec.ingress.unwrap_or_default().into_iter().map(|rule| (rule.from, rule.ports)).collect()
                }
            };
            for (at, (peers, ports)) in rules.iter().enumerate() {
                // An empty list is as good as none: it asks for nothing.
                let peers = peers.as_deref().unwrap_or_default();
                let ports = ports.as_deref().unwrap_or_default();
                if (peers.is_empty() || peers.iter().any(|one| self.is_peer(one, home, peer)))
                    && (ports.is_empty() || ports.iter().any(|port| is_port(port, connection)))
                {
                    return Verdict::Allowed { policy: key, rule: at };
                }
            }
            count += rules.len();
            policies.push(key);
        }
        match policies.is_empty() {
            true => Verdict::Unselected,
            false => Verdict::Blocked { policies, rules: count },
        }
    }

    fn is_peer(&self, peer: &NetworkPolicyPeer, home: &str, end: End<'_>) -> bool {
        if let Some(block) = &peer.ip_block {
            return end.address.is_some_and(|address| is_within(block, address));
        }
        let Some(pod) = end.pod.filter(|pod| !is_on_host(pod)) else { return false };
        let place = namespace(&pod.metadata.namespace);
        let in_place = match &peer.namespace_selector {
            None => place == home,
            Some(selector) => self
                .namespaces
                .iter()
                .find(|namespace| namespace.metadata.name.as_deref() == Some(place))
                .is_some_and(|namespace| selects(selector, &labels(&namespace.metadata.labels))),
        };
        in_place
            && peer
                .pod_selector
                .as_ref()
                .is_none_or(|selector| selects(selector, &labels(&pod.metadata.labels)))
    }
}

fn applies(policy: &NetworkPolicy, pod: &Pod, way: Way) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let types = spec.policy_types.as_deref().unwrap_or_default();
    let looks = match (way, types.is_empty()) {
        // Without types: always ingress, and egress where it has rules for that.
        (Way::Ingress, true) => true,
        (Way::Egress, true) => spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
        (Way::Ingress, false) => types.iter().any(|of| of == "Ingress"),
        (Way::Egress, false) => types.iter().any(|of| of == "Egress"),
    };
    looks
        && namespace(&policy.metadata.namespace) == namespace(&pod.metadata.namespace)
        && spec.pod_selector.as_ref().is_none_or(|selector| selects(selector, &labels(&pod.metadata.labels)))
}

fn is_within(block: &IPBlock, address: IpAddr) -> bool {
    let contains = |text: &str| network(text).is_some_and(|network| network.contains(address));
    contains(&block.cidr) && !block.except.iter().flatten().any(|except| contains(except))
}

fn network(text: &str) -> Option<Network> {
    let (address, length) = text.split_once('/')?;
    Network::new(address.parse().ok()?, length.parse().ok()?)
}

/// A port by name is one of the pod that takes the connection.
fn is_port(port: &NetworkPolicyPort, connection: &Connection<'_>) -> bool {
    if port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
        return false;
    }
    let called = i32::from(connection.port);
    match (&port.port, port.end_port) {
        (None, _) => true,
        (Some(IntOrString::Int(number)), None) => *number == called,
        (Some(IntOrString::Int(first)), Some(last)) => (*first..=last).contains(&called),
        (Some(IntOrString::String(name)), _) => connection.to.pod.is_some_and(|pod| {
            let spec = pod.spec.as_ref();
            let containers = spec
                .into_iter()
                .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            ports.any(|own| own.name.as_ref() == Some(name) && own.container_port == called)
        }),
    }
}

fn is_on_host(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
}

fn labels(labels: &Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    labels.clone().unwrap_or_default()
}

fn namespace(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or("default")
}

fn name(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or_default()
}
