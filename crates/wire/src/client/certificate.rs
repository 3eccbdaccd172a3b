//! Asking for a certificate.

use std::time::Duration;

use http::uri::PathAndQuery;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tonic::Request;
use tonic_prost::ProstCodec;

use super::Target;
use super::connect::introduce;
use crate::error::{Error, chain};
use crate::proto::certificate::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse};

/// What a proxy asks to be signed.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The request, PEM.
    pub csr: String,
    /// How long the certificate is to live.
    pub validity: Duration,
    /// The identity of a pod of this node, where a node's proxy asks for it.
    pub impersonated: Option<String>,
    /// The cluster that we are of.
    pub cluster: Option<String>,
}

/// Has a request signed: the chain in PEM, the leaf first, the root last.
///
/// # Errors
///
/// Where the control plane cannot be reached in time, does not let us in, or says no.
pub async fn create_certificate(
    target: &Target,
    token: Option<&str>,
    ask: &Ask,
) -> Result<Vec<String>, Error> {
    let address = target.address.as_str();
    let mut grpc = target.connect().await?;
    let metadata = ask.impersonated.as_ref().map(|identity| Struct {
        fields: [(
            "ImpersonatedIdentity".to_owned(),
            Value { kind: Some(Kind::StringValue(identity.clone())) },
        )]
        .into(),
    });
    let mut request = Request::new(IstioCertificateRequest {
        csr: ask.csr.clone(),
        validity_duration: i64::try_from(ask.validity.as_secs()).unwrap_or(i64::MAX),
        metadata,
    });
    introduce(request.metadata_mut(), token, ask.cluster.as_deref())?;
    let unreachable = |reason: String| Error::Unreachable { address: address.to_owned(), reason };
    let answered = async {
        grpc.ready().await.map_err(|error| unreachable(chain(&error)))?;
        let codec = ProstCodec::<IstioCertificateRequest, IstioCertificateResponse>::default();
        let path = PathAndQuery::from_static(CREATE_CERTIFICATE);
        grpc.unary(request, path, codec).await.map_err(|status| Error::of_status(address, &status))
    };
    let late = |_| unreachable(format!("no answer within {} s", target.timeout.as_secs_f32()));
    let answer = tokio::time::timeout(target.timeout, answered).await.map_err(late)??.into_inner();
    if answer.cert_chain.is_empty() {
        let reason = "there is no certificate in the answer".to_owned();
        return Err(Error::Answer { address: address.to_owned(), reason });
    }
    Ok(answer.cert_chain)
}
