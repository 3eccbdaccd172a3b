//! What `kube netpol` and `kube rbac` share: a client of the cluster, and whole lists however long they are.

use std::fmt::Debug;
use std::future::Future;

use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Resource};
use model::codes::{Code, usage};
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// Runs a future on a runtime of its own.
pub(super) fn block<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&usage::INTERNAL, error))?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

/// A failure of a request.
pub(super) fn failed(code: &'static Code, what: &str, error: &kube::Error) -> Failure {
    let mut text = match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    Failure::new(code, format!("{what}: {text}"))
}

const PAGE: u32 = 500;

/// Every object, page by page.
pub(super) async fn all<K>(api: &Api<K>, params: &ListParams) -> Result<Vec<K>, kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut items = Vec::new();
    let mut page = params.clone().limit(PAGE);
    loop {
        let list = match api.list(&page).await {
            // The list changed so much that its rest is gone: once more, in one piece.
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(api.list(params).await?.items),
            result => result?,
        };
        items.extend(list.items);
        match list.metadata.continue_ {
            Some(token) if !token.is_empty() => page = params.clone().limit(PAGE).continue_token(&token),
            _ => return Ok(items),
        }
    }
}

/// The metadata of every object, page by page: of a Secret never its data.
pub(super) async fn all_metadata<K>(
    api: &Api<K>,
    params: &ListParams,
) -> Result<Vec<PartialObjectMeta<K>>, kube::Error>
where
    K: Clone + DeserializeOwned + Debug + Resource,
{
    let mut items = Vec::new();
    let mut page = params.clone().limit(PAGE);
    loop {
        let list = match api.list_metadata(&page).await {
            Err(kube::Error::Api(status)) if status.code == 410 => {
                return Ok(api.list_metadata(params).await?.items);
            }
            result => result?,
        };
        items.extend(list.items);
        match list.metadata.continue_ {
            Some(token) if !token.is_empty() => page = params.clone().limit(PAGE).continue_token(&token),
            _ => return Ok(items),
        }
    }
}
