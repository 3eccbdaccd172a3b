//! The messages, as Rust types. They are written by hand from the `.proto` files beside this crate's source, so that
//! building needs no other compiler; the tests send every field of every one of them through `protoc`.

pub mod certificate;
pub mod discovery;
pub mod mesh;
pub mod security;
pub mod workload;
pub mod workload_api;

/// `google.protobuf.Any`. Its value is shared, not copied: thousands of proxies are sent the same resource.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Any {
    /// What it is: `type.googleapis.com/` and the message's name.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: ::bytes::Bytes,
}

/// Something of one mesh's own, that others pass over.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Extension {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its content.
    #[prost(message, optional, tag = "2")]
    pub config: Option<Any>,
}
