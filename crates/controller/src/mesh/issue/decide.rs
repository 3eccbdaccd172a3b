//! What is issued to whom. Pure.

use certs::AltName;
use k8s_openapi::api::core::v1::Pod;
use model::codes::{kube as codes, mesh as mesh_codes};
use model::identity::{SpiffeId, TrustDomain};
use time::Duration;

use super::{Bearer, NodeAccount, account_of};
use crate::mesh::pods::is_over;
use crate::signer::{Denial, Grant, SHORTEST, contained};

/// The lifetime of a workload's certificate, and the longest that is granted.
pub const LIFETIME: Duration = Duration::hours(24);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The request, PEM: for its key.
    pub csr: &'a str,
    /// The lifetime that is wished for, in seconds; 0 leaves it open.
    pub seconds: i64,
    /// In whose name a node's proxy asks.
    pub impersonated: Option<&'a str>,
}

/// Decides. `pod` is the bearer's pod as it is now, if there is one of that uid; `pods` are those of the cluster.
///
/// # Errors
///
/// When the API server's facts do not justify it.
pub fn decide<'a>(
    bearer: &Bearer,
    pod: Option<&Pod>,
    pods: impl IntoIterator<Item = &'a Pod>,
    nodes: &[NodeAccount],
    trust_domain: &TrustDomain,
    asked: &Asked<'_>,
) -> Result<Grant, Denial> {
    let own = identity(bearer, pod, trust_domain)?;
    let granted = match asked.impersonated.filter(|name| *name != own.to_string()) {
        None => own,
        Some(name) => of_neighbour(bearer, pod, pods, nodes, trust_domain, name)?,
    };
    let name = AltName::uri(&granted.to_string()).map_err(|error| beyond(error.to_string()))?;
    let request = contained(asked.csr.as_bytes(), std::slice::from_ref(&name))?;
    let wished = if asked.seconds > 0 { Duration::seconds(asked.seconds) } else { LIFETIME };
    let lifetime = wished.clamp(SHORTEST, LIFETIME);
    Ok(Grant { names: vec![name], request, lifetime, shortest: SHORTEST })
}

/// Who the bearer of a token is: the identity of its pod.
///
/// # Errors
///
/// When the pod is gone, has ended, or runs as somebody else.
pub fn identity(bearer: &Bearer, pod: Option<&Pod>, trust_domain: &TrustDomain) -> Result<SpiffeId, Denial> {
    let Bearer { namespace, service_account, pod: name, .. } = bearer;
    let gone = |reason, message| Denial { code: &codes::REQUESTER_NOT_A_POD, reason, message };
    let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_deref() == Some(bearer.pod_uid.as_str())) else {
        let message = format!("the pod {namespace}/{name} that asked does not exist any more");
        return Err(gone("PodGone", message));
    };
    if is_over(pod) {
        return Err(gone("PodEnded", format!("the pod {namespace}/{name} has ended")));
    }
    if account_of(pod) != service_account {
        let message =
            format!("the pod {namespace}/{name} runs as {}, not as {service_account}", account_of(pod));
        return Err(gone("WrongServiceAccount", message));
    }
    SpiffeId::service_account(trust_domain, namespace, service_account)
        .map_err(|error| beyond(format!("{namespace}/{service_account} gives no SPIFFE ID: {error}")))
}

/// Whether a pod may know the whole mesh: it has a proxy of its own, or is one that carries the pods of its node.
///
/// # Errors
///
/// When it is neither.
pub fn takes_part(bearer: &Bearer, pod: &Pod, nodes: &[NodeAccount]) -> Result<(), Denial> {
    let Bearer { namespace, service_account, pod: name, .. } = bearer;
    if crate::inject::is_injected(pod) || is_node(bearer, nodes) {
        return Ok(());
    }
    Err(Denial {
        code: &mesh_codes::NOT_A_PROXY,
        reason: "NotAProxy",
        message: format!(
            "the pod {namespace}/{name} has no proxy of the mesh, and {namespace}/{service_account} carries no node's pods"
        ),
    })
}

fn is_node(bearer: &Bearer, nodes: &[NodeAccount]) -> bool {
    nodes.iter().any(|node| node.namespace == bearer.namespace && node.name == bearer.service_account)
}

/// The identity of a pod on the bearer's own node, for a proxy that carries all pods of a node.
fn of_neighbour<'a>(
    bearer: &Bearer,
    pod: Option<&Pod>,
    pods: impl IntoIterator<Item = &'a Pod>,
    nodes: &[NodeAccount],
    trust_domain: &TrustDomain,
    name: &str,
) -> Result<SpiffeId, Denial> {
    let Bearer { namespace, service_account, .. } = bearer;
    if !is_node(bearer, nodes) {
        let message = format!("{namespace}/{service_account} may not ask in the name of {name}");
        return Err(beyond(message));
    }
    let of =
        |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty());
    let node =
        pod.and_then(of).ok_or_else(|| beyond(format!("{namespace}/{} runs on no node", bearer.pod)))?;
    // The token says where it was given out, the pod where it runs: of one pod these are the same.
    if bearer.node.as_ref().is_some_and(|claimed| *claimed != node) {
        return Err(beyond(format!("the token is of another node than {node}")));
    }
    let wanted: SpiffeId =
        name.parse().map_err(|error| beyond(format!("{name:?} is no SPIFFE ID: {error}")))?;
    let fits = |pod: &Pod| {
        !is_over(pod)
            && of(pod).as_ref() == Some(&node)
            && SpiffeId::service_account(
                trust_domain,
                pod.metadata.namespace.as_deref().unwrap_or_default(),
                account_of(pod),
            )
            .is_ok_and(|id| id == wanted)
    };
    match pods.into_iter().any(fits) {
        true => Ok(wanted),
        false => Err(beyond(format!("no pod of {name} runs on the node {node}"))),
    }
}

fn beyond(message: String) -> Denial {
    Denial { code: &codes::REQUEST_NOT_JUSTIFIED, reason: "NotJustified", message }
}
