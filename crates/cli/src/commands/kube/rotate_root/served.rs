//! What a pod serves: a handshake with each of its ports, through a port that the API server forwards. No network
//! policy is in between, and nothing has to run in the pod. What is bound to the pod's address only is not reached.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client};
use probe::attempt::{Application, Attempt, Client as Handshake};

use super::super::test::find;
use super::mounts::User;

/// For one handshake.
const LIMIT: Duration = Duration::from_secs(10);
/// Ports of one pod that are looked at: nobody's pod keeps a rotation waiting by naming thousands.
const PORTS: usize = 20;
/// Of them at one time.
const AT_ONCE: usize = 5;

/// What a port showed.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its number in the pod.
    pub number: u16,
    /// What was shown, or why nothing was.
    pub shown: Result<Shown, String>,
}

/// A handshake.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The leaf (DER).
    pub leaf: Vec<u8>,
    /// Whose clients it asks for.
    pub asks: Asks,
}

/// A server's request for a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asks {
    /// None: it verifies nobody.
    Nobody,
    /// It does not say whose.
    Anybody,
    /// Names of authorities (DER).
    Named(Vec<Vec<u8>>),
}

/// The TCP ports of a pod that its containers or Services name.
pub fn ports(pod: &Pod, services: &[Service]) -> BTreeSet<u16> {
    let spec = pod.spec.as_ref();
    let containers =
        spec.into_iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
    let tcp = |protocol: &Option<String>| protocol.as_deref().unwrap_or("TCP") == "TCP";
    let own = containers
        .flat_map(|container| container.ports.iter().flatten())
        .filter(|port| tcp(&port.protocol))
        .filter_map(|port| u16::try_from(port.container_port).ok());
    let leads = |service: &&Service| {
        service.metadata.namespace == pod.metadata.namespace && find::selects(service, pod)
    };
    let of_services = services
        .iter()
        .filter(leads)
        .flat_map(|service| service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()))
        .filter(|port| tcp(&port.protocol))
        .filter_map(|port| find::address(pod, port))
        .map(|address| address.port());
    own.chain(of_services).collect()
}

/// Shakes hands with each port. `name` is the server name that is asked for.
pub async fn served(client: &Client, user: &User, ports: BTreeSet<u16>, name: &str) -> Vec<Port> {
    each(ports, |number| one(client, user, number, name)).await
}

/// Asks for each port, in its order in the answer; those beyond [`PORTS`] are not asked for.
async fn each<F>(ports: BTreeSet<u16>, ask: impl Fn(u16) -> F) -> Vec<Port>
where
    F: Future<Output = Result<Shown, String>>,
{
    let ask = &ask;
    let looks = ports.iter().take(PORTS).map(|number| async move {
        let shown = tokio::time::timeout(LIMIT * 2, ask(*number)).await;
        Port { number: *number, shown: shown.unwrap_or_else(|_| Err("no answer".to_owned())) }
    });
    let mut seen: Vec<Port> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    seen.extend(ports.iter().skip(PORTS).map(|number| Port {
        number: *number,
        shown: Err(format!("not looked at: the pod names more than {PORTS} ports")),
    }));
    seen
}

async fn one(client: &Client, user: &User, number: u16, name: &str) -> Result<Shown, String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), user.namespace());
    let pod = user.pod.metadata.name.as_deref().unwrap_or_default();
    let attempt = Attempt {
        version: None,
        name: name.to_owned(),
        alpn: Vec::new(),
        client: None,
        application: Application::Tcp,
        timeout: LIMIT,
    };
    let mut forward =
        pods.portforward(pod, &[number]).await.map_err(|error| controller::error::chain(&error))?;
    let stream = forward.take_stream(number).ok_or("the API server forwards no stream")?;
    let handshake = Handshake::new(&attempt, None).map_err(|error| error.to_string())?;
    let outcome = handshake.over(stream, &attempt).await;
    forward.abort();
    let leaf = outcome.facts.chain.first().map(|leaf| leaf.to_vec());
    let leaf = leaf.ok_or_else(|| format!("no TLS there: {:?}", outcome.end))?;
    let asks = match outcome.facts.asked {
        None => Asks::Nobody,
        Some(asked) if asked.authorities.is_empty() => Asks::Anybody,
        Some(asked) => Asks::Named(asked.authorities),
    };
    Ok(Shown { leaf, asks })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn of_a_pod_with_many_ports_some_are_asked_for_several_at_one_time() {
        let (asked, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let now = AtomicUsize::new(0);
        let seen = each((1..=1000).collect(), |_| async {
            asked.fetch_add(1, Ordering::Relaxed);
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            now.fetch_sub(1, Ordering::Relaxed);
            Err("no TLS there".to_owned())
        });
        let seen = seen.await;
        assert_eq!((asked.into_inner(), most.into_inner()), (PORTS, AT_ONCE));
        let numbers: Vec<u16> = seen.iter().map(|port| port.number).collect();
        assert_eq!(numbers, (1..=1000).collect::<Vec<u16>>());
        let why = |port: &Port| port.shown.as_ref().err().cloned().unwrap_or_default();
        assert_eq!(why(&seen[19]), "no TLS there");
        assert!(why(&seen[999]).contains("more than 20 ports"));
    }
}
