//! Asks the API server itself, by SubjectAccessReview: it knows authorisers that no list of bindings shows.

use controller::rbac::{Ask, Subject};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use model::codes::kube::RBAC_CLUSTER;

use super::listing;
use crate::failure::Failure;

/// Questions on their way at the same time.
const AT_ONCE: usize = 16;

/// The answer to a question that was answered with yes: its position, and what the API server says about why.
pub(super) struct Allowed {
    pub(super) index: usize,
    pub(super) reason: String,
}

/// Asks all of it; only what is allowed comes back, in the order of the questions.
pub(super) async fn ask_all(client: &Client, questions: &[(Subject, Ask)]) -> Result<Vec<Allowed>, Failure> {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answers = stream::iter(questions.iter().enumerate()).map(|(index, (subject, ask))| {
        let api = api.clone();
        async move {
            let review = SubjectAccessReview { spec: spec(subject, ask), ..SubjectAccessReview::default() };
            let answer = api.create(&PostParams::default(), &review).await.map_err(|error| {
                listing::failed(
                    &RBAC_CLUSTER,
                    &format!("cannot ask whether {subject} may {}", ask.verb),
                    &error,
                )
            })?;
            let status = answer.status.unwrap_or_default();
            Ok::<_, Failure>(
                status.allowed.then(|| Allowed { index, reason: status.reason.unwrap_or_default() }),
            )
        }
    });
    let allowed: Vec<Option<Allowed>> = answers.buffered(AT_ONCE).try_collect().await?;
    Ok(allowed.into_iter().flatten().collect())
}

fn spec(subject: &Subject, ask: &Ask) -> SubjectAccessReviewSpec {
    let filled = |text: &String| (!text.is_empty()).then(|| text.clone());
    SubjectAccessReviewSpec {
        user: subject.user(),
        groups: Some(subject.groups()),
        resource_attributes: Some(ResourceAttributes {
            namespace: ask.namespace.clone(),
            verb: Some(ask.verb.clone()),
            group: filled(&ask.group),
            resource: Some(ask.resource.clone()),
            subresource: filled(&ask.subresource),
            name: ask.name.clone(),
            version: Some("*".to_owned()),
            ..ResourceAttributes::default()
        }),
        ..SubjectAccessReviewSpec::default()
    }
}
