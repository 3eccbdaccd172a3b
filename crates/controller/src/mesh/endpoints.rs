//! Services, and who is behind them: by EndpointSlices where a Service has any, else by its selector and the pods'
//! readiness.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::mesh::{AppProtocol, Port, Service, ServiceName, Workload};

use super::Options;
use super::index::Objects;
use super::owner::LATEST;
use super::pods::{Key, is_ready, key_of, name_of, namespace_of, shares_host};

/// The label by which a slice says whose it is.
const SLICE_OF: &str = "kubernetes.io/service-name";
/// Ports of protocols whose server speaks first; as in Istio, they count as TCP where nothing else is said.
const SERVER_FIRST: [i32; 4] = [25, 53, 3306, 27017];

/// What a pod is to a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Member {
    pub(super) ports: Vec<Port>,
    pub(super) ready: bool,
}

/// A pod's Services.
pub(super) type Members = BTreeMap<ServiceName, Member>;

/// All Services, and who is behind them.
#[derive(Default)]
pub(super) struct Endpoints {
    pub(super) services: Vec<Service>,
    /// By the pod.
    pub(super) pods: BTreeMap<Key, Members>,
    /// Endpoints that are no pods.
    pub(super) foreign: BTreeMap<String, Workload>,
}

/// Who is behind one Service.
#[derive(Debug, Default)]
pub(super) struct Behind {
    pub(super) members: BTreeMap<Key, Member>,
    /// Endpoints that are no pods, by their uids.
    pub(super) foreign: BTreeMap<String, Workload>,
}

/// A Service and its ports that are TCP.
pub(super) struct Known<'a> {
    object: &'a core::Service,
    spec: &'a core::ServiceSpec,
    pub(super) name: ServiceName,
    ports: Vec<(&'a core::ServicePort, Port)>,
}

/// Finds out who is behind what. `pods` are those that may run.
pub(super) fn endpoints(objects: &Objects, pods: &[&core::Pod], options: &Options) -> Endpoints {
    let mut found = Endpoints::default();
    let mut by_namespace: HashMap<&str, Vec<&core::Pod>> = HashMap::new();
    let mut by_address: HashMap<IpAddr, &core::Pod> = HashMap::new();
    for pod in pods {
        by_namespace.entry(namespace_of(&pod.metadata)).or_default().push(pod);
        for address in own_addresses(pod) {
            let owner = by_address.entry(address).or_insert(pod);
            *owner = std::cmp::max_by_key(*owner, *pod, |pod| claim(pod));
        }
    }
    let by_name: HashMap<Key, &core::Pod> = pods.iter().map(|pod| (key_of(&pod.metadata), *pod)).collect();
    let mut slices: HashMap<(&str, &str), Vec<&EndpointSlice>> = HashMap::new();
    for slice in &objects.endpoint_slices {
        if let Some(of) = service_of(slice) {
            slices.entry((namespace_of(&slice.metadata), of)).or_default().push(slice);
        }
    }
    for known in objects.services.iter().filter_map(|service| Known::of(service, options)) {
        found.services.push(known.service());
        let namespace = namespace_of(&known.object.metadata);
        let behind = match slices.get_mut(&(namespace, name_of(&known.object.metadata))) {
            None => {
                let pods = by_namespace.get(namespace).into_iter().flatten();
                let selected = pods.filter(|pod| known.selects(pod));
                let members = selected.map(|pod| (key_of(&pod.metadata), known.member(pod))).collect();
                Behind { members, ..Behind::default() }
            }
            Some(slices) => {
                slices.sort_by_key(|slice| name_of(&slice.metadata));
                known.listed(slices.iter().copied(), options, |listed| match listed {
                    Listed::Pod(key, uid) => {
                        by_name.get(&key).filter(|pod| is_of(pod, uid.as_deref())).map(|_| key)
                    }
                    Listed::Address(address) => by_address.get(&address).map(|pod| key_of(&pod.metadata)),
                })
            }
        };
        for (key, member) in behind.members {
            found.pods.entry(key).or_default().insert(known.name.clone(), member);
        }
        found.foreign.extend(behind.foreign);
    }
    found
}

/// The Service whose endpoints a slice lists, where they have addresses.
pub(super) fn service_of(slice: &EndpointSlice) -> Option<&str> {
    let of = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SLICE_OF));
    of.filter(|_| slice.address_type != "FQDN").map(String::as_str)
}

