//! A PodCertificateRequest: the kubelet asks, and the API server has checked that the pod runs on its node.

use k8s_openapi::api::certificates::v1beta1::PodCertificateRequest;
use time::Duration;

use super::status::is_pod_decided;
use super::vouched::{self, Claim};
use super::{BACKDATED, Decision, Denial, Grant, Vouched, contained, lifetime};
use crate::grant::Domains;
use crate::names::SIGNER;

/// Decides. `vouched` holds the live objects that the request names.
pub fn decide(
    request: &PodCertificateRequest,
    vouched: &Vouched,
    domains: &Domains,
    longest: Duration,
) -> Decision {
    match examine(request, vouched, domains, longest) {
        Ok(None) => Decision::Ignore,
        Ok(Some(grant)) => Decision::Sign(Box::new(grant)),
        Err(denial) => Decision::Deny(denial),
    }
}

fn examine(
    request: &PodCertificateRequest,
    vouched: &Vouched,
    domains: &Domains,
    longest: Duration,
) -> Result<Option<Grant>, Denial> {
    let spec = &request.spec;
    let decided = is_pod_decided(request);
    if spec.signer_name != SIGNER || decided {
        return Ok(None);
    }
    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
    let claim = Claim {
        namespace,
        service_account: &spec.service_account_name,
        service_account_uid: &spec.service_account_uid,
        pod: &spec.pod_name,
        pod_uid: &spec.pod_uid,
    };
    let pod = vouched::check(&claim, vouched)?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if node != Some(spec.node_name.as_str()) {
        return Err(Denial::requester(
            "WrongNode",
            format!("the pod {namespace}/{} does not run on the node {}", spec.pod_name, spec.node_name),
        ));
    }
    let names = vouched::names(namespace, &spec.service_account_name, pod, &vouched.services, domains)?;
    if spec.stub_pkc_s10_request.0.is_empty() {
        return Err(Denial::unreadable(
            "NoRequest",
            format!("the kubelet of {} sends a key without a request: it is older than 1.36", spec.node_name),
        ));
    }
    // A stub without names in it, but signed with the key: what it asks for is nothing.
    let stub = contained(&spec.stub_pkc_s10_request.0, &names)?;
    Ok(Some(Grant {
        names,
        request: stub,
        // The API counts from the start of validity, and refuses a second more than was asked for, or less than an hour.
        lifetime: lifetime(spec.max_expiration_seconds.map(i64::from), longest) - BACKDATED,
        shortest: Duration::HOUR - BACKDATED,
    }))
}
