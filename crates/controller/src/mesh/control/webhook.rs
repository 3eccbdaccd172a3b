//! By what the API server knows the admission webhook: the roots that are trusted now, written into its configuration.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use model::codes::Coded as _;
use serde_json::json;
use tokio::sync::watch;

use crate::authority::State;
use crate::error::{Error, Result, chain};
use crate::names::MESH;

/// Somebody may have changed it.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Keeps the roots in the webhook's configuration: both of them during a rotation. Does not end.
pub async fn keep_trusted(client: Client, mut authority: watch::Receiver<Option<Arc<State>>>) {
    loop {
        let state = authority.borrow_and_update().clone();
        if let Some(state) = state
            && let Err(error) = trust(&client, state.trust_bundle_pem()).await
        {
            tracing::warn!(code = error.code().id, "the webhook is not trusted yet: {}", chain(&error));
        }
        // Nobody sends any more only when the process ends.
        let _ = tokio::time::timeout(LOOK_AGAIN, authority.changed()).await;
    }
}

async fn trust(client: &Client, bundle: String) -> Result<()> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let found = api.get_opt(MESH).await.map_err(Error::api(format!("read the webhook {MESH}")))?;
    let bundle = ByteString(bundle.into_bytes());
    let Some(found) = found else { return Ok(()) };
    let webhooks = found.webhooks.unwrap_or_default();
    if webhooks.iter().all(|hook| hook.client_config.ca_bundle.as_ref() == Some(&bundle)) {
        return Ok(());
    }
    // Strategic: the list is merged by name, and what people applied stays.
    let hooks: Vec<_> = webhooks
        .iter()
        .map(|hook| json!({ "name": hook.name, "clientConfig": { "caBundle": bundle } }))
        .collect();
    let params = PatchParams { field_manager: Some(MESH.to_owned()), ..PatchParams::default() };
    let patch = Patch::Strategic(json!({
        "metadata": { "resourceVersion": found.metadata.resource_version },
        "webhooks": hooks,
    }));
    let written = api.patch(MESH, &params, &patch).await;
    written.map(|_| ()).map_err(Error::api(format!("write the webhook {MESH}")))
}
