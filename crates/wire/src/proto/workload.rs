//! `istio.workload`: who is in the mesh.

use std::collections::BTreeMap;

pub use super::Extension;

/// The type of [`Address`] within an `Any`, and on the stream.
pub const ADDRESS_TYPE: &str = "type.googleapis.com/istio.workload.Address";

/// Something that has an address.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Address {
    /// What it is.
    #[prost(oneof = "AddressType", tags = "1, 2")]
    pub r#type: Option<AddressType>,
}

/// What has an address.
#[derive(Clone, PartialEq, ::prost::Oneof)]
#[allow(clippy::large_enum_variant)] // There are more workloads than services.
pub enum AddressType {
    /// A workload.
    #[prost(message, tag = "1")]
    Workload(Workload),
    /// A service.
    #[prost(message, tag = "2")]
    Service(Service),
}

/// A stable name for workloads.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Service {
    /// Its short name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// Its full name in the DNS.
    #[prost(string, tag = "3")]
    pub hostname: String,
    /// Its addresses.
    #[prost(message, repeated, tag = "4")]
    pub addresses: Vec<NetworkAddress>,
    /// Its ports.
    #[prost(message, repeated, tag = "5")]
    pub ports: Vec<Port>,
    /// Identities that its workloads may have beside their own.
    #[prost(string, repeated, tag = "6")]
    pub subject_alt_names: Vec<String>,
    /// What it is called through.
    #[prost(message, optional, tag = "7")]
    pub waypoint: Option<GatewayAddress>,
    /// Whom calls go to.
    #[prost(message, optional, tag = "8")]
    pub load_balancing: Option<LoadBalancing>,
    /// Of which families its addresses are.
    #[prost(enumeration = "IpFamilies", tag = "9")]
    pub ip_families: i32,
    /// What is not Istio's own.
    #[prost(message, repeated, tag = "10")]
    pub extensions: Vec<Extension>,
    /// Whether it is the one of its name that is meant.
    #[prost(bool, tag = "11")]
    pub canonical: bool,
    /// Whether gateways go through its waypoint as well.
    #[prost(bool, tag = "12")]
    pub ingress_use_waypoint: bool,
    /// What it is called through, by weight.
    #[prost(message, repeated, tag = "13")]
    pub weighted_waypoints: Vec<WeightedWaypoint>,
    /// Who sees it.
    #[prost(uint32, tag = "14")]
    pub visibility: u32,
}

/// Families of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum IpFamilies {
    /// Those that it has.
    Automatic = 0,
    /// IPv4.
    Ipv4Only = 1,
    /// IPv6.
    Ipv6Only = 2,
    /// Both.
    Dual = 3,
}

/// Whom calls go to.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct LoadBalancing {
    /// What endpoints should have in common with the caller, the most important first.
    #[prost(enumeration = "Scope", repeated, tag = "1")]
    pub routing_preference: Vec<i32>,
    /// What that means.
    #[prost(enumeration = "BalancingMode", tag = "2")]
    pub mode: i32,
    /// Whether unhealthy ones are called.
    #[prost(enumeration = "HealthPolicy", tag = "3")]
    pub health_policy: i32,
}

/// What an endpoint may have in common with its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum Scope {
    /// Said by nobody.
    Unspecified = 0,
    /// The region.
    Region = 1,
    /// The zone.
    Zone = 2,
    /// The part of the zone.
    Subzone = 3,
    /// The node.
    Node = 4,
    /// The cluster.
    Cluster = 5,
    /// The network.
    Network = 6,
}

/// How preferences count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum BalancingMode {
    /// Said by nobody.
    Unspecified = 0,
    /// Others are not called.
    Strict = 1,
    /// Others are called where there is nobody else.
    Failover = 2,
    /// The address that was called is.
    Passthrough = 3,
}

/// Whether unhealthy workloads are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum HealthPolicy {
    /// They are not.
    OnlyHealthy = 0,
    /// They are.
    AllowAll = 1,
}

