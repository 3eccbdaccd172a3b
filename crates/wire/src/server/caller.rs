//! Who calls: what can be known of a caller before it is believed.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rustls_pki_types::CertificateDer;
use tonic::metadata::MetadataMap;

/// Somebody who calls, and what he shows.
#[derive(Clone)]
pub struct Caller {
    /// The bearer token of the request.
    pub token: Option<String>,
    /// The chain of certificates of the connection, leaf first; it is as good as the connection's TLS settings ask for.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// The cluster that it says it is of (`clusterid`).
    pub cluster: Option<String>,
    /// Where it calls from.
    pub address: SocketAddr,
}

impl fmt::Debug for Caller {
    /// Without the token: who has it is somebody else's proxy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("certificates", &self.chain.len())
            .field("cluster", &self.cluster)
            .field("address", &self.address)
            .finish()
    }
}

impl Caller {
    pub(crate) fn new(
        metadata: &MetadataMap,
        chain: Arc<[CertificateDer<'static>]>,
        address: SocketAddr,
    ) -> Self {
        let text = |key: &str| metadata.get(key).and_then(|value| value.to_str().ok());
        let token = text("authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        Self { token, chain, cluster: text("clusterid").map(str::to_owned), address }
    }
}

/// Says who a caller is. The assembler knows whom to ask.
pub trait Authenticator: Send + Sync + 'static {
    /// Who a caller proved to be.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` for one who proved nothing, another status where that could not be found out.
    fn authenticate<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<String, tonic::Status>>;
}
