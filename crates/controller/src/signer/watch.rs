//! Follows the requests for our signer and has each one answered. PodCertificateRequests are behind a feature gate:
//! whether the cluster serves them is asked for again from time to time, and everything else works without.

use std::convert::Infallible;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::controller::{Action as Next, Config, applier};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, reflector};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use model::codes::{Coded as _, kube as codes};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{answer_csr, answer_pod, requester, status};
use crate::error::{Error, Result, chain};
use crate::names::SIGNER;
use crate::reconcile::Context;
use crate::served::Optional;

/// Requests that are answered at one time.
const AT_ONCE: u16 = 8;
/// So often it is asked whether the cluster serves a kind that it did not serve.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// After the watch of a kind ended.
const SHORTLY: Duration = Duration::from_secs(2);

const POD_CERTIFICATES: Optional = Optional { kind: answer_pod::KIND, plural: "podcertificaterequests" };

/// Answers all requests. Returns only by a defect.
pub(crate) async fn keep(context: Arc<Context>) {
    let signing = Api::<CertificateSigningRequest>::all(context.client.clone());
    let csrs = follow(
        signing,
        (),
        Arc::clone(&context),
        |csr| !matches!(requester(csr), Ok(None)),
        |csr, context| Box::pin(answer_csr::answer(csr, context)),
    );
    tokio::select! {
        ended = csrs => tracing::error!("CertificateSigningRequests are not served: {ended}"),
        () = keep_pods(context) => {}
    }
}

/// Answers PodCertificateRequests while the cluster serves them.
async fn keep_pods(context: Arc<Context>) {
    let mut told = false;
    loop {
        match POD_CERTIFICATES.find(&context.client).await {
            Ok(Some(resource)) => {
                told = false;
                tracing::info!("answers PodCertificateRequests ({})", resource.api_version);
                let ended = follow_pods(&context, resource).await;
                tracing::warn!("the PodCertificateRequests are gone: {ended}");
                // It may be an API server that has only just begun.
                tokio::time::sleep(SHORTLY).await;
                continue;
            }
            Ok(None) if !told => {
                told = true;
                let code = &codes::POD_CERTIFICATES_NOT_SERVED;
                tracing::info!(
                    code = code.id,
                    "{}: pods get certificates in Secrets or by a CertificateSigningRequest",
                    code.title
                );
            }
            Ok(None) => {}
            Err(error) => tracing::debug!("{}", chain(&error)),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn follow_pods(context: &Arc<Context>, resource: ApiResource) -> watcher::Error {
    let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &resource);
    let of = resource.clone();
    follow(
        api,
        resource,
        Arc::clone(context),
        // What cannot be read is answered, with the error in the log.
        |found| !answer_pod::typed(found).is_ok_and(|request| status::is_pod_decided(&request)),
        move |found, context| Box::pin(answer_pod::answer(found, context, of.clone())),
    )
    .await
}

type Answer = std::pin::Pin<Box<dyn Future<Output = Result<Next>> + Send>>;

/// Has every object that is `open` answered, now and when it changes, until the kind is not served any more.
async fn follow<K>(
    api: Api<K>,
    kind: K::DynamicType,
    context: Arc<Context>,
    open: impl Fn(&K) -> bool,
    answer: impl FnMut(Arc<K>, Arc<Context>) -> Answer,
) -> watcher::Error
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Clone + Debug + Eq + Hash + Unpin + Send + Sync,
{
    let writer = Writer::<K>::new(kind.clone());
    let store = writer.as_reader();
    let ours = watcher::Config::default().fields(&format!("spec.signerName={SIGNER}"));
    let events = reflector(writer, watcher(api, ours).default_backoff());
    let (queue, mut requests) = mpsc::unbounded_channel::<ObjectRef<K>>();
    let requests = stream::poll_fn(move |cx| requests.poll_recv(cx)).map(Ok::<_, Infallible>);
    let metrics = Arc::clone(&context.metrics);
    let work = applier(
        answer,
        move |_, error: &Error, _| {
            metrics.count_failure(error.code().label);
            if let Error::Conflict { .. } = error {
                tracing::debug!("{}", chain(error));
                return Next::requeue(Duration::from_secs(1));
            }
            tracing::warn!(code = error.code().id, "a request waits: {}", chain(error));
            Next::requeue(Duration::from_secs(10))
        },
        context,
        store,
        requests,
        Config::default().concurrency(AT_ONCE),
    );
    let (mut events, mut work) = (std::pin::pin!(events), std::pin::pin!(work));
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Apply(found) | Event::InitApply(found))) if open(&found) => {
                    let _ = queue.send(ObjectRef::from_obj_with(&found, kind.clone()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) if is_gone(&error) => return error,
                Some(Err(error)) => tracing::warn!("requests cannot be watched: {}", chain(&error)),
                None => return watcher::Error::NoResourceVersion,
            },
            // Its queue does not end before this function does.
            Some(done) = work.next() => if let Err(error) = done {
                tracing::debug!("{}", chain(&error));
            },
        }
    }
}

/// Whether the API server says that there is no such kind.
fn is_gone(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(answer))
            | watcher::Error::WatchStartFailed(kube::Error::Api(answer))
            if answer.code == 404
    )
}
