//! A token, judged by the API server.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use model::codes::kube as codes;

use crate::error::{Error, Result};
use crate::signer::Denial;

/// Whom a token has to be meant for: ours, and the one that proxies of Istio's mesh ask for.
pub const AUDIENCES: [&str; 2] = ["handfast-ca", "istio-ca"];

const USER: &str = "system:serviceaccount:";
const EXTRA: &str = "authentication.kubernetes.io/";

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Namespace of the service account and of the pod.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// The pod that the token is bound to.
    pub pod: String,
    /// Its uid.
    pub pod_uid: String,
    /// The node that the pod runs on, where the API server says so.
    pub node: Option<String>,
}

/// Asks the API server about a token.
///
/// # Errors
///
/// When it cannot be asked. That the token is no good is a [`Denial`].
pub async fn review(client: &Client, token: &str) -> Result<Result<Bearer, Denial>> {
    let audiences = Some(AUDIENCES.map(str::to_owned).to_vec());
    let spec = TokenReviewSpec { audiences, token: token.to_owned() };
    let asked = TokenReview { spec, ..TokenReview::default() };
    let answer = Api::<TokenReview>::all(client.clone()).create(&PostParams::default(), &asked).await;
    let answer = answer.map_err(Error::api("review a token"))?;
    Ok(bearer(&answer.status.unwrap_or_default()))
}

/// Whose token it is, by the API server's answer.
///
/// # Errors
///
/// When it is nobody's, for somebody else, or not bound to a pod.
pub fn bearer(status: &TokenReviewStatus) -> Result<Bearer, Denial> {
    let deny = |reason, message: String| Denial { code: &codes::REQUESTER_NOT_A_POD, reason, message };
    if status.authenticated != Some(true) {
        let why = status.error.as_deref().unwrap_or("the API server does not know it");
        return Err(deny("TokenInvalid", format!("the token is not accepted: {why}")));
    }
    // An API server that does not know of audiences returns none, and then the token is its own.
    let meant = status.audiences.iter().flatten().any(|audience| AUDIENCES.contains(&audience.as_str()));
    if !meant {
        let message = format!("the token is not meant for {}", AUDIENCES.join(" or "));
        return Err(deny("TokenAudience", message));
    }
    let user = status.user.clone().unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let account = name.strip_prefix(USER).and_then(|rest| rest.split_once(':'));
    let Some((namespace, service_account)) = account else {
        return Err(deny("NotAServiceAccount", format!("the token is that of {name:?}, no service account")));
    };
    let extra = user.extra.unwrap_or_default();
    let one = |key: &str| match extra.get(&format!("{EXTRA}{key}")).map(Vec::as_slice) {
        Some([value]) if !value.is_empty() => Some(value.clone()),
        _ => None,
    };
    let (Some(pod), Some(pod_uid)) = (one("pod-name"), one("pod-uid")) else {
        return Err(deny("TokenNotBound", format!("the token of {name} is not bound to a pod")));
    };
    Ok(Bearer {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        pod,
        pod_uid,
        node: one("node-name"),
    })
}
