//! What every answer of the signer has in common: the audit log, the signing, and who is told of it.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};
use time::OffsetDateTime;

use super::{Denial, Grant, Signed, sign};
use crate::audit::{Action, Record};
use crate::error::{Error, Result, chain};
use crate::reconcile::{Context, blocking};

/// A request that is being answered.
pub(super) struct Asked<'a> {
    pub(super) context: &'a Context,
    pub(super) kind: &'static str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) reference: ObjectReference,
}

/// A certificate that is written down in the audit log, and not handed out yet.
pub(super) struct Ready {
    pub(super) signed: Signed,
    names: Vec<String>,
    not_after: String,
}

impl Asked<'_> {
    /// A line of the audit log. What it is about is not done when the line cannot be written.
    pub(super) fn log(&self, action: Action, names: &[String], reason: &str) -> Result<()> {
        let mut record = Record::new(action, self.kind, self.namespace, self.name, reason);
        record.names = names;
        self.write(&record)
    }

    fn write(&self, record: &Record<'_>) -> Result<()> {
        self.context.audit.write(record).map_err(|error| Error::Answer {
            action: "write the audit log".to_owned(),
            reason: error.to_string(),
            status: 0,
        })
    }

    fn log_certificate(&self, action: Action, ready: &Ready, reason: &str) -> Result<()> {
        let mut record = Record::new(action, self.kind, self.namespace, self.name, reason);
        record.names = &ready.names;
        record.serial = &ready.signed.serial;
        record.issuer = &ready.signed.issuer;
        record.not_after = &ready.not_after;
        self.write(&record)
    }

    /// Signs. The inner error is for good, the outer one may pass.
    pub(super) async fn sign(&self, grant: Grant) -> Result<Result<Ready, Denial>> {
        let authority = self.context.authority_for(grant.lifetime).await?;
        let names: Vec<String> = grant.names.iter().map(ToString::to_string).collect();
        let now = OffsetDateTime::now_utc();
        let signed = match blocking(move || sign(&grant, &authority, now)).await {
            Ok(signed) => signed,
            Err(Error::Certs(error)) => return Ok(Err(Denial::unsigned(chain(&error)))),
            Err(error) => return Err(error),
        };
        let not_after = certs::rfc3339(signed.not_after);
        let ready = Ready { signed, names, not_after };
        self.log_certificate(Action::Issue, &ready, "its pod is vouched for")?;
        Ok(Ok(ready))
    }

    /// The write that should have handed out the certificate failed.
    pub(super) fn discard(&self, ready: &Ready, error: Error) -> Error {
        // An answer that was lost may hide a write that was done: the next look finds it.
        if !matches!(error, Error::Unreachable { .. }) {
            let _ = self.log_certificate(Action::Discard, ready, &chain(&error));
        }
        error
    }

    /// The certificate is handed out.
    pub(super) async fn issued(&self, ready: &Ready) {
        let Signed { serial, issuer, .. } = &ready.signed;
        let note = format!(
            "issued certificate {serial} of {issuer} until {} for {}",
            ready.not_after,
            ready.names.first().map(String::as_str).unwrap_or_default()
        );
        tracing::info!(kind = self.kind, request = %self.full_name(), "{note}");
        self.context.metrics.count_issued("request");
        self.context.metrics.count_request(self.kind, "issued", "PodVouchedFor");
        self.tell(EventType::Normal, "Issued", note).await;
    }

    /// The refusal is written: `denied`, or `failed`. Only now it is one; a try that met a conflict refused nothing.
    pub(super) async fn refused(&self, result: &'static str, denial: &Denial) {
        if let Err(error) = self.log(Action::Deny, &[], &denial.text()) {
            tracing::error!(request = %self.full_name(), "{}", chain(&error));
        }
        tracing::warn!(
            kind = self.kind,
            request = %self.full_name(),
            code = denial.code.id,
            reason = denial.reason,
            "{result}: {}",
            denial.text()
        );
        self.context.metrics.count_request(self.kind, result, denial.reason);
        self.tell(EventType::Warning, denial.reason, denial.text()).await;
    }

    fn full_name(&self) -> String {
        match self.namespace {
            "" => self.name.to_owned(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }

    async fn tell(&self, type_: EventType, reason: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            // The API server takes 1024 bytes.
            note: Some(note.chars().take(900).collect()),
            action: "Sign".to_owned(),
            secondary: None,
        };
        // An Event is a courtesy: conditions, metrics and the audit log say the same.
        if let Err(error) = self.context.recorder.publish(&event, &self.reference).await {
            tracing::debug!(request = %self.full_name(), "no Event was written: {}", chain(&error));
        }
    }
}
