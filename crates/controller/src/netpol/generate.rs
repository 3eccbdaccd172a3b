//! From what is allowed to NetworkPolicies: allow rules for both ends of every edge, DNS, and then default-deny.
//!
//! The order is that of applying: a cut in the middle leaves too much allowed rather than a half-open application.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Allowed, Graph, Peer, Port, Protocol, Workload};

/// Field manager of what is applied.
pub const FIELD_MANAGER: &str = "handfast-netpol";
/// Label by which our policies are found again.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const MANAGED_BY: &str = "handfast-netpol";
/// Annotation of a policy: the workload that it is for.
pub const WORKLOAD_ANNOTATION: &str = "handfast.dev/workload";
/// Name of the policy that denies everything that no other one allows.
pub const DEFAULT_DENY: &str = "handfast-default-deny";
const ALLOW_DNS: &str = "handfast-allow-dns";
/// Label that the API server itself puts on every namespace.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// What differs from cluster to cluster.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Networks of the nodes, for network plugins that do not let the kubelet's probes through by themselves.
    pub nodes: Vec<String>,
}

/// A policy and why it exists, in lines for a comment.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The object.
    pub policy: NetworkPolicy,
    /// What it does, in words.
    pub comment: Vec<String>,
}

impl Policy {
    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.policy.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.policy.metadata.name.as_deref().unwrap_or_default()
    }
}

/// All policies, for every namespace that has a workload, in the order in which they are to be applied.
pub fn generate(graph: &Graph, options: &Options) -> Vec<Policy> {
    let workloads = &graph.objects.workloads;
    let mut policies = Vec::new();
    for (index, workload) in workloads.iter().enumerate() {
        let peer = Peer::Workload(index);
        let served: Vec<&Allowed> = graph.allowed.iter().filter(|edge| edge.server == peer).collect();
        let called: Vec<&Allowed> = graph.allowed.iter().filter(|edge| edge.client == peer).collect();
        let name = |direction: &str| policy_name(workloads, workload, direction);
        let probes = if options.nodes.is_empty() { BTreeSet::new() } else { workload.probe_ports.clone() };
        if !served.is_empty() || !probes.is_empty() {
            policies.push(ingress(graph, workload, &name("ingress"), &served, &probes, options));
        }
        if !called.is_empty() {
            policies.push(egress(graph, workload, &name("egress"), &called));
        }
    }
    let namespaces: BTreeSet<&str> = workloads.iter().map(|workload| workload.namespace.as_str()).collect();
    policies.extend(namespaces.iter().map(|namespace| dns(namespace)));
    policies.extend(namespaces.iter().map(|namespace| deny(namespace)));
    policies
}

fn ingress(
    graph: &Graph,
    workload: &Workload,
    name: &str,
    served: &[&Allowed],
    probes: &BTreeSet<u16>,
    options: &Options,
) -> Policy {
    let mut comment = vec![format!("{workload} is called by:")];
    let mut rules = Vec::new();
    for (ports, peers) in by_ports(served.iter().map(|edge| (&edge.client, edge.port))) {
        comment.push(sentence(graph, &peers, &ports));
        rules.push(NetworkPolicyIngressRule {
            from: Some(peers.iter().map(|peer| peer_of(graph, peer, &workload.namespace)).collect()),
            ports: Some(ports.iter().copied().map(port_of).collect()),
        });
    }
    if !probes.is_empty() {
        let ports: Vec<Port> =
            probes.iter().map(|&number| Port { protocol: Protocol::Tcp, number }).collect();
        comment.push(format!("the kubelets' probes, from {} -> {}", options.nodes.join(", "), list(&ports)));
        rules.push(NetworkPolicyIngressRule {
            from: Some(options.nodes.iter().map(|network| block(network)).collect()),
            ports: Some(ports.into_iter().map(port_of).collect()),
        });
    } else if !workload.probe_ports.is_empty() {
        comment.push(
            "Probes come from the node itself, which Kubernetes always lets reach its own pods.".to_owned(),
        );
        comment.push(
            "A network plugin that does not needs the nodes' addresses: --node-network CIDR.".to_owned(),
        );
    }
    let spec = NetworkPolicySpec {
        pod_selector: Some(workload.selector.clone()),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(rules),
        egress: None,
    };
    Policy { policy: object(&workload.namespace, name, Some(workload), spec), comment }
}

fn egress(graph: &Graph, workload: &Workload, name: &str, called: &[&Allowed]) -> Policy {
    let mut comment = vec![format!("{workload} calls:")];
    let mut rules = Vec::new();
    for (ports, peers) in by_ports(called.iter().map(|edge| (&edge.server, edge.port))) {
        comment.push(sentence(graph, &peers, &ports));
        rules.push(NetworkPolicyEgressRule {
            to: Some(peers.iter().map(|peer| peer_of(graph, peer, &workload.namespace)).collect()),
            ports: Some(ports.iter().copied().map(port_of).collect()),
        });
    }
    let spec = NetworkPolicySpec {
        pod_selector: Some(workload.selector.clone()),
        policy_types: Some(vec!["Egress".to_owned()]),
        ingress: None,
        egress: Some(rules),
    };
    Policy { policy: object(&workload.namespace, name, Some(workload), spec), comment }
}

