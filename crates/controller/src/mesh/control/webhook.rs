//! By what the API server knows the admission webhook: the roots that are trusted now, written into its configuration.
//!
//! Every replica writes, so that none has to be there, and all write the same of the same authority. Of two that know
//! different states of it, in a rotation or where a watch is late, the newer one counts: which one was written stands beside
//! it, and an older one is never written over it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use model::codes::Coded as _;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::authority::State;
use crate::error::{Error, Result, chain};
use crate::names::MESH;

/// Somebody may have changed it.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Of which version of the authority's Secret the roots are.
const VERSION_ANNOTATION: &str = "handfast.dev/authority-version";

/// Keeps the roots in the webhook's configuration: both of them during a rotation. Does not end.
pub async fn keep_trusted(client: Client, mut authority: watch::Receiver<Option<Arc<State>>>) {
    loop {
        let state = authority.borrow_and_update().clone();
        if let Some(state) = state
            && let Err(error) = trust(&client, &state).await
        {
            tracing::warn!(code = error.code().id, "the webhook is not trusted yet: {}", chain(&error));
        }
        // Nobody sends any more only when the process ends.
        let _ = tokio::time::timeout(LOOK_AGAIN, authority.changed()).await;
    }
}

async fn trust(client: &Client, state: &State) -> Result<()> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let found = api.get_opt(MESH).await.map_err(Error::api(format!("read the webhook {MESH}")))?;
    let Some(patch) = found.and_then(|found| patch(&found, state)) else { return Ok(()) };
    let params = PatchParams { field_manager: Some(MESH.to_owned()), ..PatchParams::default() };
    let written = api.patch(MESH, &params, &Patch::Strategic(patch)).await;
    written.map(|_| ()).map_err(Error::api(format!("write the webhook {MESH}")))
}

/// What is to be written; none where it is there, or somebody wrote of a newer state of the authority.
fn patch(found: &MutatingWebhookConfiguration, state: &State) -> Option<Value> {
    let bundle = ByteString(state.trust_bundle_pem().into_bytes());
    let webhooks = found.webhooks.as_deref().unwrap_or_default();
    if webhooks.iter().all(|hook| hook.client_config.ca_bundle.as_ref() == Some(&bundle)) {
        return None;
    }
    let annotations = found.metadata.annotations.as_ref();
    let written = annotations.and_then(|all| all.get(VERSION_ANNOTATION));
    // Versions of one resource are numbers that grow (KEP-5504). One that is none keeps nobody from writing.
    let number = |version: &str| version.parse::<u128>().ok();
    let newer = written.and_then(|text| number(text)).zip(state.version.as_deref().and_then(number));
    if newer.is_some_and(|(written, own)| written > own) {
        return None;
    }
    // Strategic: the list is merged by name, and what people applied stays.
    let hook = |name: &str| json!({ "name": name, "clientConfig": { "caBundle": bundle } });
    Some(json!({
        "metadata": {
            // Whoever wrote since then may know more: it is looked at again.
            "resourceVersion": found.metadata.resource_version,
            "annotations": { VERSION_ANNOTATION: state.version },
        },
        "webhooks": webhooks.iter().map(|found| hook(&found.name)).collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::MutatingWebhook;
    use model::identity::TrustDomain;
    use time::OffsetDateTime;

    use super::*;

    fn state(version: &str) -> State {
        let mut state = State::new(TrustDomain::default(), OffsetDateTime::now_utc()).unwrap();
        state.version = Some(version.to_owned());
        state
    }

    fn empty() -> MutatingWebhookConfiguration {
        let hook = |name: &str| MutatingWebhook { name: name.to_owned(), ..MutatingWebhook::default() };
        let webhooks = Some(vec![hook("one"), hook("two")]);
        MutatingWebhookConfiguration { webhooks, ..MutatingWebhookConfiguration::default() }
    }

    /// As the API server merges; `false` where nothing is to be written.
    fn write(found: &mut MutatingWebhookConfiguration, state: &State) -> bool {
        let Some(patch) = patch(found, state) else { return false };
        let annotations = patch["metadata"]["annotations"].clone();
        found.metadata.annotations = serde_json::from_value(annotations).unwrap();
        for hook in found.webhooks.iter_mut().flatten() {
            let of =
                patch["webhooks"].as_array().unwrap().iter().find(|of| of["name"] == *hook.name).unwrap();
            hook.client_config.ca_bundle =
                serde_json::from_value(of["clientConfig"]["caBundle"].clone()).unwrap();
        }
        true
    }

    fn bundle(found: &MutatingWebhookConfiguration) -> Vec<Option<&ByteString>> {
        found.webhooks.iter().flatten().map(|hook| hook.client_config.ca_bundle.as_ref()).collect()
    }

    #[test]
    fn replicas_that_know_different_states_do_not_take_turns() {
        let (old, new) = (state("9"), state("10"));
        let mut found = empty();
        assert!(write(&mut found, &old));
        assert!(write(&mut found, &new));
        for _ in 0..3 {
            assert!(!write(&mut found, &old), "the older one does not write over the newer one");
            assert!(!write(&mut found, &new), "nothing is to be written twice");
        }
        let wanted = ByteString(new.trust_bundle_pem().into_bytes());
        assert_eq!(bundle(&found), [Some(&wanted), Some(&wanted)]);
    }

    #[test]
    fn what_somebody_else_wrote_is_put_back() {
        let own = state("10");
        let mut found = empty();
        assert!(write(&mut found, &own));
        for odd in [Some("10"), Some("odd"), None] {
            found.webhooks.as_mut().unwrap()[0].client_config.ca_bundle = None;
            let annotations = odd.map(|odd| [(VERSION_ANNOTATION.to_owned(), odd.to_owned())].into());
            found.metadata.annotations = annotations;
            assert!(write(&mut found, &own), "{odd:?}");
        }
        assert!(!write(&mut found, &own));
    }
}
