//! The Helm chart, written from the same objects as `kube install`: each becomes a template of its own, in which what can
//! be chosen is a value. The objects are made with marks in the places of what is chosen, and the marks are replaced in
//! the text. The namespace is not a template: it is the release's, and Helm wants it before the release.

use serde_json::{Value, json};

use super::values::Values;
use super::{Installation, METRICS_PORT_NAME};
use crate::error::Result;
use crate::names::{CONTROLLER, SYSTEM_NAMESPACE};

/// The alerts, as they lie in `deploy/`.
const ALERTS: &str = include_str!("../../../../deploy/monitoring/alerts.yaml");
/// Begins the mark of one word.
const WORD: &str = "HANDFAST-WORD-";
/// Begins the mark of a part that is left out where its value is empty.
const PART: &str = "HANDFAST-PART-";

/// Whether the authority's Secret is not there. The chart's other objects may be made anew, this one holds the keys.
const LOST_SECRET: &str = "not (lookup \"v1\" \"Secret\" .Release.Namespace \"handfast-authority\")";

const HEAD: &str =
    "# Written by `handfast kube install --chart`: change crates/controller/src/install, not this.\n";

/// A file of the chart: its path in the chart's folder, and its text.
pub type File = (String, String);

/// The files of the chart with this installation as its defaults. `yaml` writes an object.
///
/// # Errors
///
/// When the Certificate kind cannot be described, which the tests exclude.
pub fn files(installation: &Installation, version: &str, yaml: fn(&Value) -> String) -> Result<Vec<File>> {
    let schema = serde_json::to_string_pretty(&Values::schema()).unwrap_or_default() + "\n";
    let mut files = vec![
        ("Chart.yaml".to_owned(), chart(version)),
        ("values.yaml".to_owned(), format!("{HEAD}{}", Values::of(installation).text(yaml)?)),
        ("values.schema.json".to_owned(), schema),
        ("files/alerts.yaml".to_owned(), ALERTS.to_owned()),
        ("templates/NOTES.txt".to_owned(), NOTES.to_owned()),
    ];
    for object in marked(installation).objects()? {
        let kind = object["kind"].as_str().unwrap_or_default().to_ascii_lowercase();
        if kind != "namespace" {
            files.push((format!("templates/{kind}.yaml"), template(&object, yaml)));
        }
    }
    for object in [pod_monitor(), prometheus_rule()] {
        let kind = object["kind"].as_str().unwrap_or_default().to_ascii_lowercase();
        files.push((format!("templates/{kind}.yaml"), template(&object, yaml)));
    }
    Ok(files)
}

fn chart(version: &str) -> String {
    format!(
        "{HEAD}apiVersion: v2\nname: handfast\ndescription: The controller of Handfast, which keeps \
         and rotates certificates of workloads\ntype: application\nversion: {version}\nappVersion: {version:?}\nhome: https://handfast.dev\n"
    )
}

/// The installation with marks in place of what can be chosen. It has two replicas, so that all objects are there.
fn marked(installation: &Installation) -> Installation {
    let word = |name: &str| format!("{WORD}{name}");
    Installation {
        namespace: word("namespace"),
        image: word("image"),
        pull_policy: word("imagePullPolicy"),
        replicas: installation.replicas.max(2),
        trust_domain: word("trustDomain"),
        cluster_domain: word("clusterDomain"),
        min_lifetime: word("minLifetime"),
        max_lifetime: word("maxLifetime"),
        metrics_from: Some(String::new()),
    }
}

