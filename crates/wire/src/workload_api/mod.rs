//! The SPIFFE Workload API on a Unix socket: the identity of the pod, for applications that want it themselves. Whoever
//! can open the socket is who it is for, so the socket is given to one pod alone; each caller has to say the header that
//! no browser and no proxy says by itself.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, stream};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tonic::body::Body;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use zeroize::Zeroizing;

use crate::proto::workload_api::{
    FETCH_X509_BUNDLES, FETCH_X509_SVID, X509BundlesRequest, X509BundlesResponse, X509Svid, X509SvidRequest,
    X509SvidResponse,
};

mod authority;

#[cfg(test)]
mod tests;

/// Connections at one time: each process of the pod has one or two.
const CONNECTIONS: usize = 256;
/// Streams of one connection at one time.
const STREAMS: u32 = 32;
/// The longest request, bytes: they are empty.
const REQUEST: usize = 4 << 10;
/// The header of each request (SPIFFE Workload Endpoint, section 5).
const HEADER: &str = "workload.spiffe.io";

/// A pod's certificate with its key, and the roots of its trust domain.
#[derive(Clone, PartialEq, Eq)]
pub struct Svid {
    /// The identity.
    pub id: String,
    /// The trust domain, as a SPIFFE ID: `spiffe://cluster.local`.
    pub trust_domain: String,
    /// DER certificates one after the other, the leaf first.
    pub chain: Vec<u8>,
    /// PKCS #8, DER.
    pub key: Zeroizing<Vec<u8>>,
    /// DER certificates one after the other.
    pub bundle: Vec<u8>,
}

impl fmt::Debug for Svid {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Answers until it is dropped.
pub async fn serve(socket: UnixListener, svid: watch::Receiver<Option<Arc<Svid>>>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let svid = svid.clone();
        tokio::spawn(async move {
            connection(stream, svid).await;
            drop(seat);
        });
    }
}

async fn connection(stream: UnixStream, svid: watch::Receiver<Option<Arc<Svid>>>) {
    let service = service_fn(move |request| answer(request, Api(svid.clone())));
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(8 << 10)
        .keep_alive_interval(Duration::from_secs(60))
        .serve_connection(TokioIo::new(authority::Readable::new(stream)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection to the Workload API ends: {error}");
    }
}

async fn answer(request: http::Request<Incoming>, api: Api) -> Result<http::Response<Body>, Infallible> {
    if request.headers().get(HEADER).is_none_or(|value| value != "true") {
        return Ok(Status::invalid_argument(format!("the header {HEADER}: true is missing")).into_http());
    }
    Ok(match request.uri().path() {
        FETCH_X509_SVID => {
            let codec = ProstCodec::<X509SvidResponse, X509SvidRequest>::default();
            Grpc::new(codec).max_decoding_message_size(REQUEST).server_streaming(api, request).await
        }
        FETCH_X509_BUNDLES => {
            let codec = ProstCodec::<X509BundlesResponse, X509BundlesRequest>::default();
            Grpc::new(codec).max_decoding_message_size(REQUEST).server_streaming(api, request).await
        }
        _ => Status::unimplemented("here are FetchX509SVID and FetchX509Bundles").into_http(),
    })
}

#[derive(Clone)]
struct Api(watch::Receiver<Option<Arc<Svid>>>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Api {
    /// A message now, and another one whenever it is a different one.
    fn messages<T: Message + PartialEq + Clone + 'static>(&self, of: fn(&Svid) -> T) -> Answers<T> {
        let mut svid = self.0.clone();
        svid.mark_changed();
        let state = (svid, None::<T>);
        let messages = stream::unfold(state, move |(mut svid, before)| async move {
            loop {
                // Nobody renews any more: the process ends, and so does the stream.
                svid.changed().await.ok()?;
                let Some(now) = svid.borrow_and_update().clone() else { continue };
                let message = of(&now);
                if before.as_ref() != Some(&message) {
                    return Some((Ok(message.clone()), (svid, Some(message))));
                }
            }
        });
        messages.boxed()
    }
}

impl ServerStreamingService<X509SvidRequest> for Api {
    type Response = X509SvidResponse;
    type ResponseStream = Answers<X509SvidResponse>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<X509SvidRequest>) -> Self::Future {
        let messages = self.messages(|svid| X509SvidResponse {
            svids: vec![X509Svid {
                spiffe_id: svid.id.clone(),
                x509_svid: svid.chain.clone(),
                x509_svid_key: svid.key.to_vec(),
                bundle: svid.bundle.clone(),
                hint: String::new(),
            }],
            ..X509SvidResponse::default()
        });
        Box::pin(async move { Ok(Response::new(messages)) })
    }
}

impl ServerStreamingService<X509BundlesRequest> for Api {
    type Response = X509BundlesResponse;
    type ResponseStream = Answers<X509BundlesResponse>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<X509BundlesRequest>) -> Self::Future {
        let messages = self.messages(|svid| X509BundlesResponse {
            bundles: [(svid.trust_domain.clone(), svid.bundle.clone())].into(),
            ..X509BundlesResponse::default()
        });
        Box::pin(async move { Ok(Response::new(messages)) })
    }
}