/// The addresses by which a pod alone is found.
pub(super) fn own_addresses(pod: &core::Pod) -> Vec<IpAddr> {
    if shares_host(pod) { Vec::new() } else { addresses(pod) }
}

/// Which of several pods an address is taken for, the highest: one that is not being ended, of these the youngest. It is
/// always the same one, whichever was heard of last.
pub(super) fn claim(pod: &core::Pod) -> impl Ord + use<> {
    let metadata = &pod.metadata;
    let made = metadata.creation_timestamp.as_ref().map(|time| time.0);
    (metadata.deletion_timestamp.is_none(), made, key_of(metadata))
}

/// Whether a pod has this uid, where one is asked for.
pub(super) fn is_of(pod: &core::Pod, uid: Option<&str>) -> bool {
    uid.is_none() || pod.metadata.uid.as_deref() == uid
}

/// What a slice says of one endpoint.
pub(super) enum Listed {
    /// It is the pod of this name; of this uid, where the slice says one: its successor of the same name is another.
    Pod(Key, Option<String>),
    /// It has this address.
    Address(IpAddr),
}

/// Nothing said means ready (EndpointConditions).
fn is_listed_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

/// An endpoint that is no pod. It counts as sharing another's network, so that its address is not taken for its own: who
/// may write EndpointSlices could otherwise put himself in the place of a Service.
fn foreign(slice: &EndpointSlice, address: IpAddr, options: &Options) -> Workload {
    let (namespace, name) = (namespace_of(&slice.metadata), name_of(&slice.metadata));
    Workload {
        uid: format!("{}/discovery.k8s.io/EndpointSlice/{namespace}/{name}/{address}", options.cluster),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        addresses: vec![address],
        trust_domain: options.trust_domain.clone(),
        host_network: true,
        workload_name: name.to_owned(),
        canonical_name: name.to_owned(),
        canonical_revision: LATEST.to_owned(),
        cluster: options.cluster.clone(),
        ..Workload::default()
    }
}

impl<'a> Known<'a> {
    pub(super) fn of(object: &'a core::Service, options: &Options) -> Option<Self> {
        let spec = object.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))?;
        let namespace = namespace_of(&object.metadata).to_owned();
        let hostname = format!("{}.{namespace}.svc.{}", name_of(&object.metadata), options.dns_domain);
        let ports = spec.ports.iter().flatten().filter_map(|port| Some((port, self::port(port)?))).collect();
        Some(Self { object, spec, name: ServiceName { namespace, hostname }, ports })
    }

    /// Who its slices list; `find` says which of the known pods that is.
    pub(super) fn listed<'s>(
        &self,
        slices: impl Iterator<Item = &'s EndpointSlice>,
        options: &Options,
        mut find: impl FnMut(Listed) -> Option<Key>,
    ) -> Behind {
        let mut behind = Behind::default();
        let namespace = namespace_of(&self.object.metadata);
        for slice in slices {
            for endpoint in slice.endpoints.iter().flatten() {
                // The addresses of one endpoint are as good as one another.
                let address = endpoint.addresses.first().and_then(|text| text.parse::<IpAddr>().ok());
                let Some(address) = address.map(|address| address.to_canonical()) else { continue };
                let target = endpoint.target_ref.as_ref();
                let target = target.filter(|target| target.kind.as_deref() == Some("Pod"));
                let listed = match target.and_then(|target| Some((target.name.as_deref()?, &target.uid))) {
                    Some((pod, uid)) => Listed::Pod((namespace.to_owned(), pod.to_owned()), uid.clone()),
                    None => Listed::Address(address),
                };
                let Some(pod) = find(listed) else {
                    // A pod that is not known yet, or not any more, is nobody else either.
                    if target.is_none() {
                        let workload = foreign(slice, address, options);
                        let workload = behind.foreign.entry(workload.uid.clone()).or_insert(workload);
                        workload.healthy |= is_listed_ready(endpoint);
                        workload.services.insert(self.name.clone(), self.ports_of(slice));
                    }
                    continue;
                };
                let member = behind.members.entry(pod).or_default();
                member.ready |= is_listed_ready(endpoint);
                for port in self.ports_of(slice) {
                    if !member.ports.contains(&port) {
                        member.ports.push(port);
                    }
                }
            }
        }
        behind
    }

    pub(super) fn service(&self) -> Service {
        let texts = self.spec.cluster_ips.iter().flatten().chain(&self.spec.cluster_ip);
        // Headless ones say "None".
        let mut addresses: Vec<IpAddr> = texts.filter_map(|text| text.parse().ok()).collect();
        let mut seen = Vec::new();
        addresses.retain(|address| {
            !seen.contains(address) && {
                seen.push(*address);
                true
            }
        });
        Service {
            name: self.name.clone(),
            short: name_of(&self.object.metadata).to_owned(),
            addresses,
            ports: self.ports.iter().map(|(_, port)| *port).collect(),
            subject_alt_names: Vec::new(),
        }
    }

    pub(super) fn selects(&self, pod: &core::Pod) -> bool {
        let selector = self.spec.selector.as_ref().filter(|selector| !selector.is_empty());
        let labels = pod.metadata.labels.as_ref();
        selector.is_some_and(|selector| {
            selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        })
    }

    pub(super) fn member(&self, pod: &core::Pod) -> Member {
        let ready = is_ready(pod) || self.spec.publish_not_ready_addresses == Some(true);
        let ports = self.ports.iter().filter_map(|(own, port)| {
            let target = match &own.target_port {
                Some(IntOrString::String(name)) => named_port(pod, name)?,
                _ => port.target,
            };
            Some(Port { target, ..*port })
        });
        Member { ports: ports.collect(), ready }
    }

    /// The ports of a slice are those of the Service by their names.
    fn ports_of(&self, slice: &EndpointSlice) -> Vec<Port> {
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let listed = |own: &core::ServicePort| {
            let ports = slice.ports.iter().flatten().filter(|port| is_tcp(port.protocol.as_deref()));
            ports.into_iter().find(|port| name(&port.name) == name(&own.name))
        };
        let ports = self.ports.iter().filter_map(|(own, port)| {
            Some(Port { target: u16::try_from(listed(own)?.port?).ok()?, ..*port })
        });
        ports.collect()
    }
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

