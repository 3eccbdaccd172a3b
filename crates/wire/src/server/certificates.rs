//! Certificates for proxies: what is asked is handed to the authority, which says yes or no.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use prost_types::value::Kind;
use tonic::{Request, Response, Status};

use super::caller::Caller;
use crate::proto::certificate::{IstioCertificateRequest, IstioCertificateResponse};

/// The field of the request's metadata by which a node's proxy says for whom it asks.
const IMPERSONATED: &str = "ImpersonatedIdentity";

/// What a proxy asks to be signed. None of it is proof of anything: the authority finds out who asks, and what he may
/// have (invariant 8).
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    /// The request, PEM.
    pub csr: String,
    /// How long the certificate is to live; none where it is not said, or makes no sense.
    pub validity: Option<Duration>,
    /// The identity that a node's proxy asks for in the name of a pod.
    pub impersonated: Option<String>,
    /// Who asks, and what he shows.
    pub caller: Caller,
}

/// Signs requests of proxies.
pub trait Authority: Send + Sync + 'static {
    /// A chain of PEM certificates: the leaf first, the root last.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED` or `INVALID_ARGUMENT` for a request that is not granted; another status where
    /// the caller may try again.
    fn sign(&self, request: CertificateRequest) -> BoxFuture<'_, Result<Vec<String>, Status>>;
}

pub(super) async fn create(
    authority: Option<Arc<dyn Authority>>,
    request: Request<IstioCertificateRequest>,
    caller: Caller,
) -> Result<Response<IstioCertificateResponse>, Status> {
    let authority = authority.ok_or_else(|| Status::unimplemented("there is no authority here"))?;
    let message = request.into_inner();
    let impersonated = match message.metadata.as_ref().and_then(|all| all.fields.get(IMPERSONATED)) {
        None => None,
        Some(value) => match &value.kind {
            Some(Kind::StringValue(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
            // As if it was not there, the proxy would get a certificate of its own for the pod's key.
            _ => return Err(Status::invalid_argument(format!("{IMPERSONATED} is no text"))),
        },
    };
    let seconds = u64::try_from(message.validity_duration).ok().filter(|seconds| *seconds > 0);
    let request = CertificateRequest {
        csr: message.csr,
        validity: seconds.map(Duration::from_secs),
        impersonated,
        caller,
    };
    let cert_chain = authority.sign(request).await?;
    Ok(Response::new(IstioCertificateResponse { cert_chain }))
}