/// An object with its marks, as a template.
fn template(object: &Value, yaml: fn(&Value) -> String) -> String {
    let mut object = object.clone();
    let condition = match object["kind"].as_str().unwrap_or_default() {
        "CustomResourceDefinition" => Some(".Values.crds.install"),
        // One that is there is left alone: `--force-replace` would empty it.
        "Secret" => Some(LOST_SECRET),
        "PodDisruptionBudget" => Some("gt (int .Values.replicas) 1"),
        "PodMonitor" => Some(".Values.podMonitor.enabled"),
        "PrometheusRule" => Some(".Values.prometheusRule.enabled"),
        "NetworkPolicy" => {
            object["spec"]["ingress"][0]["from"] = json!(format!("{PART}networkPolicy.from"));
            Some(".Values.networkPolicy.enabled")
        }
        "Deployment" => {
            mark_deployment(&mut object);
            None
        }
        _ => None,
    };
    let mut text: String = yaml(&object).lines().map(line).collect();
    if let Some(condition) = condition {
        text = format!("{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n");
    }
    if object["kind"] == "Deployment" {
        // The rights that `kube wire` writes into manifests name the service account there.
        text = format!(
            "{{{{- if ne .Release.Namespace {SYSTEM_NAMESPACE:?} }}}}\n{{{{- fail \"the controller runs in the namespace \
             {SYSTEM_NAMESPACE} only: helm install --namespace {SYSTEM_NAMESPACE} --create-namespace\" }}}}\n\
             {{{{- end }}}}\n{text}"
        );
    }
    format!("{HEAD}{text}")
}

fn mark_deployment(deployment: &mut Value) {
    let part = |name: &str| json!(format!("{PART}{name}"));
    deployment["spec"]["replicas"] = json!(format!("{WORD}replicas"));
    let template = &mut deployment["spec"]["template"];
    template["metadata"]["annotations"] = part("podAnnotations");
    let pod = &mut template["spec"];
    for name in ["imagePullSecrets", "nodeSelector", "tolerations"] {
        pod[name] = part(name);
    }
    pod["containers"][0]["resources"] = part("resources");
}

/// A line of a template from a line of YAML.
fn line(line: &str) -> String {
    let indent = &line[..line.len() - line.trim_start().len()];
    if let Some((key, value)) = line.split_once(": ")
        && let Some(name) = value.strip_prefix(PART)
    {
        let deeper = indent.len() + 2;
        return format!(
            "{indent}{{{{- with .Values.{name} }}}}\n{key}:\n{indent}  {{{{- toYaml . | nindent {deeper} }}}}\n\
             {indent}{{{{- end }}}}\n"
        );
    }
    match line.split_once(WORD) {
        Some((before, "namespace")) => format!("{before}{{{{ .Release.Namespace | quote }}}}\n"),
        Some((before, "replicas")) => format!("{before}{{{{ .Values.replicas }}}}\n"),
        // The file has the key in it.
        Some((_, "alerts")) => "  {{- .Files.Get \"files/alerts.yaml\" | nindent 2 }}\n".to_owned(),
        Some((before, name)) => format!("{before}{{{{ .Values.{name} | quote }}}}\n"),
        // What is no mark must not be read as one of Helm's.
        None => line.replace("{{", "{{ \"{{\" }}") + "\n",
    }
}

fn pod_monitor() -> Value {
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {
            "name": CONTROLLER,
            "namespace": format!("{WORD}namespace"),
            "labels": format!("{PART}podMonitor.labels"),
        },
        "spec": {
            "selector": { "matchLabels": { "app.kubernetes.io/name": CONTROLLER } },
            "podMetricsEndpoints": [{
                "port": METRICS_PORT_NAME,
                // The namespace of a Certificate is not that of the controller.
                "honorLabels": true,
                "interval": format!("{WORD}podMonitor.interval"),
            }],
        },
    })
}

fn prometheus_rule() -> Value {
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": CONTROLLER,
            "namespace": format!("{WORD}namespace"),
            "labels": format!("{PART}prometheusRule.labels"),
        },
        "spec": { "groups": format!("{WORD}alerts") },
    })
}

const NOTES: &str = r#"Handfast is installed: write a Certificate, or let `handfast kube wire` do it.

    kubectl -n {{ .Release.Namespace }} rollout status deployment/handfast-controller
    kubectl get certificates.handfast.dev -A

Its namespace should hold pods to the strictest standard, as these are. Helm does not label a namespace:

    kubectl label namespace {{ .Release.Namespace }} pod-security.kubernetes.io/enforce=restricted

The authority is the Secret {{ .Release.Namespace }}/handfast-authority. Back it up. `helm uninstall` leaves it, and the
kind Certificate with all Certificates; installing the release again takes them over.
"#;
