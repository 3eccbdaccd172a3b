//! Everything that a guard looks at: bundles and Secrets in the API server, and what running pods have and serve.

use std::collections::{BTreeMap, BTreeSet};

use certs::certificates_of_pem;
use controller::Certificate;
use controller::authority::State;
use controller::names::{CONTROLLER, REVOCATION_CONFIG_MAP, TRUST_CONFIG_MAP, secret as annotation};
use controller::reconcile::check_owner;
use controller::trust::{CLUSTER_TRUST_BUNDLE, CLUSTER_TRUST_BUNDLES, KEY, LISTS_KEY, is_managed};
use controller::world::wants_trust;
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use time::OffsetDateTime;

use super::super::{listing, test::find};
use super::look::{self, How, Seen};
use super::mounts::{Holds, Source, User, user};
use super::served::{self, Port};
use crate::failure::Failure;

/// Questions at one time.
const AT_ONCE: usize = 8;

/// An object with a bundle: its name for people, its roots, and when the controller wrote it last.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// As in `ConfigMap shop/handfast-trust`.
    pub title: String,
    /// What lies in it.
    pub roots: Seen,
    /// Revocation lists that lie in it, PEM.
    pub lists: String,
    /// When it was written.
    pub written: Option<OffsetDateTime>,
}

/// A managed Secret.
#[derive(Clone, Debug)]
pub struct Managed {
    /// As in `Secret shop/web-tls`, with its bundle.
    pub bundle: Bundle,
    /// Its chain.
    pub chain: Seen,
    /// Whether servers use it.
    pub server: bool,
    /// Whether clients use it.
    pub client: bool,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The pod.
    pub user: User,
    /// Place by place.
    pub seen: Vec<Seen>,
    /// What it serves; empty for what no server Secret is mounted in.
    pub ports: Vec<Port>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Trust bundles: ConfigMaps and the ClusterTrustBundle, by namespace (empty for the latter).
    pub bundles: BTreeMap<String, Bundle>,
    /// Managed Secrets, by namespace and name.
    pub secrets: BTreeMap<(String, String), Managed>,
    /// Pods.
    pub pods: Vec<Observed>,
    /// The published revocation lists, PEM, by key.
    pub lists: BTreeMap<String, String>,
    /// Namespaces with pods that mount the lists, as the sidecar's do.
    pub list_users: BTreeSet<String>,
    /// The mesh is installed: of its proxies its control planes know more than their pods show.
    pub mesh: bool,
}

