//! The admission webhook's question and answer (`admission.k8s.io/v1`, AdmissionReview).

use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use model::codes::mesh as codes;
use serde_json::Value;

use super::{Injected, Settings, inject};

/// Answers a review; `body` is what the API server sent.
///
/// # Errors
///
/// When it is no review that can be read: the API server takes that as a failure of the webhook, and refuses the pod.
pub fn answer(body: &[u8], settings: &Settings) -> Result<Vec<u8>, String> {
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_slice(body).map_err(|error| format!("no AdmissionReview: {error}"))?;
    let request: AdmissionRequest<DynamicObject> =
        review.try_into().map_err(|error| format!("an AdmissionReview without a request: {error}"))?;
    let response = respond(&request, settings);
    serde_json::to_vec(&response.into_review()).map_err(|error| format!("the answer: {error}"))
}

fn respond(request: &AdmissionRequest<DynamicObject>, settings: &Settings) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let Some(object) = &request.object else { return response };
    let pod = match serde_json::to_value(object) {
        Ok(pod) => pod,
        Err(error) => return response.deny(format!("the pod cannot be read: {error}")),
    };
    match inject(&pod, settings) {
        Ok(Injected::Left(why)) => {
            tracing::debug!("the pod {} stays as it is: {why}", title(request, &pod));
            response
        }
        Ok(Injected::Pod(next)) => match response.with_patch(json_patch::diff(&pod, &next)) {
            Ok(response) => response,
            Err(error) => AdmissionResponse::from(request).deny(format!("the patch: {error}")),
        },
        Err(refusal) => {
            let code = &codes::INJECTION_REFUSED;
            tracing::warn!(code = code.id, "the pod {} is refused: {refusal}", title(request, &pod));
            response.deny(format!("{}: {}: {refusal}; {}", code.id, code.title, code.fix))
        }
    }
}

fn title(request: &AdmissionRequest<DynamicObject>, pod: &Value) -> String {
    let metadata = &pod["metadata"];
    let name = metadata["name"].as_str().or(metadata["generateName"].as_str()).unwrap_or_default();
    format!("{}/{name}", request.namespace.as_deref().unwrap_or_default())
}
