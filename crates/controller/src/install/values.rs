//! What can be chosen in the Helm chart. This one type gives `values.yaml`, with its comments, and `values.schema.json`,
//! by which Helm refuses values that are wrong or misspelt.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements, Toleration};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

use super::Installation;
use crate::error::{Error, Result};

/// A line of a comment in `values.yaml` is not longer.
const WIDTH: usize = 110;

/// The values of the chart `handfast`: the controller, one for a cluster.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Values {
    /// Image of the controller.
    #[schemars(length(min = 1))]
    pub image: String,
    /// When it is pulled: Always, IfNotPresent or Never.
    pub image_pull_policy: PullPolicy,
    /// Secrets of the namespace with access to its registry, as in [{name: registry}].
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// How many controllers run; one works, the others stand by. From two on there is a PodDisruptionBudget.
    #[schemars(range(min = 1, max = 10))]
    pub replicas: u32,
    /// Trust domain of SPIFFE IDs. It cannot change once there is an authority.
    #[schemars(length(max = 255), regex(pattern = "^[a-z0-9._-]+$"))]
    pub trust_domain: String,
    /// Domain of the cluster's Services.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"))]
    pub cluster_domain: String,
    /// The shortest lifetime that a Certificate may ask for, as in 1h; one minute at least.
    #[schemars(regex(pattern = "^([0-9]+(s|m|h|d|w|M|y))+$"))]
    pub min_lifetime: String,
    /// The longest, as in 365d: an old root is trusted for as long after a rotation.
    #[schemars(regex(pattern = "^([0-9]+(s|m|h|d|w|M|y))+$"))]
    pub max_lifetime: String,
    /// What a controller asks for, and may use.
    pub resources: ResourceRequirements,
    /// Labels of the nodes on which controllers run.
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that do not keep controllers away.
    pub tolerations: Vec<Toleration>,
    /// Annotations of the pods.
    pub pod_annotations: BTreeMap<String, String>,
    /// The kind Certificate. It is part of the release, so that an upgrade brings it up to date, and it stays when the
    /// release is uninstalled, for with it would go every Certificate and its Secret.
    pub crds: Crds,
    /// Keeps pods away from the controllers' ports, where the cluster's network enforces policies.
    pub network_policy: NetworkPolicy,
    /// Lets a Prometheus of the Prometheus operator scrape the controllers. Its kinds have to be in the cluster.
    pub pod_monitor: PodMonitor,
    /// The alerts of deploy/monitoring/alerts.yaml for the Prometheus operator.
    pub prometheus_rule: PrometheusRule,
    /// What Helm shares between the charts of a release; nothing here uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<BTreeMap<String, Value>>,
}

/// When an image is pulled.
#[derive(Serialize, JsonSchema)]
pub enum PullPolicy {
    /// Before every start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Not at all.
    Never,
}

/// The kind Certificate.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Crds {
    /// Whether it is installed with the release, rather than by somebody who may.
    pub install: bool,
}

/// A NetworkPolicy.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct NetworkPolicy {
    /// Whether there is one. No pod reaches the probes then; the kubelet does, for it is not subject to policies.
    pub enabled: bool,
    /// Who reaches the metrics, as in [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}];
    /// every pod where nobody is named.
    pub from: Vec<NetworkPolicyPeer>,
}

/// A PodMonitor.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PodMonitor {
    /// Whether there is one.
    pub enabled: bool,
    /// How often is scraped, as in 30s.
    #[schemars(regex(pattern = "^([0-9]+(ms|s|m|h))+$"))]
    pub interval: String,
    /// Labels by which the operator finds it.
    pub labels: BTreeMap<String, String>,
}

/// A PrometheusRule.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PrometheusRule {
    /// Whether there is one.
    pub enabled: bool,
    /// Labels by which the operator finds it.
    pub labels: BTreeMap<String, String>,
}

impl Values {
    /// The defaults of a chart: what is installed without Helm.
    pub fn of(installation: &Installation) -> Self {
        let pull = match installation.pull_policy.as_str() {
            "Always" => PullPolicy::Always,
            "Never" => PullPolicy::Never,
            _ => PullPolicy::IfNotPresent,
        };
        Self {
            image: installation.image.clone(),
            image_pull_policy: pull,
            image_pull_secrets: Vec::new(),
            replicas: installation.replicas,
            trust_domain: installation.trust_domain.clone(),
            cluster_domain: installation.cluster_domain.clone(),
            min_lifetime: installation.min_lifetime.clone(),
            max_lifetime: installation.max_lifetime.clone(),
            resources: super::resources(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            pod_annotations: BTreeMap::new(),
            crds: Crds { install: true },
            network_policy: NetworkPolicy {
                enabled: installation.metrics_from.is_some(),
                from: installation.metrics_from.iter().flat_map(|from| peers(from)).collect(),
            },
            pod_monitor: PodMonitor { enabled: false, interval: "30s".to_owned(), labels: BTreeMap::new() },
            prometheus_rule: PrometheusRule { enabled: false, labels: BTreeMap::new() },
            global: None,
        }
    }

    /// The JSON schema of the values.
    pub fn schema() -> Value {
        // Draft 7 is what every Helm 3 and 4 reads.
        let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
        settings.into_generator().into_root_schema_for::<Self>().to_value()
    }

    /// `values.yaml`; `yaml` writes a value.
    ///
    /// # Errors
    ///
    /// When the values cannot be written, which its tests exclude.
    pub fn text(&self, yaml: fn(&Value) -> String) -> Result<String> {
        let values = serde_json::to_value(self)
            .map_err(|error| Error::Option(format!("the chart's values cannot be written: {error}")))?;
        Ok(commented(&values, &Self::schema(), "", yaml))
    }
}

fn peers(namespace: &str) -> Vec<NetworkPolicyPeer> {
    serde_json::from_value(super::pods_of(namespace)).unwrap_or_default()
}

/// A mapping, each key below its description.
fn commented(values: &Value, schema: &Value, indent: &str, yaml: fn(&Value) -> String) -> String {
    let mut text = String::new();
    for (key, value) in values.as_object().into_iter().flatten() {
        let property = &schema["properties"][key];
        for line in wrapped(property["description"].as_str().unwrap_or_default(), WIDTH - indent.len()) {
            text += &format!("{indent}# {line}\n");
        }
        // Types of ours are described to their leaves; those of Kubernetes are not ours to describe.
        if property["additionalProperties"] == false {
            text += &format!("{indent}{key}:\n");
            text += &commented(value, property, &format!("{indent}  "), yaml);
        } else {
            let written = yaml(&serde_json::json!({ key: value }));
            text.extend(written.lines().map(|line| format!("{indent}{line}\n")));
        }
    }
    text
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
