//! One CertificateSigningRequest: approved, then signed, or denied. Each step is one write that names the version
//! which it saw, so that of two controllers one wins; whoever is killed between the two is followed by somebody who
//! decides anew, finds the approval, and signs.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::PostParams;
use kube::runtime::controller::Action as Next;
use kube::{Api, Resource as _};
use time::OffsetDateTime;

use super::answer::Asked;
use super::look_up::look_up;
use super::status::{approved, denied, failed, is_approved, issued_csr};
use super::{Decision, Denial, Grant, LONGEST, Vouched, decide_csr, requester};
use crate::audit::Action;
use crate::error::{Error, Result};
use crate::names::CONTROLLER;
use crate::reconcile::Context;

const KIND: &str = "CertificateSigningRequest";

/// Answers it, when it waits for an answer.
///
/// # Errors
///
/// What may pass: the request then goes on waiting.
pub(super) async fn answer(seen: Arc<CertificateSigningRequest>, context: Arc<Context>) -> Result<Next> {
    let api: Api<CertificateSigningRequest> = Api::all(context.client.clone());
    let name = seen.metadata.name.clone().unwrap_or_default();
    // What was seen may be older than our own last write.
    let found = api.get_opt(&name).await.map_err(Error::api(format!("read the {KIND} {name}")))?;
    let Some(csr) = found else { return Ok(Next::await_change()) };
    let vouched = match requester(&csr) {
        Ok(None) => return Ok(Next::await_change()),
        Ok(Some(of)) => look_up(&context.client, &of.namespace, &of.service_account, &of.pod).await?,
        // Nobody that could be looked up; the decision says why.
        Err(_) => Vouched::default(),
    };
    let one = One {
        asked: Asked {
            context: &context,
            kind: KIND,
            namespace: "",
            name: &name,
            reference: csr.object_ref(&()),
        },
        api,
    };
    match decide_csr(&csr, &vouched, &context.domains, LONGEST.min(context.lifetimes.longest())) {
        Decision::Ignore => {}
        Decision::Deny(denial) => one.refuse(&csr, &denial).await?,
        Decision::Sign(grant) => one.sign(csr, *grant).await?,
    }
    Ok(Next::await_change())
}

struct One<'a> {
    asked: Asked<'a>,
    api: Api<CertificateSigningRequest>,
}

impl One<'_> {
    async fn sign(&self, mut csr: CertificateSigningRequest, grant: Grant) -> Result<()> {
        self.asked.context.clock.check()?;
        if !is_approved(&csr) {
            let names: Vec<String> = grant.names.iter().map(ToString::to_string).collect();
            self.asked.log(Action::Approve, &names, "its pod is vouched for")?;
            csr = self.write("approval", &approved(&csr, &grant.names, OffsetDateTime::now_utc())).await?;
        }
        let ready = match self.asked.sign(grant).await? {
            Ok(ready) => ready,
            Err(denial) => return self.refuse(&csr, &denial).await,
        };
        match self.write("status", &issued_csr(&csr, &ready.signed)).await {
            Ok(_) => self.asked.issued(&ready).await,
            Err(error) => return Err(self.asked.discard(&ready, error)),
        }
        Ok(())
    }

    /// Denied; where somebody approved it already, it has failed.
    async fn refuse(&self, csr: &CertificateSigningRequest, denial: &Denial) -> Result<()> {
        let now = OffsetDateTime::now_utc();
        let result = match denied(csr, denial, now) {
            Some(denied) => self.write("approval", &denied).await.map(|_| "denied")?,
            None => self.write("status", &failed(csr, denial, now)).await.map(|_| "failed")?,
        };
        self.asked.refused(result, denial).await;
        Ok(())
    }

    async fn write(
        &self,
        subresource: &str,
        csr: &CertificateSigningRequest,
    ) -> Result<CertificateSigningRequest> {
        let params = PostParams { field_manager: Some(CONTROLLER.to_owned()), ..PostParams::default() };
        let name = self.asked.name;
        let written = self.api.replace_subresource(subresource, name, &params, csr).await;
        written.map_err(Error::api(format!("write the {subresource} of the {KIND} {name}")))
    }
}