fn dns(namespace: &str) -> Policy {
    let ports = [Protocol::Udp, Protocol::Tcp].map(|protocol| port_of(Port { protocol, number: 53 }));
    let labels = BTreeMap::from([("k8s-app".to_owned(), "kube-dns".to_owned())]);
    let to = NetworkPolicyPeer {
        ip_block: None,
        namespace_selector: Some(namespace_selector("kube-system")),
        pod_selector: Some(LabelSelector { match_labels: Some(labels), match_expressions: None }),
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(LabelSelector::default()),
        policy_types: Some(vec!["Egress".to_owned()]),
        ingress: None,
        egress: Some(vec![NetworkPolicyEgressRule { ports: Some(ports.to_vec()), to: Some(vec![to]) }]),
    };
    let comment = vec![
        "Every pod may resolve names, at the cluster's DNS and nowhere else.".to_owned(),
        "A cache on the node (169.254.20.10) needs a rule of its own.".to_owned(),
    ];
    Policy { policy: object(namespace, ALLOW_DNS, None, spec), comment }
}

fn deny(namespace: &str) -> Policy {
    let spec = NetworkPolicySpec {
        pod_selector: Some(LabelSelector::default()),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: None,
        egress: None,
    };
    let comment = vec![
        format!(
            "All else from and to all pods of {namespace} is denied. Applied last, so that the rules above"
        ),
        "are there when it takes effect.".to_owned(),
    ];
    Policy { policy: object(namespace, DEFAULT_DENY, None, spec), comment }
}

fn object(
    namespace: &str,
    name: &str,
    workload: Option<&Workload>,
    spec: NetworkPolicySpec,
) -> NetworkPolicy {
    let labels = BTreeMap::from([
        (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
        (crate::names::MANAGED_LABEL.to_owned(), "true".to_owned()),
    ]);
    let annotations = workload
        .map(|own| BTreeMap::from([(WORKLOAD_ANNOTATION.to_owned(), format!("{}/{}", own.kind, own.name))]));
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            annotations,
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    }
}

/// Peers with the same ports share a rule.
fn by_ports<'a>(edges: impl Iterator<Item = (&'a Peer, Port)>) -> BTreeMap<Vec<Port>, Vec<&'a Peer>> {
    let mut ports: BTreeMap<&Peer, BTreeSet<Port>> = BTreeMap::new();
    for (peer, port) in edges {
        ports.entry(peer).or_default().insert(port);
    }
    let mut rules: BTreeMap<Vec<Port>, Vec<&Peer>> = BTreeMap::new();
    for (peer, ports) in ports {
        rules.entry(ports.into_iter().collect()).or_default().push(peer);
    }
    rules
}

fn peer_of(graph: &Graph, peer: &Peer, namespace: &str) -> NetworkPolicyPeer {
    match peer {
        Peer::Network(network) => block(network),
        Peer::Workload(index) => {
            let workload = &graph.objects.workloads[*index];
            NetworkPolicyPeer {
                ip_block: None,
                // Without a namespaceSelector the peer is one of the policy's own namespace.
                namespace_selector: (workload.namespace != namespace)
                    .then(|| namespace_selector(&workload.namespace)),
                pod_selector: Some(workload.selector.clone()),
            }
        }
    }
}

fn namespace_selector(namespace: &str) -> LabelSelector {
    let labels = BTreeMap::from([(NAMESPACE_LABEL.to_owned(), namespace.to_owned())]);
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

fn block(network: &str) -> NetworkPolicyPeer {
    let ip_block = Some(IPBlock { cidr: network.to_owned(), except: None });
    NetworkPolicyPeer { ip_block, namespace_selector: None, pod_selector: None }
}

fn port_of(port: Port) -> NetworkPolicyPort {
    NetworkPolicyPort {
        end_port: None,
        port: Some(IntOrString::Int(port.number.into())),
        protocol: Some(port.protocol.as_str().to_owned()),
    }
}

fn sentence(graph: &Graph, peers: &[&Peer], ports: &[Port]) -> String {
    let peers: Vec<String> = peers
        .iter()
        .map(|peer| match peer {
            Peer::Network(network) => network.clone(),
            Peer::Workload(index) => graph.objects.workloads[*index].to_string(),
        })
        .collect();
    format!("{}, on {}", peers.join(", "), list(ports))
}

fn list(ports: &[Port]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn policy_name(workloads: &[Workload], workload: &Workload, direction: &str) -> String {
    let shared = workloads
        .iter()
        .filter(|other| other.namespace == workload.namespace && other.name == workload.name)
        .count();
    let own = match shared {
        0 | 1 => workload.name.clone(),
        _ => format!("{}-{}", workload.kind.to_ascii_lowercase(), workload.name),
    };
    let name = format!("handfast-{own}-{direction}");
    if name.len() <= 253 {
        return name;
    }
    // FNV-1a: a long name stays unique and the same from run to run.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{}-{hash:016x}", &name[..236])
}
