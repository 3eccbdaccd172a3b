//! A PodCertificateRequest: the kubelet asks, and the API server has checked that the pod runs on its node.

use k8s_openapi::api::certificates::v1beta1::PodCertificateRequest;
use time::Duration;

use super::vouched::{self, Claim};
use super::{Decision, Denial, Domains, Grant, Vouched, contained, lifetime};
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
    let decided = request.status.as_ref().is_some_and(|status| {
        let conditions = status.conditions.iter().flatten();
        status.certificate_chain.is_some()
            || conditions
                .into_iter()
                .any(|known| matches!(known.type_.as_str(), "Issued" | "Denied" | "Failed"))
    });
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
        return Err(Denial::new(
            "WrongNode",
            format!("the pod {namespace}/{} does not run on the node {}", spec.pod_name, spec.node_name),
        ));
    }
    let names = vouched::names(namespace, &spec.service_account_name, pod, &vouched.services, domains)?;
    // A stub without names in it, but signed with the key: what it asks for is nothing.
    let stub = contained(&spec.stub_pkc_s10_request.0, &names)?;
    Ok(Some(Grant {
        names,
        request: stub,
        lifetime: lifetime(spec.max_expiration_seconds.map(i64::from), longest),
    }))
}