/// A Service's port; the target is 0 where each workload has its own.
fn port(port: &core::ServicePort) -> Option<Port> {
    if !is_tcp(port.protocol.as_deref()) {
        return None;
    }
    let service = u16::try_from(port.port).ok()?;
    let target = match &port.target_port {
        None | Some(IntOrString::Int(0)) => service,
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok()?,
        Some(IntOrString::String(_)) => 0,
    };
    Some(Port { service, target, protocol: protocol(port) })
}

/// The number of a port that a container names; those of init containers count where they go on running.
fn named_port(pod: &core::Pod, name: &str) -> Option<u16> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let mut ports =
        spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|port| port.name.as_deref() == Some(name) && is_tcp(port.protocol.as_deref()))?;
    u16::try_from(port.container_port).ok()
}

/// What is spoken on a port: `appProtocol`, else the beginning of the port's name.
fn protocol(port: &core::ServicePort) -> AppProtocol {
    let named = match port.app_protocol.as_deref() {
        Some("kubernetes.io/h2c") => "http2",
        Some("kubernetes.io/ws") => "http",
        Some("kubernetes.io/wss") => "https",
        Some(other) => other,
        None => port.name.as_deref().unwrap_or_default(),
    };
    let named = named.to_ascii_lowercase();
    // It is neither gRPC nor plain HTTP/1.1.
    if named.starts_with("grpc-web") {
        return AppProtocol::Unknown;
    }
    match named.split('-').next().unwrap_or_default() {
        "http" => AppProtocol::Http11,
        "http2" => AppProtocol::Http2,
        "grpc" => AppProtocol::Grpc,
        "tls" | "https" => AppProtocol::Tls,
        "tcp" | "mysql" | "redis" | "mongo" => AppProtocol::Tcp,
        _ if SERVER_FIRST.contains(&port.port) => AppProtocol::Tcp,
        _ => AppProtocol::Unknown,
    }
}

/// A pod's addresses, as far as they are known.
pub(super) fn addresses(pod: &core::Pod) -> Vec<IpAddr> {
    let Some(status) = pod.status.as_ref() else { return Vec::new() };
    let listed = status.pod_ips.iter().flatten().map(|ip| &ip.ip);
    let mut all: Vec<IpAddr> = Vec::new();
    for text in listed.chain(&status.pod_ip) {
        if let Ok(address) = text.parse::<IpAddr>()
            && !all.contains(&address.to_canonical())
        {
            all.push(address.to_canonical());
        }
    }
    all
}