/// A pod, or something like it.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Workload {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// Its addresses: four bytes, or sixteen.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub addresses: Vec<Vec<u8>>,
    /// The network that its addresses are of.
    #[prost(string, tag = "4")]
    pub network: String,
    /// How it is reached.
    #[prost(enumeration = "TunnelProtocol", tag = "5")]
    pub tunnel_protocol: i32,
    /// The trust domain of its identity; empty for that of the mesh.
    #[prost(string, tag = "6")]
    pub trust_domain: String,
    /// Its service account; empty for `default`.
    #[prost(string, tag = "7")]
    pub service_account: String,
    /// What it is called through.
    #[prost(message, optional, tag = "8")]
    pub waypoint: Option<GatewayAddress>,
    /// The node that it runs on.
    #[prost(string, tag = "9")]
    pub node: String,
    /// The name of its application.
    #[prost(string, tag = "10")]
    pub canonical_name: String,
    /// The version of its application.
    #[prost(string, tag = "11")]
    pub canonical_revision: String,
    /// What it belongs to.
    #[prost(enumeration = "WorkloadType", tag = "12")]
    pub workload_type: i32,
    /// The name of what it belongs to.
    #[prost(string, tag = "13")]
    pub workload_name: String,
    /// Whether it speaks HBONE itself.
    #[prost(bool, tag = "14")]
    pub native_tunnel: bool,
    /// Policies that select it, `namespace/name`.
    #[prost(string, repeated, tag = "16")]
    pub authorization_policies: Vec<String>,
    /// Whether it takes connections.
    #[prost(enumeration = "WorkloadStatus", tag = "17")]
    pub status: i32,
    /// The cluster that it runs in.
    #[prost(string, tag = "18")]
    pub cluster_id: String,
    /// What it is called through from other networks.
    #[prost(message, optional, tag = "19")]
    pub network_gateway: Option<GatewayAddress>,
    /// Its unique name.
    #[prost(string, tag = "20")]
    pub uid: String,
    /// A name in the DNS, where it has no address.
    #[prost(string, tag = "21")]
    pub hostname: String,
    /// The Services that lead to it, by `namespace/hostname`.
    #[prost(btree_map = "string, message", tag = "22")]
    pub services: BTreeMap<String, PortList>,
    /// How its application is told of the caller.
    #[prost(message, optional, tag = "23")]
    pub application_tunnel: Option<ApplicationTunnel>,
    /// Where it runs.
    #[prost(message, optional, tag = "24")]
    pub locality: Option<Locality>,
    /// Whether its address is its own.
    #[prost(enumeration = "NetworkMode", tag = "25")]
    pub network_mode: i32,
    /// What is not Istio's own.
    #[prost(message, repeated, tag = "26")]
    pub extensions: Vec<Extension>,
    /// How much of the calls it gets.
    #[prost(message, optional, tag = "27")]
    pub capacity: Option<u32>,
}

/// How a workload is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum TunnelProtocol {
    /// As it is.
    None = 0,
    /// By HBONE.
    Hbone = 1,
    /// By Istio's sidecar.
    LegacyIstioMtls = 2,
}

/// What a workload belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum WorkloadType {
    /// A Deployment.
    Deployment = 0,
    /// A CronJob.
    Cronjob = 1,
    /// Nothing: it is a pod by itself.
    Pod = 2,
    /// A Job.
    Job = 3,
}

/// Whether a workload takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum WorkloadStatus {
    /// It does.
    Healthy = 0,
    /// It does not.
    Unhealthy = 1,
}

/// Whether a workload's address is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum NetworkMode {
    /// It is.
    Standard = 0,
    /// It is the node's.
    HostNetwork = 1,
}

/// Ports.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct PortList {
    /// These.
    #[prost(message, repeated, tag = "1")]
    pub ports: Vec<Port>,
}

/// How a Service's port leads to a workload's.
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct Port {
    /// The Service's.
    #[prost(uint32, tag = "1")]
    pub service_port: u32,
    /// The workload's.
    #[prost(uint32, tag = "2")]
    pub target_port: u32,
    /// What is spoken there.
    #[prost(enumeration = "AppProtocol", tag = "3")]
    pub app_protocol: i32,
}

/// What an application speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum AppProtocol {
    /// Not declared.
    Unknown = 0,
    /// HTTP/1.1.
    Http11 = 1,
    /// HTTP/2.
    Http2 = 2,
    /// gRPC.
    Grpc = 3,
    /// Bytes.
    Tcp = 4,
    /// TLS of its own.
    Tls = 5,
}

/// Where something is.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Locality {
    /// The region.
    #[prost(string, tag = "1")]
    pub region: String,
    /// The zone.
    #[prost(string, tag = "2")]
    pub zone: String,
    /// The part of the zone.
    #[prost(string, tag = "3")]
    pub subzone: String,
}

/// An address of a network.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct NetworkAddress {
    /// The network.
    #[prost(string, tag = "1")]
    pub network: String,
    /// Four bytes, or sixteen.
    #[prost(bytes = "vec", tag = "2")]
    pub address: Vec<u8>,
    /// How many bits of it count; all where it is not said.
    #[prost(uint32, optional, tag = "3")]
    pub length: Option<u32>,
}

/// A Service's name.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct NamespacedHostname {
    /// Its namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Its full name in the DNS.
    #[prost(string, tag = "2")]
    pub hostname: String,
}

/// Where a gateway is.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct GatewayAddress {
    /// By name, or by address.
    #[prost(oneof = "Destination", tags = "1, 2")]
    pub destination: Option<Destination>,
    /// Its port for HBONE.
    #[prost(uint32, tag = "3")]
    pub hbone_mtls_port: u32,
}

/// How a gateway is named.
#[derive(Clone, PartialEq, ::prost::Oneof)]
pub enum Destination {
    /// By name.
    #[prost(message, tag = "1")]
    Hostname(NamespacedHostname),
    /// By address.
    #[prost(message, tag = "2")]
    Address(NetworkAddress),
}

/// A gateway and its share.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct WeightedWaypoint {
    /// The gateway.
    #[prost(message, optional, tag = "1")]
    pub destination: Option<GatewayAddress>,
    /// Its share.
    #[prost(uint32, tag = "2")]
    pub weight: u32,
}

/// How an application is told of its caller.
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct ApplicationTunnel {
    /// In which way.
    #[prost(enumeration = "TunnelKind", tag = "1")]
    pub protocol: i32,
    /// At which port.
    #[prost(uint32, tag = "2")]
    pub port: u32,
}

/// The ways of telling an application of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum TunnelKind {
    /// Not at all.
    Plain = 0,
    /// By the PROXY protocol.
    Proxy = 1,
}
