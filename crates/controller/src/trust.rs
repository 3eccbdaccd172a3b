//! Trust bundles: a ConfigMap in every namespace that has a Certificate or asks for it by label, and a
//! ClusterTrustBundle where the cluster has that kind. Both hold every root that is still trusted: a new one from the
//! first step of a rotation on, an old one until it is retired. The ConfigMap holds the revocation lists, too, for
//! verifiers can mount nothing of another namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{Notify, watch};

use crate::authority::State;
use crate::certificate::Certificate;
use crate::error::{Error, Result, chain};
use crate::names::{CONTROLLER, MANAGED_LABEL, SIGNER, TRUST_CONFIG_MAP};
use crate::served::Optional;
use crate::world::{Namespaces, lives, wants_trust};

/// Name of the ClusterTrustBundle: it begins with its signer's, as the API server asks.
pub const CLUSTER_TRUST_BUNDLE: &str = "handfast.dev:workload:bundle";
/// The key of the ConfigMap.
pub const KEY: &str = "ca.crt";
/// Its key with the revocation lists of all authorities, PEM. It is absent until they were published once.
pub const LISTS_KEY: &str = "crl.pem";

/// Several changes at one time are one pass.
const GATHER: Duration = Duration::from_millis(300);
/// After a pass that failed.
const AGAIN: Duration = Duration::from_secs(20);
/// So often the ClusterTrustBundle is written again, which changes nothing where it is right; where the cluster does
/// not serve that kind, it is asked whether it does by now.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Writes at one time.
const AT_ONCE: usize = 8;

/// The kind, which a cluster may not serve.
pub const CLUSTER_TRUST_BUNDLES: Optional =
    Optional { kind: "ClusterTrustBundle", plural: "clustertrustbundles" };

/// What decides where bundles go.
pub struct Bundles {
    /// The API server.
    pub client: Client,
    /// The authority.
    pub authority: watch::Receiver<Arc<State>>,
    /// The revocation lists as they are published, PEM; empty while this leader has not published them.
    pub lists: watch::Receiver<String>,
    /// All Certificates.
    pub certificates: Store<Certificate>,
    /// All namespaces.
    pub namespaces: Namespaces,
    /// The ConfigMaps of our name.
    pub found: Store<ConfigMap>,
    /// Rung at every change of one of them.
    pub changed: Arc<Notify>,
}

/// The watch over the ConfigMaps: those of our one name, in all namespaces.
pub fn selector() -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={TRUST_CONFIG_MAP}"))
}

impl Bundles {
    /// Keeps them. Never returns.
    pub async fn keep(mut self) {
        let mut cluster = ClusterBundle::default();
        loop {
            let bundle = self.authority.borrow_and_update().trust_bundle_pem();
            let lists = self.lists.borrow_and_update().clone();
            let mut whole = self.pass(&bundle, &lists).await;
            if let Err(error) = cluster.keep(&self.client, &bundle).await {
                tracing::warn!("the ClusterTrustBundle was not written: {}", chain(&error));
                whole = false;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                _ = self.authority.changed() => {}
                Ok(()) = self.lists.changed() => {}
                () = tokio::time::sleep(if whole { LOOK_AGAIN } else { AGAIN }) => {}
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Writes every bundle that is not as it should be; false when one of them failed.
    async fn pass(&self, bundle: &str, lists: &str) -> bool {
        let writes: Vec<_> = self
            .stale(bundle, lists)
            .into_iter()
            .map(|(namespace, data)| self.write(namespace, data))
            .collect();
        let done: Vec<Result<()>> = stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        let mut whole = true;
        for error in done.into_iter().filter_map(Result::err) {
            match error {
                Error::NamespaceEnds(_) => {}
                Error::Answer { status: 404, .. } => {}
                error => {
                    tracing::warn!("a trust bundle was not written: {}", chain(&error));
                    whole = false;
                }
            }
        }
        whole
    }

    /// The namespaces whose bundle is missing or another one, and what it has to hold. Bundles of namespaces that have
    /// no Certificate any more are kept up to date: pods may still mount them.
    fn stale(&self, bundle: &str, lists: &str) -> Vec<(String, BTreeMap<String, String>)> {
        let of_certificates = self.certificates.state().into_iter().filter_map(|found| found.namespace());
        let by_label =
            self.namespaces.state().into_iter().filter(|found| wants_trust(found)).map(|f| f.name_any());
        let managed =
            self.found.state().into_iter().filter(|found| is_managed(found)).filter_map(|f| f.namespace());
        let all: BTreeSet<String> = of_certificates.chain(by_label).chain(managed).collect();
        all.into_iter()
            .filter(|namespace| lives(&self.namespaces, namespace))
            .filter_map(|namespace| {
                let found = self.found.get(&ObjectRef::new(TRUST_CONFIG_MAP).within(&namespace));
                let data = due(found.as_deref(), bundle, lists)?;
                Some((namespace, data))
            })
            .collect()
    }

    async fn write(&self, namespace: String, data: BTreeMap<String, String>) -> Result<()> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        let mut map = ConfigMap { data: Some(data), ..ConfigMap::default() };
        map.metadata.name = Some(TRUST_CONFIG_MAP.to_owned());
        map.metadata.labels = Some(BTreeMap::from([(MANAGED_LABEL.to_owned(), "true".to_owned())]));
        let params = PatchParams::apply(CONTROLLER).force();
        let written = api.patch(TRUST_CONFIG_MAP, &params, &Patch::Apply(map)).await;
        written.map(|_| ()).map_err(Error::api(format!("write the ConfigMap {namespace}/{TRUST_CONFIG_MAP}")))
    }
}

/// The ClusterTrustBundle, where the cluster serves that kind.
#[derive(Default)]
struct ClusterBundle {
    kind: Option<ApiResource>,
    told_of_none: bool,
    /// What was written, and when: there is no watch that would tell of somebody else's change.
    written: Option<(String, Instant)>,
    looked: Option<Instant>,
}

impl ClusterBundle {
    async fn keep(&mut self, client: &Client, bundle: &str) -> Result<()> {
        if self.kind.is_none() {
            if self.looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
                return Ok(());
            }
            self.kind = CLUSTER_TRUST_BUNDLES.find(client).await?;
            self.looked = Some(Instant::now());
            match &self.kind {
                Some(kind) => tracing::info!("the cluster has ClusterTrustBundles ({})", kind.api_version),
                None if !self.told_of_none => {
                    tracing::info!(
                        "the cluster has no ClusterTrustBundles: trust bundles are ConfigMaps only"
                    );
                    self.told_of_none = true;
                }
                None => {}
            }
        }
        let Some(kind) = &self.kind else { return Ok(()) };
        let fresh = |(text, at): &(String, Instant)| text == bundle && at.elapsed() < LOOK_AGAIN;
        if self.written.as_ref().is_some_and(fresh) {
            return Ok(());
        }
        match write_cluster_bundle(client, kind, bundle).await {
            Ok(()) => self.written = Some((bundle.to_owned(), Instant::now())),
            // The kind itself is gone: the name is given, so it cannot be the object.
            Err(Error::Answer { status: 404, .. }) => *self = Self::default(),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

async fn write_cluster_bundle(client: &Client, kind: &ApiResource, bundle: &str) -> Result<()> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), kind);
    let object = serde_json::json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": { "name": CLUSTER_TRUST_BUNDLE, "labels": { MANAGED_LABEL: "true" } },
        "spec": { "signerName": SIGNER, "trustBundle": bundle },
    });
    let params = PatchParams::apply(CONTROLLER).force();
    let written = api.patch(CLUSTER_TRUST_BUNDLE, &params, &Patch::Apply(object)).await;
    written.map(|_| ()).map_err(Error::api(format!("write the ClusterTrustBundle {CLUSTER_TRUST_BUNDLE}")))
}