/// What the objects say; pods are not looked at.
pub async fn objects(client: &Client, system: &str, state: &State) -> Result<Evidence, Failure> {
    let mut evidence = Evidence::default();
    let failed = |action: &str| controller::Error::api(action.to_owned());
    let certificates = Api::<Certificate>::all(client.clone());
    let certificates = listing::all(&certificates, &ListParams::default()).await;
    let certificates = certificates.map_err(failed("list the Certificates"))?;
    let namespaces =
        listing::all_metadata(&Api::<Namespace>::all(client.clone()), &ListParams::default()).await;
    let mut namespaces = namespaces.map_err(failed("list the Namespaces"))?;
    // Nothing can be written into one that is being deleted.
    namespaces.retain(|found| found.metadata.deletion_timestamp.is_none());
    let live: BTreeSet<String> = namespaces.iter().filter_map(|found| found.metadata.name.clone()).collect();
    let lives = |metadata: &ObjectMeta| {
        metadata.deletion_timestamp.is_none()
            && metadata.namespace.as_ref().is_some_and(|namespace| live.contains(namespace))
    };
    let certificates: Vec<Certificate> =
        certificates.into_iter().filter(|found| lives(&found.metadata)).collect();
    let by_name = ListParams::default().fields(&format!("metadata.name={TRUST_CONFIG_MAP}"));
    let maps = listing::all(&Api::<ConfigMap>::all(client.clone()), &by_name).await;
    let maps = maps.map_err(failed("list the trust bundles"))?;
    let of_certificates = certificates.iter().filter_map(|found| found.metadata.namespace.clone());
    let of_labels =
        namespaces.iter().filter(|found| wants_trust(found)).filter_map(|f| f.metadata.name.clone());
    for namespace in of_certificates.chain(of_labels) {
        let title = format!("ConfigMap {namespace}/{TRUST_CONFIG_MAP}");
        let missing = Bundle::missing(title);
        evidence.bundles.insert(namespace, missing);
    }
    for map in maps.into_iter().filter(|map| lives(&map.metadata)) {
        let namespace = map.metadata.namespace.clone().unwrap_or_default();
        // What the controller does not call its own it does not bring up to date either.
        if !is_managed(&map) && !evidence.bundles.contains_key(&namespace) {
            continue;
        }
        let text = |key: &str| map.data.as_ref().and_then(|data| data.get(key)).cloned().unwrap_or_default();
        let title = format!("ConfigMap {namespace}/{TRUST_CONFIG_MAP}");
        let (roots, written) = (parsed(&text(KEY)), written(&map.metadata));
        let bundle = Bundle { title, roots, lists: text(LISTS_KEY), written };
        evidence.bundles.insert(namespace, bundle);
    }
    if let Some(kind) = CLUSTER_TRUST_BUNDLES.find(client).await? {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        let found = api.get_opt(CLUSTER_TRUST_BUNDLE).await.map_err(failed("read the ClusterTrustBundle"))?;
        let title = format!("ClusterTrustBundle {CLUSTER_TRUST_BUNDLE}");
        let bundle = match found {
            None => Bundle::missing(title),
            Some(found) => Bundle {
                title,
                roots: parsed(found.data["spec"]["trustBundle"].as_str().unwrap_or_default()),
                lists: String::new(),
                written: written(&found.metadata),
            },
        };
        evidence.bundles.insert(String::new(), bundle);
    }
    let names: BTreeSet<(String, String)> = certificates
        .iter()
        .filter_map(|found| Some((found.metadata.namespace.clone()?, found.spec.secret_name.clone())))
        .collect();
    let reads = names.into_iter().map(|(namespace, name)| async move {
        let found = Api::<Secret>::namespaced(client.clone(), &namespace).get_opt(&name).await;
        ((namespace, name), found)
    });
    let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    while let Some((key, found)) = reads.next().await {
        let title = format!("Secret {}/{}", key.0, key.1);
        match found.map_err(controller::Error::api(format!("read the {title}"))) {
            // It was not made yet: nobody can have it.
            Ok(None) => {}
            Ok(Some(secret)) => {
                let naming = certificates.iter().filter(|found| {
                    let namespace = found.metadata.namespace.as_deref().unwrap_or_default();
                    (namespace, found.spec.secret_name.as_str()) == (key.0.as_str(), key.1.as_str())
                });
                let ours = naming.into_iter().any(|found| check_owner(found, &secret).is_ok());
                let found = managed(title, &secret);
                if ours || found.is_of(state) {
                    evidence.secrets.insert(key, found);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), system);
    let lists = api.get_opt(REVOCATION_CONFIG_MAP).await.map_err(failed("read the revocation lists"))?;
    evidence.lists = lists.and_then(|map| map.data).unwrap_or_default();
    let pods = listing::all(&Api::<Pod>::all(client.clone()), &ListParams::default()).await;
    let pods = pods.map_err(failed("list the pods"))?;
    let users = pods.iter().filter(|pod| has_started(pod) && super::mounts::has_lists(pod));
    evidence.list_users = users.filter_map(|pod| pod.metadata.namespace.clone()).collect();
    Ok(evidence)
}

fn managed(title: String, secret: &Secret) -> Managed {
    let text = |key: &str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value.map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default()
    };
    let usage = secret.metadata.annotations.as_ref().and_then(|all| all.get(annotation::USAGE));
    let usage = usage.map_or("both", String::as_str);
    Managed {
        bundle: Bundle {
            title,
            roots: parsed(&text("ca.crt")),
            lists: String::new(),
            written: written(&secret.metadata),
        },
        chain: parsed(&text("tls.crt")),
        server: usage != "client",
        client: usage != "server",
    }
}

impl Bundle {
    fn missing(title: String) -> Self {
        let roots = Err("it does not exist yet".to_owned());
        Self { title, roots, lists: String::new(), written: None }
    }
}

impl Managed {
    /// Whether it holds a certificate of this authority. Then it counts, whoever it belongs to by now: somebody may
    /// show it.
    fn is_of(&self, state: &State) -> bool {
        let leaf = self.chain.as_ref().ok().and_then(|chain| chain.first());
        leaf.is_some_and(|leaf| state.issuer_of(leaf).is_some())
    }
}

fn parsed(text: &str) -> Seen {
    certificates_of_pem(text).map_err(|why| why.to_string())
}

/// When the controller changed it last, by the API server's clock.
fn written(metadata: &ObjectMeta) -> Option<OffsetDateTime> {
    let entries = metadata.managed_fields.as_ref()?.iter();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(CONTROLLER));
    let at = ours.filter_map(|entry| entry.time.as_ref()).map(|time| time.0.as_second()).max()?;
    OffsetDateTime::from_unix_timestamp(at).ok()
}

