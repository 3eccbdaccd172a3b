//! What is looked at for the check.

use std::collections::BTreeMap;

use controller::clock;
use controller::error::chain;
use controller::names::{MESH, NODE, SYSTEM_NAMESPACE, TRUST_CONFIG_MAP};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use model::mesh::Tunnel;

use crate::commands::mesh::look::{self, Look, Told};
use crate::failure::Failure;

/// Everything that rows are judged from.
pub(super) struct Facts {
    pub(super) look: Look,
    /// Control planes.
    pub(super) control_planes: Vec<Told>,
    /// Proxies.
    pub(super) proxies: Vec<Told>,
    /// The webhook's configuration; or why it cannot be read.
    pub(super) webhook: Result<Option<MutatingWebhookConfiguration>, String>,
    /// The trust bundle of each namespace of the mesh, and of our own; none where there is none.
    pub(super) trust: BTreeMap<String, Result<Option<String>, String>>,
    /// The proxies of nodes; none where there is no node mode.
    pub(super) nodes: Result<Option<DaemonSet>, String>,
    /// How far this machine's clock is ahead of the API server's.
    pub(super) ahead: Result<Option<i64>, String>,
}

impl Facts {
    pub(super) async fn gather(client: &Client) -> Result<Self, Failure> {
        let look = Look::at(client).await?;
        let control_planes = look::ask(client, &look.control_planes()).await;
        let proxies = look::ask_of(client, &look, &look.carried(None)).await;
        let webhooks: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        let webhook = webhooks.get_opt(MESH).await.map_err(|error| chain(&error));
        let mut trust = BTreeMap::new();
        let mut places = vec![SYSTEM_NAMESPACE.to_owned()];
        places.extend(
            look.world
                .workloads()
                .filter(|workload| workload.tunnel == Tunnel::Hbone)
                .map(|workload| workload.namespace.clone()),
        );
        places.sort();
        places.dedup();
        for place in places {
            let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &place);
            let found = maps.get_opt(TRUST_CONFIG_MAP).await;
            let bundle = found.map(|map| map.and_then(|map| map.data?.get("ca.crt").cloned()));
            trust.insert(place, bundle.map_err(|error| chain(&error)));
        }
        let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NODE);
        let nodes = sets.get_opt(NODE).await.map_err(|error| chain(&error));
        let ahead = clock::measure(client).await.map_err(|error| chain(&error));
        Ok(Self { look, control_planes, proxies, webhook, trust, nodes, ahead })
    }
}
