//! `istio.v1.auth`: how a proxy gets its certificate.

/// The path of `CreateCertificate`.
pub const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// A request to sign.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct IstioCertificateRequest {
    /// The request, PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// How long it is to live, seconds.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// `ImpersonatedIdentity`, where a node's proxy asks for a pod of its node.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<::prost_types::Struct>,
}

/// A signed certificate.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct IstioCertificateResponse {
    /// PEM: the leaf first, the root last.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}
