//! By what the API server knows the admission webhook: the roots that are trusted now, written into its configuration.
//!
//! Every replica writes, so that none has to be there, and all write the same of the same authority. Of two that know
//! different states of it, in a rotation or where a watch is late, the newer one counts: which one was written stands beside
//! it, and an older one is never written over it. What stands there may be wrong, though: the configuration came from
//! another cluster, or etcd was put back to what it was. So whoever finds something there that seems newer asks the API
//! server whose state is the present one.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use model::codes::Coded as _;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::authority::{State, Version};
use crate::error::{Error, Result, chain};
use crate::names::{AUTHORITY_SECRET, MESH, SYSTEM_NAMESPACE};

/// Somebody may have changed it.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Of which state of the authority's Secret the roots are: `UID/VERSION`.
const VERSION_ANNOTATION: &str = "handfast.dev/authority-version";

/// Keeps the roots in the webhook's configuration: both of them during a rotation. Does not end.
pub async fn keep_trusted(client: Client, mut authority: watch::Receiver<Option<Arc<State>>>) {
    let mut told = Told::default();
    loop {
        let state = authority.borrow_and_update().clone();
        if let Some(state) = state {
            match trust(&client, &state).await {
                Ok(done) => told.tell(done),
                Err(error) => {
                    tracing::warn!(
                        code = error.code().id,
                        "the webhook is not trusted yet: {}",
                        chain(&error)
                    );
                }
            }
        }
        // Nobody sends any more only when the process ends.
        let _ = tokio::time::timeout(LOOK_AGAIN, authority.changed()).await;
    }
}

/// What became of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Done {
    /// The roots were there, or are now.
    Trusted,
    /// They are now, in place of what only seemed to be newer.
    Corrected { written: Version },
    /// Somebody wrote of a newer state of the authority.
    Refused { written: Version, own: Version },
}

/// What was said of it last: it is looked at every half minute, and once is enough.
#[derive(Debug, Default)]
struct Told(Option<Done>);

impl Told {
    /// Whether this is news; then it is what was said last.
    fn is_new(&mut self, done: Done) -> bool {
        let new = self.0.as_ref() != Some(&done);
        self.0 = Some(done);
        new
    }

    fn tell(&mut self, done: Done) {
        if !self.is_new(done.clone()) {
            return;
        }
        match done {
            Done::Trusted => {}
            Done::Corrected { written } => tracing::warn!(
                "the webhook {MESH} had roots of {written}, which is no state of this cluster's authority: they are \
                 written anew"
            ),
            Done::Refused { written, own } => tracing::warn!(
                "the webhook {MESH} has roots of {written}, a newer state of the authority than {own}, which is known \
                 here: they stay"
            ),
        }
    }
}

async fn trust(client: &Client, state: &State) -> Result<Done> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let found = api.get_opt(MESH).await.map_err(Error::api(format!("read the webhook {MESH}")))?;
    let Some((found, patch)) = found.and_then(|found| patch(&found, state).map(|patch| (found, patch)))
    else {
        return Ok(Done::Trusted);
    };
    let mut done = Done::Trusted;
    if let Some((written, own)) = doubt(&found, state) {
        let now = present(client).await?;
        if is_newer(&written, own, now.as_ref()) {
            return Ok(Done::Refused { written, own: own.clone() });
        }
        done = Done::Corrected { written };
    }
    let params = PatchParams { field_manager: Some(MESH.to_owned()), ..PatchParams::default() };
    let written = api.patch(MESH, &params, &Patch::Strategic(patch)).await;
    written.map(|_| done).map_err(Error::api(format!("write the webhook {MESH}")))
}

/// The state in which the API server has the authority's Secret.
async fn present(client: &Client) -> Result<Option<Version>> {
    let api: Api<Secret> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let found = api.get_metadata_opt(AUTHORITY_SECRET).await;
    let found =
        found.map_err(Error::api(format!("read the Secret {SYSTEM_NAMESPACE}/{AUTHORITY_SECRET}")))?;
    Ok(found.and_then(|found| Version::of(&found.metadata)))
}

/// What was written, and what is known here, where it cannot be told from the two that this is not the older one.
fn doubt<'a>(found: &MutatingWebhookConfiguration, state: &'a State) -> Option<(Version, &'a Version)> {
    let annotations = found.metadata.annotations.as_ref();
    let written: Version = annotations?.get(VERSION_ANNOTATION)?.parse().ok()?;
    let own = state.version.as_ref()?;
    (written.uid != own.uid || written.is_after(own)).then_some((written, own))
}

/// Whether what was written is newer than what is known here, when the API server has this.
fn is_newer(written: &Version, own: &Version, now: Option<&Version>) -> bool {
    // Who knows what the API server has knows the newest there is, whatever the annotation says.
    let present = now == Some(own);
    // A Secret that neither the API server has nor this process knows is another cluster's, or one from before.
    let of_this_cluster = written.uid == own.uid || now.is_some_and(|now| now.uid == written.uid);
    !present && of_this_cluster
}

/// What is to be written; none where it is there.
fn patch(found: &MutatingWebhookConfiguration, state: &State) -> Option<Value> {
    let bundle = ByteString(state.trust_bundle_pem().into_bytes());
    let webhooks = found.webhooks.as_deref().unwrap_or_default();
    if webhooks.iter().all(|hook| hook.client_config.ca_bundle.as_ref() == Some(&bundle)) {
        return None;
    }
    // Strategic: the list is merged by name, and what people applied stays.
    let hook = |name: &str| json!({ "name": name, "clientConfig": { "caBundle": bundle } });
    Some(json!({
        "metadata": {
            // Whoever wrote since then may know more: it is looked at again.
            "resourceVersion": found.metadata.resource_version,
            "annotations": { VERSION_ANNOTATION: state.version.as_ref().map(ToString::to_string) },
        },
        "webhooks": webhooks.iter().map(|found| hook(&found.name)).collect::<Vec<_>>(),
    }))
}
