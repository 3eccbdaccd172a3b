//! What the API server vouches for: a live pod, its service account, and the Services that select it.

use certs::AltName;
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use model::identity::SpiffeId;

use super::Denial;
use crate::grant::{Domains, reserved};

/// More Services for one pod would not fit into a handshake.
const MOST_SERVICES: usize = 20;

/// The objects of the requester, read from the API server now; none where there is none.
#[derive(Clone, Debug, Default)]
pub struct Vouched {
    /// The pod that the request is bound to.
    pub pod: Option<Pod>,
    /// Its service account.
    pub service_account: Option<ServiceAccount>,
    /// All Services of the namespace.
    pub services: Vec<Service>,
}

/// Who the request says is asking, in fields that the API server filled in or checked.
pub(super) struct Claim<'a> {
    pub(super) namespace: &'a str,
    pub(super) service_account: &'a str,
    pub(super) service_account_uid: &'a str,
    pub(super) pod: &'a str,
    pub(super) pod_uid: &'a str,
}

/// Whether the live objects are those of the claim. A pod or an account of the same name that was made anew is not.
pub(super) fn check<'a>(claim: &Claim<'_>, vouched: &'a Vouched) -> Result<&'a Pod, Denial> {
    let Claim { namespace, service_account, pod: name, .. } = claim;
    let account = vouched.service_account.as_ref().filter(|account| {
        account.metadata.name.as_deref() == Some(service_account)
            && account.metadata.namespace.as_deref() == Some(namespace)
            && account.metadata.uid.as_deref() == Some(claim.service_account_uid)
    });
    if account.is_none() {
        return Err(Denial::requester(
            "ServiceAccountGone",
            format!("the service account {namespace}/{service_account} that asked does not exist any more"),
        ));
    }
    let pod = vouched.pod.as_ref().filter(|pod| {
        pod.metadata.name.as_deref() == Some(name)
            && pod.metadata.namespace.as_deref() == Some(namespace)
            && pod.metadata.uid.as_deref() == Some(claim.pod_uid)
    });
    let Some(pod) = pod else {
        return Err(Denial::requester(
            "PodGone",
            format!("the pod {namespace}/{name} that asked does not exist any more"),
        ));
    };
    let runs_as =
        pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    if runs_as != *service_account {
        return Err(Denial::requester(
            "WrongServiceAccount",
            format!("the pod {namespace}/{name} runs as {runs_as}, not as {service_account}"),
        ));
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed")) {
        return Err(Denial::requester("PodEnded", format!("the pod {namespace}/{name} has ended")));
    }
    Ok(pod)
}

/// The names that a pod has a right to: its service account's SPIFFE ID, and the DNS names of Services that select it.
///
/// # Errors
///
/// When a part makes no valid name, or there are too many.
pub fn names(
    namespace: &str,
    service_account: &str,
    pod: &Pod,
    services: &[Service],
    domains: &Domains,
) -> Result<Vec<AltName>, Denial> {
    let bad = |why: String| Denial::beyond("NameNotPossible", why);
    let id = SpiffeId::service_account(&domains.trust, namespace, service_account)
        .map_err(|error| bad(format!("the service account {service_account} gives no SPIFFE ID: {error}")))?;
    let mut names = vec![AltName::uri(&id.to_string()).map_err(|error| bad(error.to_string()))?];
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let mut selecting: Vec<&str> = services
        .iter()
        .filter(|service| service.metadata.namespace.as_deref() == Some(namespace))
        .filter(|service| {
            service.spec.as_ref().is_some_and(|spec| {
                let selector = spec.selector.iter().flatten();
                // Without a selector a Service selects nothing; an ExternalName is somebody else's address.
                spec.type_.as_deref() != Some("ExternalName")
                    && selector.clone().next().is_some()
                    && selector.into_iter().all(|(key, value)| labels.get(key) == Some(value))
            })
        })
        .filter_map(|service| service.metadata.name.as_deref())
        .filter(|service| reserved(namespace, service).is_none())
        .collect();
    selecting.sort_unstable();
    selecting.dedup();
    if selecting.len() > MOST_SERVICES {
        return Err(bad(format!("{} Services select the pod, more than {MOST_SERVICES}", selecting.len())));
    }
    for service in selecting {
        let long = format!("{service}.{namespace}.svc");
        let own = [
            service.to_owned(),
            format!("{service}.{namespace}"),
            long.clone(),
            format!("{long}.{}", domains.cluster),
        ];
        for name in own {
            names.push(AltName::dns(&name).map_err(|error| bad(error.to_string()))?);
        }
    }
    Ok(names)
}
