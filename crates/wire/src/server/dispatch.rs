//! From a request's path to who answers it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use rustls_pki_types::CertificateDer;
use tonic::body::Body;
use tonic::codec::Codec as _;
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::caller::Caller;
use super::framed::Framed;
use super::{Shared, certificates, discovery};
use crate::proto::certificate::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse};
use crate::proto::discovery::{DELTA_AGGREGATED_RESOURCES, DeltaDiscoveryRequest, DeltaDiscoveryResponse};

/// The longest request for a certificate, bytes.
const LARGEST_REQUEST: usize = 64 << 10;

/// What the requests of one connection have in common.
#[derive(Clone)]
pub(super) struct Dispatch {
    pub(super) shared: Arc<Shared>,
    pub(super) address: SocketAddr,
    pub(super) chain: Arc<[CertificateDer<'static>]>,
    /// How many requests are under way.
    pub(super) open: Arc<AtomicUsize>,
}

impl Dispatch {
    pub(super) async fn answer(
        self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Counted>, Infallible> {
        let open = Open::new(&self.open);
        let limits = self.shared.options.limits.clone();
        let answer = match request.uri().path() {
            DELTA_AGGREGATED_RESOURCES => self.discover(request).await,
            CREATE_CERTIFICATE => {
                let codec = ProstCodec::<IstioCertificateResponse, IstioCertificateRequest>::default();
                let mut grpc = Grpc::new(codec).max_decoding_message_size(LARGEST_REQUEST);
                let answered = tokio::time::timeout(limits.handshake * 3, grpc.unary(self, request));
                answered.await.unwrap_or_else(|_| {
                    Status::deadline_exceeded("the authority did not answer in time").into_http()
                })
            }
            _ => Status::unimplemented("there is no such method here").into_http(),
        };
        Ok(answer.map(|body| Counted { body, _open: open }))
    }

    async fn discover(self, request: http::Request<Incoming>) -> http::Response<Body> {
        let (parts, body) = request.into_parts();
        let codec = ProstCodec::<DeltaDiscoveryResponse, DeltaDiscoveryRequest>::default().decoder();
        let limit = self.shared.options.limits.message;
        let requests = Streaming::new_request(codec, body, None, Some(limit));
        let metadata = MetadataMap::from_headers(parts.headers);
        let request = Request::from_parts(metadata, parts.extensions, requests);
        let caller = self.caller(&request);
        match discovery::open(self.shared, request, caller).await {
            Ok(answers) => {
                let mut response =
                    http::Response::new(Body::new(Framed::new(Box::pin(answers.into_inner()))));
                let kind = http::HeaderValue::from_static("application/grpc");
                response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
                response
            }
            Err(status) => status.into_http(),
        }
    }

    fn caller<T>(&self, request: &Request<T>) -> Caller {
        Caller::new(request.metadata(), Arc::clone(&self.chain), self.address)
    }
}

impl UnaryService<IstioCertificateRequest> for Dispatch {
    type Response = IstioCertificateResponse;
    type Future = BoxFuture<'static, Result<Response<IstioCertificateResponse>, Status>>;

    fn call(&mut self, request: Request<IstioCertificateRequest>) -> Self::Future {
        let (authority, caller) = (self.shared.options.authority.clone(), self.caller(&request));
        Box::pin(certificates::create(authority, request, caller))
    }
}

/// A request that is under way, until its answer has been sent.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer that is under way.
pub(super) struct Counted {
    body: Body,
    _open: Open,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
