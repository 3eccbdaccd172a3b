//! `envoy.service.discovery.v3`: resources and their changes on one stream.

use std::collections::BTreeMap;

use super::Any;

/// The path of `DeltaAggregatedResources`.
pub const DELTA_AGGREGATED_RESOURCES: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// What a proxy asks for, and what it says to an answer.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct DeltaDiscoveryRequest {
    /// Who asks; with the first request of a stream.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// The type of the resources.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// What it wants to be told of; `*` for all.
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    /// What it wants to hear no more of.
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    /// What it has from an earlier stream, and in which version.
    #[prost(btree_map = "string, string", tag = "5")]
    pub initial_resource_versions: BTreeMap<String, String>,
    /// The answer that it speaks of.
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    /// Why it refuses that answer.
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<Status>,
}

/// What changed.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct DeltaDiscoveryResponse {
    /// For people.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// Resources that are new, or otherwise now.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// The type of the resources.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// What the proxy's word on it has to repeat.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Resources that are gone, or were asked for and never were.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
}

/// A resource and its version.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Resource {
    /// Its version.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Its content.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Other names that it is found by.
    #[prost(string, repeated, tag = "4")]
    pub aliases: Vec<String>,
    /// How long it is good for.
    #[prost(message, optional, tag = "6")]
    pub ttl: Option<::prost_types::Duration>,
    /// Whether it may be kept.
    #[prost(message, optional, tag = "7")]
    pub cache_control: Option<CacheControl>,
}

/// Whether a resource may be kept by somebody between.
#[derive(Clone, Copy, PartialEq, ::prost::Message)]
pub struct CacheControl {
    /// It may not.
    #[prost(bool, tag = "1")]
    pub do_not_cache: bool,
}

/// Who asks.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Node {
    /// Its name: `ztunnel~<address>~<pod>.<namespace>~<namespace>.svc.cluster.local`.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What it belongs to.
    #[prost(string, tag = "2")]
    pub cluster: String,
    /// What it says of itself.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<::prost_types::Struct>,
    /// Its version.
    #[prost(string, tag = "5")]
    pub build_version: String,
}

/// `google.rpc.Status`: why something was refused.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Status {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The reason.
    #[prost(string, tag = "2")]
    pub message: String,
    /// More of it.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}
