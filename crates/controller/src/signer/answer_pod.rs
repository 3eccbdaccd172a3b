//! One PodCertificateRequest: certificate and dates, or the refusal, in one write. The cluster may serve `v1` or
//! `v1beta1`, which agree in all that is read and written here, so the object is carried as it came.

use std::sync::Arc;

use k8s_openapi::Resource as _;
use k8s_openapi::api::certificates::v1beta1::{PodCertificateRequest, PodCertificateRequestStatus};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::runtime::controller::Action as Next;
use kube::{Api, Resource as _};
use serde_json::json;
use time::OffsetDateTime;

use super::answer::Asked;
use super::look_up::look_up;
use super::status::{is_pod_decided, issued_pod, refused_pod};
use super::{Decision, Denial, Grant, LONGEST, decide_pod};
use crate::error::{Error, Result};
use crate::names::CONTROLLER;
use crate::reconcile::Context;

pub(super) const KIND: &str = "PodCertificateRequest";

/// Answers it, when it waits for an answer.
///
/// # Errors
///
/// What may pass: the request then goes on waiting.
pub(super) async fn answer(
    seen: Arc<DynamicObject>,
    context: Arc<Context>,
    resource: ApiResource,
) -> Result<Next> {
    let namespace = seen.metadata.namespace.clone().unwrap_or_default();
    let name = seen.metadata.name.clone().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &namespace, &resource);
    // What was seen may be older than our own last write.
    let found = api.get_opt(&name).await;
    let found = found.map_err(Error::api(format!("read the {KIND} {namespace}/{name}")))?;
    let Some(found) = found else { return Ok(Next::await_change()) };
    let request = typed(&found)?;
    if is_pod_decided(&request) {
        return Ok(Next::await_change());
    }
    let spec = &request.spec;
    let vouched = look_up(&context.client, &namespace, &spec.service_account_name, &spec.pod_name).await?;
    let one = One {
        asked: Asked {
            context: &context,
            kind: KIND,
            namespace: &namespace,
            name: &name,
            reference: found.object_ref(&resource),
        },
        api,
        found,
    };
    match decide_pod(&request, &vouched, &context.domains, LONGEST.min(context.lifetimes.longest())) {
        Decision::Ignore => {}
        Decision::Deny(denial) => one.refuse("Denied", &denial).await?,
        Decision::Sign(grant) => one.sign(*grant).await?,
    }
    Ok(Next::await_change())
}

struct One<'a> {
    asked: Asked<'a>,
    api: Api<DynamicObject>,
    found: DynamicObject,
}

impl One<'_> {
    async fn sign(&self, grant: Grant) -> Result<()> {
        self.asked.context.clock.check()?;
        let ready = match self.asked.sign(grant).await? {
            Ok(ready) => ready,
            Err(denial) => return self.refuse("Failed", &denial).await,
        };
        match self.write(&issued_pod(&ready.signed, OffsetDateTime::now_utc())).await {
            Ok(()) => self.asked.issued(&ready).await,
            Err(error) => return Err(self.asked.discard(&ready, error)),
        }
        Ok(())
    }

    async fn refuse(&self, condition: &'static str, denial: &Denial) -> Result<()> {
        self.write(&refused_pod(condition, denial, OffsetDateTime::now_utc())).await?;
        self.asked.refused(if condition == "Failed" { "failed" } else { "denied" }, denial).await;
        Ok(())
    }

    async fn write(&self, status: &PodCertificateRequestStatus) -> Result<()> {
        let mut object = self.found.clone();
        object.data["status"] = json!(status);
        let params = PostParams { field_manager: Some(CONTROLLER.to_owned()), ..PostParams::default() };
        let Asked { namespace, name, .. } = self.asked;
        let written = self.api.replace_status(name, &params, &object).await;
        written.map(|_| ()).map_err(Error::api(format!("write the status of the {KIND} {namespace}/{name}")))
    }
}

/// What a request of either version says.
pub(super) fn typed(found: &DynamicObject) -> Result<PodCertificateRequest> {
    let mut value = json!(found);
    value["apiVersion"] = json!(PodCertificateRequest::API_VERSION);
    value["kind"] = json!(KIND);
    serde_json::from_value(value).map_err(|error| Error::Unreachable {
        action: format!("tell what is in a {KIND}"),
        reason: error.to_string(),
    })
}