/// What a namespace's ConfigMap has to hold; `None` where it does. A leader that has not published the lists yet leaves
/// those that are there: whoever verifies with them would else be without, or would let in what was revoked.
fn due(found: Option<&ConfigMap>, bundle: &str, lists: &str) -> Option<BTreeMap<String, String>> {
    let found = found.filter(|found| is_managed(found));
    let held = |key: &str| found?.data.as_ref()?.get(key).map(String::as_str);
    let lists = if lists.is_empty() { held(LISTS_KEY) } else { Some(lists) };
    if held(KEY) == Some(bundle) && held(LISTS_KEY) == lists {
        return None;
    }
    let lists = lists.map(|lists| (LISTS_KEY.to_owned(), lists.to_owned()));
    Some([(KEY.to_owned(), bundle.to_owned())].into_iter().chain(lists).collect())
}

/// Whether a ConfigMap of this name is the controller's.
pub fn is_managed(map: &ConfigMap) -> bool {
    map.labels().get(MANAGED_LABEL).is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(data: &[(&str, &str)], managed: &str) -> ConfigMap {
        let mut map = ConfigMap {
            data: Some(data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()),
            ..ConfigMap::default()
        };
        map.metadata.labels = Some(BTreeMap::from([(MANAGED_LABEL.to_owned(), managed.to_owned())]));
        map
    }

    #[test]
    fn lists_follow_what_is_published_and_are_kept_while_nothing_is_known() {
        let whole = map(&[(KEY, "root"), (LISTS_KEY, "list 1")], "true");
        assert_eq!(due(Some(&whole), "root", "list 1"), None);
        let renewed = due(Some(&whole), "root", "list 2");
        assert_eq!(renewed.map(|data| data[LISTS_KEY].clone()).as_deref(), Some("list 2"));
        // A new leader, before it has looked at the lists.
        assert_eq!(due(Some(&whole), "root", ""), None);
        let rotated = due(Some(&whole), "roots", "");
        assert_eq!(rotated.map(|data| data[LISTS_KEY].clone()).as_deref(), Some("list 1"));
        let first = due(None, "root", "");
        assert_eq!(first.map(|data| data.contains_key(LISTS_KEY)), Some(false));
        // Somebody else's is taken over, and nothing of it believed.
        let foreign = map(&[(KEY, "root"), (LISTS_KEY, "forged")], "no");
        assert_eq!(due(Some(&foreign), "root", ""), Some(BTreeMap::from([(KEY.into(), "root".into())])));
    }
}
