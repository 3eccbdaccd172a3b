//! A CertificateSigningRequest: the requester is in the fields that the API server itself fills in from the token.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use time::Duration;

use super::vouched::{self, Claim};
use super::{Decision, Denial, Grant, SHORTEST, Vouched, contained, lifetime};
use crate::grant::Domains;
use crate::names::SIGNER;

const USER: &str = "system:serviceaccount:";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
/// Usages that a workload's certificate has.
const USAGES: [&str; 4] = ["digital signature", "key encipherment", "server auth", "client auth"];

/// Whom to look up before [`decide`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// Namespace of the service account and its pod.
    pub namespace: String,
    /// Name of the service account.
    pub service_account: String,
    service_account_uid: String,
    /// Name of the pod that the token is bound to.
    pub pod: String,
    pod_uid: String,
}

/// The requester of a request that waits for this signer; none where it is not ours to decide.
///
/// # Errors
///
/// When it was not a pod that asked.
pub fn requester(csr: &CertificateSigningRequest) -> Result<Option<Requester>, Denial> {
    let conditions = csr.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let decided = conditions.into_iter().any(|known| matches!(known.type_.as_str(), "Denied" | "Failed"));
    let signed = csr.status.as_ref().is_some_and(|status| status.certificate.is_some());
    if csr.spec.signer_name != SIGNER || decided || signed {
        return Ok(None);
    }
    let user = csr.spec.username.as_deref().unwrap_or_default();
    let account = user.strip_prefix(USER).and_then(|rest| rest.split_once(':'));
    let Some((namespace, service_account)) = account else {
        return Err(Denial::requester(
            "NotAServiceAccount",
            format!("{SIGNER} signs for pods only, and the request comes from the user {user:?}"),
        ));
    };
    let groups = csr.spec.groups.clone().unwrap_or_default();
    // Nobody but the API server's own authenticator puts a user into both; a certificate for that name lacks them.
    let own = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    let uid = csr.spec.uid.clone().filter(|uid| !uid.is_empty());
    let (true, Some(service_account_uid)) = (own.iter().all(|group| groups.contains(group)), uid) else {
        return Err(Denial::requester(
            "NotAServiceAccount",
            format!(
                "the request comes from somebody in the name of {user}, not with that service account's token"
            ),
        ));
    };
    let extra = |key: &str| match csr.spec.extra.as_ref().and_then(|extra| extra.get(key)).map(Vec::as_slice)
    {
        Some([value]) if !value.is_empty() => Some(value.clone()),
        _ => None,
    };
    let (Some(pod), Some(pod_uid)) = (extra(POD_NAME), extra(POD_UID)) else {
        return Err(Denial::requester(
            "TokenNotBound",
            format!("the token of {user} is not bound to a pod; use the one that is mounted into the pod"),
        ));
    };
    Ok(Some(Requester {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        service_account_uid,
        pod,
        pod_uid,
    }))
}

/// Decides. `vouched` holds what was found of the [`requester`], `longest` is the longest lifetime.
pub fn decide(
    csr: &CertificateSigningRequest,
    vouched: &Vouched,
    domains: &Domains,
    longest: Duration,
) -> Decision {
    match examine(csr, vouched, domains, longest) {
        Ok(None) => Decision::Ignore,
        Ok(Some(grant)) => Decision::Sign(Box::new(grant)),
        Err(denial) => Decision::Deny(denial),
    }
}

fn examine(
    csr: &CertificateSigningRequest,
    vouched: &Vouched,
    domains: &Domains,
    longest: Duration,
) -> Result<Option<Grant>, Denial> {
    let Some(requester) = requester(csr)? else { return Ok(None) };
    let claim = Claim {
        namespace: &requester.namespace,
        service_account: &requester.service_account,
        service_account_uid: &requester.service_account_uid,
        pod: &requester.pod,
        pod_uid: &requester.pod_uid,
    };
    let pod = vouched::check(&claim, vouched)?;
    let usages = csr.spec.usages.as_deref().unwrap_or_default();
    if let Some(usage) = usages.iter().find(|usage| !USAGES.contains(&usage.as_str())) {
        return Err(Denial::beyond(
            "UsageNotGranted",
            format!("the usage {usage:?} is not given to workloads"),
        ));
    }
    let names = vouched::names(claim.namespace, claim.service_account, pod, &vouched.services, domains)?;
    let request = contained(&csr.spec.request.0, &names)?;
    let lifetime = lifetime(csr.spec.expiration_seconds.map(i64::from), longest);
    Ok(Some(Grant { names, request, lifetime, shortest: SHORTEST }))
}
