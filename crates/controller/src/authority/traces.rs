//! What an authority leaves in a cluster outside of its Secret. An empty Secret beside such traces was emptied, by a
//! `kubectl replace` or a `helm upgrade --force-replace`, and is no permission to begin a new authority.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::certificate::Certificate;
use crate::error::{Error, Result};
use crate::names::{MANAGED_LABEL, REVOCATION_CONFIG_MAP, TRUST_CONFIG_MAP};

/// The first trace that is found, as a part of a sentence.
///
/// # Errors
///
/// When the API server cannot be asked: then nobody knows.
pub(super) async fn find(client: &Client, namespace: &str) -> Result<Option<String>> {
    let lists: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let name = format!("{namespace}/{REVOCATION_CONFIG_MAP}");
    let found = lists.get_opt(REVOCATION_CONFIG_MAP).await;
    let found = found.map_err(Error::api(format!("read the ConfigMap {name}")))?;
    if let Some(trace) = of_config_maps(found.as_slice()) {
        return Ok(Some(trace));
    }
    let bundles: Api<ConfigMap> = Api::all(client.clone());
    let named = ListParams::default().fields(&format!("metadata.name={TRUST_CONFIG_MAP}"));
    let found = bundles.list(&named).await;
    let found = found.map_err(Error::api(format!("list the ConfigMaps {TRUST_CONFIG_MAP}")))?;
    if let Some(trace) = of_config_maps(&found.items) {
        return Ok(Some(trace));
    }
    let certificates: Api<Certificate> = Api::all(client.clone());
    match certificates.list(&ListParams::default()).await {
        Ok(found) => Ok(of_certificates(&found.items)),
        // The kind itself is not there yet.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(None),
        Err(error) => Err(Error::api("list the Certificates")(error)),
    }
}

/// Trust bundles and revocation lists. A ConfigMap that only has the name is anybody's.
fn of_config_maps(maps: &[ConfigMap]) -> Option<String> {
    let ours = |map: &&ConfigMap| {
        map.name_any() == REVOCATION_CONFIG_MAP
            || map.labels().get(MANAGED_LABEL).is_some_and(|value| value == "true")
    };
    let filled = |map: &&ConfigMap| map.data.as_ref().is_some_and(|data| !data.is_empty());
    let found = maps.iter().filter(ours).find(filled)?;
    let namespace = found.namespace().unwrap_or_default();
    Some(format!("the ConfigMap {namespace}/{} holds what it published", found.name_any()))
}

fn of_certificates(certificates: &[Certificate]) -> Option<String> {
    let issued = |certificate: &&Certificate| {
        certificate.status.as_ref().is_some_and(|status| status.serial.is_some())
    };
    let found = certificates.iter().find(issued)?;
    let namespace = found.namespace().unwrap_or_default();
    Some(format!("the Certificate {namespace}/{} has one from it", found.name_any()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(name: &str, labels: serde_json::Value, data: serde_json::Value) -> ConfigMap {
        let metadata = json!({ "name": name, "namespace": "shop", "labels": labels });
        serde_json::from_value(json!({ "metadata": metadata, "data": data })).unwrap()
    }

    #[test]
    fn published_bundles_and_lists_are_traces_and_empty_or_foreign_ones_are_not() {
        let ours = || json!({ MANAGED_LABEL: "true" });
        let bundle = || json!({ "ca.crt": "PEM" });
        assert!(of_config_maps(&[]).is_none());
        assert!(of_config_maps(&[map(TRUST_CONFIG_MAP, ours(), json!({}))]).is_none(), "empty");
        assert!(of_config_maps(&[map(TRUST_CONFIG_MAP, json!({}), bundle())]).is_none(), "somebody else's");
        assert!(
            of_config_maps(&[map(REVOCATION_CONFIG_MAP, json!({}), json!(null))]).is_none(),
            "as installed"
        );
        let trace = of_config_maps(&[map(TRUST_CONFIG_MAP, ours(), bundle())]).unwrap();
        assert!(trace.contains("shop/handfast-trust"), "{trace}");
        let lists = map(REVOCATION_CONFIG_MAP, json!({}), json!({ "root-1.crl": "PEM" }));
        assert!(of_config_maps(&[lists]).is_some());
    }

    #[test]
    fn a_certificate_that_was_issued_is_a_trace_and_one_that_waits_is_not() {
        let certificate = |status: serde_json::Value| -> Certificate {
            serde_json::from_value(json!({
                "apiVersion": "handfast.dev/v1",
                "kind": "Certificate",
                "metadata": { "name": "web", "namespace": "shop" },
                "spec": { "secretName": "web" },
                "status": status,
            }))
            .unwrap()
        };
        assert!(
            of_certificates(&[certificate(json!(null)), certificate(json!({ "failures": 3 }))]).is_none()
        );
        let trace = of_certificates(&[certificate(json!({ "serial": "0a" }))]).unwrap();
        assert!(trace.contains("shop/web"), "{trace}");
    }
}