/// Looks at the pods. `wanted` says what a place should hold, so that a look from beside can wait for it.
pub async fn pods(
    client: &Client,
    evidence: &mut Evidence,
    how: &How<'_>,
    wanted: &(impl Fn(&Evidence, &User, &super::mounts::Place) -> Option<Vec<u8>> + Sync),
    serves: bool,
) -> Result<(), Failure> {
    let found = listing::all(&Api::<Pod>::all(client.clone()), &ListParams::default()).await;
    let found = found.map_err(controller::Error::api("list the pods"))?;
    let services = listing::all(&Api::<Service>::all(client.clone()), &ListParams::default()).await;
    let services = services.map_err(controller::Error::api("list the Services"))?;
    let mut managed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (namespace, name) in evidence.secrets.keys() {
        managed.entry(namespace).or_default().insert(name.clone());
    }
    let none = BTreeSet::new();
    let users: Vec<User> = found
        .iter()
        .filter(|pod| find::is_running(pod) || has_started(pod))
        .filter_map(|pod| {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let user = user(pod, managed.get(namespace).unwrap_or(&none))?;
            if evidence.mesh { user.without_proxy() } else { Some(user) }
        })
        .collect();
    let known: &Evidence = evidence;
    let services = &services;
    let looks = users.into_iter().map(|user| async move {
        let seen = look::look(client, &user, how, |place| wanted(known, &user, place)).await;
        let name = server_name(known, &user);
        let ports = match (serves, &name) {
            (true, Some(name)) => {
                let ports = served::ports(&user.pod, services);
                served::served(client, &user, ports, name).await
            }
            _ => Vec::new(),
        };
        Observed { user, seen, ports }
    });
    let mut pods: Vec<Observed> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
    pods.sort_by(|one, other| one.user.name.cmp(&other.user.name));
    evidence.pods = pods;
    Ok(())
}

/// A pod that is being deleted serves until it ends, and one may begin to before it is called running.
fn has_started(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// The name by which clients ask this pod; `None` where it has no server Secret.
fn server_name(evidence: &Evidence, user: &User) -> Option<String> {
    let secret = evidence.server_secrets(user).next()?;
    let leaf = secret.chain.as_ref().ok().and_then(|chain| chain.first());
    let names = leaf.and_then(|leaf| certs::inspect::certificate(leaf).ok()).map(|seen| seen.names);
    let dns =
        names.into_iter().flatten().find_map(|name| name.to_string().strip_prefix("DNS:").map(str::to_owned));
    Some(dns.unwrap_or_else(|| "localhost".to_owned()))
}

impl Evidence {
    /// The managed Secrets that a pod uses.
    pub fn secrets_of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Managed> {
        user.sources().into_iter().filter_map(|source| match source {
            Source::Secret(name) => self.secrets.get(&(user.namespace().to_owned(), name)),
            _ => None,
        })
    }

    /// Those of them whose leaf is a server's.
    pub fn server_secrets<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Managed> {
        let has_leaf = user.places.iter().any(|place| place.holds != Holds::Bundle) || !user.kept.is_empty();
        self.secrets_of(user).filter(move |secret| secret.server && has_leaf)
    }

    /// When the newest object was written that a container uses.
    pub fn written(&self, user: &User, container: &str) -> Option<OffsetDateTime> {
        let places =
            user.places.iter().filter(|place| place.container == container).map(|place| &place.source);
        let kept = user.kept.iter().filter(|kept| kept.container == container).map(|kept| &kept.source);
        // The kubelet writes a pod's own certificate, and no object says when.
        let objects = places.chain(kept).filter(|source| **source != Source::Pod);
        let times = objects.map(|source| match source {
            Source::Pod => None,
            Source::Secret(name) => {
                self.secrets.get(&(user.namespace().to_owned(), name.clone())).and_then(|s| s.bundle.written)
            }
            Source::Trust => self.bundles.get(user.namespace()).and_then(|bundle| bundle.written),
            Source::Cluster => self.bundles.get("").and_then(|bundle| bundle.written),
        });
        // Where one is not known, nothing is.
        times.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

/// The roots that the new authority brings, DER; none when only the intermediate is rotated.
pub fn new_roots(state: &State) -> Vec<Vec<u8>> {
    let new = state.rotation.as_ref().and_then(|rotation| state.member(&rotation.new));
    let root = new.and_then(|member| member.parent.as_deref()).and_then(|root| state.member(root));
    root.map(|root| root.certificate.der.clone()).into_iter().collect()
}
