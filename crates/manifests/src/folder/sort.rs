//! Objects by their kinds, typed as Kubernetes has them, with the places of their parts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use config::Finding;
use config::source::Place;
use controller::mesh::{Custom, Objects, Path, Step, istio};
use controller::names;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::codes::{manifests as codes, mesh as mesh_codes};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{Findings, Options, SecretText, enrolled};
use crate::object::{Object, Position};
use crate::yaml::{Node, Value};

/// The most pods of one workload.
const MAX_REPLICAS: i32 = 100;
/// The largest object in which the place of a wrong value is looked for, in bytes of JSON.
const MAX_SEARCHED: usize = 256 << 10;

/// An object, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    pub(super) object: Object<'a>,
    pub(super) node: &'a Node,
}

impl Spot<'_> {
    /// The place at the end of a path, or as far as it leads.
    pub(super) fn place(&self, path: &[Step]) -> Place {
        let mut node = self.node;
        for step in path {
            let next = match step {
                Step::Key(key) => node.get(key),
                Step::Index(index) => node.items().get(*index),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        self.object.place(node)
    }
}

/// Where objects are: by kind, namespace and name.
pub(super) type Places<'a> = HashMap<(String, String, String), Spot<'a>>;

/// A workload: what its pods are made of.
#[derive(Debug)]
pub(super) struct Template<'a> {
    /// Its pod template; of a Pod, itself.
    pub(super) spot: Spot<'a>,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) metadata: ObjectMeta,
    pub(super) pod: core::PodSpec,
    pub(super) replicas: usize,
}

/// Values of a ConfigMap or a Secret.
pub(super) type Values<T> = BTreeMap<(String, String), BTreeMap<String, T>>;

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    pub(super) objects: Objects,
    pub(super) templates: Vec<Template<'a>>,
    pub(super) config_maps: Values<String>,
    pub(super) secrets: Values<SecretText>,
    pub(super) places: Places<'a>,
}

impl<'a> Sorted<'a> {
    pub(super) fn read(all: &[(Position, Object<'a>)], options: &Options, findings: &mut Findings) -> Self {
        let mut sorted = Self::default();
        for (_, object) in all {
            let spot = Spot { object: *object, node: object.node };
            if let Err(finding) = sorted.object(spot, options, findings) {
                findings.wrong.push(*finding);
            }
        }
        sorted.namespaces(options);
        sorted
    }

    fn object(
        &mut self,
        spot: Spot<'a>,
        options: &Options,
        findings: &mut Findings,
    ) -> Result<(), Box<Finding>> {
        let object = spot.object;
        let version = object.node.text_at(&["apiVersion"]).unwrap_or_default();
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        let (kind, name) = (object.kind, object.name);
        let known = match group {
            "" => matches!(kind, "Namespace" | "ServiceAccount" | "Service" | "Pod" | "ConfigMap" | "Secret"),
            "apps" => matches!(kind, "Deployment" | "StatefulSet"),
            "batch" => kind == "Job",
            istio::GROUP => matches!(kind, "AuthorizationPolicy" | "PeerAuthentication"),
            _ => false,
        };
        // A policy that is misspelt must not vanish: who it keeps out would come in.
        if !known && (group == istio::GROUP || matches!(kind, "AuthorizationPolicy" | "PeerAuthentication")) {
            let message = format!(
                "{kind} {name} of {version:?} is not known; there are AuthorizationPolicy and PeerAuthentication of {}",
                istio::GROUP
            );
            return Err(Box::new(Finding::new(&mesh_codes::MESH_OBJECT, message).at(spot.place(&[]))));
        }
        if !known {
            let message = format!("{kind} {name} has no effect on one machine");
            findings.notes.push(Finding::new(&mesh_codes::LOCAL_NOT_DONE, message).at(spot.place(&[])));
            return Ok(());
        }
        let namespace = match kind {
            "Namespace" => String::new(),
            _ => object.namespace.unwrap_or(&options.namespace).to_owned(),
        };
        for (what, text, field) in [("name", name, "name"), ("namespace", &namespace, "namespace")] {
            let needless = what == "namespace" && kind == "Namespace";
            if !needless && !is_name(text) {
                let message =
                    format!("{kind}: {text:?} is no {what}: lower-case letters, digits, dots and hyphens");
                return Err(spot.wrong(message, &Path::of(&["metadata", field]).0));
            }
        }
        let key = (kind.to_owned(), namespace.clone(), name.to_owned());
        if let Some(first) = self.places.get(&key) {
            // The same namespace, once written and once not.
            let message = format!("{kind} {name} stands twice; the first is at {}", first.place(&[]));
            return Err(Box::new(Finding::new(&codes::MANIFEST_TWICE, message).at(spot.place(&[]))));
        }
        self.places.insert(key, spot);
        let within = |metadata: &mut ObjectMeta| metadata.namespace = Some(namespace.clone());
        match kind {
            "Namespace" => self.objects.namespaces.push(typed(spot)?),
            "ServiceAccount" => {
                let mut account: core::ServiceAccount = typed(spot)?;
                within(&mut account.metadata);
                self.objects.service_accounts.push(account);
            }
            "Service" => {
                let mut service: core::Service = typed(spot)?;
                within(&mut service.metadata);
                if service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("ExternalName")) {
                    let message =
                        format!("Service {name}: the mesh does not know names of type ExternalName");
                    findings
                        .notes
                        .push(Finding::new(&mesh_codes::LOCAL_NOT_DONE, message).at(spot.place(&[])));
                }
                self.objects.services.push(service);
            }
            "ConfigMap" => {
                let map: core::ConfigMap = typed(spot)?;
                self.config_maps.insert((namespace, name.to_owned()), map.data.unwrap_or_default());
            }
            "Secret" => {
                let secret: core::Secret = typed(spot)?;
                let data = secret.data.into_iter().flatten();
                // What is no text can be in a file, but in no variable.
                let texts = data.filter_map(|(key, value)| Some((key, String::from_utf8(value.0).ok()?)));
                let texts = texts.chain(secret.string_data.into_iter().flatten());
                let texts = texts.map(|(key, text)| (key, SecretText::new(text))).collect();
                self.secrets.insert((namespace, name.to_owned()), texts);
            }
            "AuthorizationPolicy" => self.objects.authorization_policies.push(custom(spot, namespace)?),
            "PeerAuthentication" => self.objects.peer_authentications.push(custom(spot, namespace)?),
            _ => {
                let template = template(spot, namespace, findings)?;
                self.templates.push(template);
            }
        }
        Ok(())
    }

    /// Namespaces that are not written are there as well, and all are in the mesh unless they say otherwise.
    fn namespaces(&mut self, options: &Options) {
        let mut used: BTreeSet<String> =
            self.places.keys().map(|(_, namespace, _)| namespace.clone()).collect();
        used.remove("");
        for namespace in &mut self.objects.namespaces {
            used.remove(namespace.metadata.name.as_deref().unwrap_or_default());
            if options.enrol {
                let labels = namespace.metadata.labels.get_or_insert_default();
                labels.entry(names::MESH_LABEL.to_owned()).or_insert_with(|| names::MESH_ENABLED.to_owned());
            }
        }
        self.objects.namespaces.extend(used.iter().map(|name| {
            let mut namespace = enrolled(name);
            if !options.enrol {
                namespace.metadata.labels = None;
            }
            namespace
        }));
    }
}

impl Spot<'_> {
    pub(super) fn wrong(&self, message: String, path: &[Step]) -> Box<Finding> {
        Box::new(Finding::new(&codes::MANIFEST_SHAPE, message).at(self.place(path)))
    }
}

/// As Kubernetes has names; they become names of files and processes here.
pub(super) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let ends = [text.bytes().next(), text.bytes().last()];
    text.len() <= 253
        && text.bytes().all(inner)
        && ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
        && !text.contains("..")
}

fn typed<T: DeserializeOwned>(spot: Spot<'_>) -> Result<T, Box<Finding>> {
    let json = Value::of(spot.node).to_json();
    T::deserialize(&json).map_err(|error| {
        let Object { kind, name, .. } = spot.object;
        let path = culprit::<T>(&json);
        let at = if path.is_empty() { String::new() } else { format!("{}: ", Path(path.clone())) };
        // Serde shows the value that it did not expect.
        let why = if kind == "Secret" { "this is no Secret".to_owned() } else { error.to_string() };
        spot.wrong(format!("{kind} {name}: {at}{why}"), &path)
    })
}

/// The deepest part without which the whole would be right: Serde does not say where it stumbled.
fn culprit<T: DeserializeOwned>(whole: &Json) -> Vec<Step> {
    let mut path = Vec::new();
    if whole.to_string().len() > MAX_SEARCHED {
        return path;
    }
    loop {
        let Some(here) = follow(&mut whole.clone(), &path).cloned() else { return path };
        let steps: Vec<Step> = match &here {
            Json::Object(entries) => entries.keys().cloned().map(Step::Key).collect(),
            Json::Array(items) => (0..items.len()).map(Step::Index).collect(),
            _ => return path,
        };
        let found = steps.into_iter().find(|step| {
            let mut without = whole.clone();
            match (follow(&mut without, &path), step) {
                (Some(Json::Object(entries)), Step::Key(key)) => {
                    entries.remove(key);
                }
                (Some(Json::Array(items)), Step::Index(index)) => {
                    items.remove(*index);
                }
                _ => return false,
            }
            T::deserialize(&without).is_ok()
        });
        match found {
            Some(step) => path.push(step),
            None => return path,
        }
    }
}

fn follow<'j>(json: &'j mut Json, path: &[Step]) -> Option<&'j mut Json> {
    path.iter().try_fold(json, |json, step| match step {
        Step::Key(key) => json.get_mut(key),
        Step::Index(index) => json.get_mut(*index),
    })
}

fn custom(spot: Spot<'_>, namespace: String) -> Result<Custom, Box<Finding>> {
    let Object { kind, name, node, .. } = spot.object;
    let version = node.text_at(&["apiVersion"]).and_then(|version| version.rsplit_once('/'));
    if !version.is_some_and(|(_, version)| istio::VERSIONS.contains(&version)) {
        let message = format!("{kind} {name}: there are the versions {}", istio::VERSIONS.join(" and "));
        return Err(spot.wrong(message, &Path::of(&["apiVersion"]).0));
    }
    for entry in node.entries() {
        if !matches!(entry.key.as_str(), "apiVersion" | "kind" | "metadata" | "spec" | "status") {
            let message =
                format!("{kind} {name}: there is no field `{}`; a policy stands below `spec`", entry.key);
            return Err(spot.wrong(message, &Path::of(&[&entry.key]).0));
        }
    }
    let json = Value::of(node).to_json();
    let metadata = json.get("metadata").cloned().unwrap_or_default();
    let mut metadata: ObjectMeta = serde_json::from_value(metadata).map_err(|error| {
        spot.wrong(format!("{kind} {name}: metadata: {error}"), &Path::of(&["metadata"]).0)
    })?;
    metadata.namespace = Some(namespace);
    Ok(Custom { metadata, spec: json.get("spec").cloned().unwrap_or_default() })
}

fn template<'a>(
    spot: Spot<'a>,
    namespace: String,
    findings: &mut Findings,
) -> Result<Template<'a>, Box<Finding>> {
    let Object { kind, name, .. } = spot.object;
    let mut note = |message: &str| {
        let message = format!("{kind} {name}: {message}");
        findings.notes.push(Finding::new(&mesh_codes::LOCAL_NOT_DONE, message).at(spot.place(&[])));
    };
    let (kind, metadata, pod, selector, replicas, field) = match kind {
        "Deployment" => {
            let spec = typed::<Deployment>(spot)?.spec.unwrap_or_default();
            (
                "Deployment",
                spec.template.metadata,
                spec.template.spec,
                Some(spec.selector),
                spec.replicas,
                "replicas",
            )
        }
        "StatefulSet" => {
            let spec = typed::<StatefulSet>(spot)?.spec.unwrap_or_default();
            if spec.volume_claim_templates.is_some_and(|claims| !claims.is_empty()) {
                note("its volumeClaimTemplates are not carried out");
            }
            (
                "StatefulSet",
                spec.template.metadata,
                spec.template.spec,
                Some(spec.selector),
                spec.replicas,
                "replicas",
            )
        }
        "Job" => {
            let spec = typed::<Job>(spot)?.spec.unwrap_or_default();
            if spec.completions.unwrap_or(1) > spec.parallelism.unwrap_or(1) {
                note("each of its pods runs once, and `completions` is not counted");
            }
            let pods = if spec.suspend == Some(true) { Some(0) } else { spec.parallelism };
            ("Job", spec.template.metadata, spec.template.spec, None, pods, "parallelism")
        }
        _ => {
            let pod: core::Pod = typed(spot)?;
            ("Pod", Some(pod.metadata), pod.spec, None, None, "replicas")
        }
    };
    let metadata = metadata.unwrap_or_default();
    let replicas = replicas.unwrap_or(1);
    if !(0..=MAX_REPLICAS).contains(&replicas) {
        let message = format!("{kind} {name}: {replicas} pods; on one machine there are 0 to {MAX_REPLICAS}");
        let place = spot.place(&Path::of(&["spec", field]).0);
        return Err(Box::new(Finding::new(&mesh_codes::LOCAL_UNSUPPORTED, message).at(place)));
    }
    let labels = metadata.labels.clone().unwrap_or_default();
    let selector = selector.and_then(|selector| selector.match_labels).unwrap_or_default();
    if let Some((key, value)) = selector.iter().find(|(key, value)| labels.get(*key) != Some(value)) {
        let message =
            format!("{kind} {name}: its selector {key}={value} does not match its own pod template");
        return Err(spot.wrong(message, &Path::of(&["spec", "selector"]).0));
    }
    let steps: &[&str] = if kind == "Pod" { &[] } else { &["spec", "template"] };
    let Some((node, pod)) = spot.node.at(steps).zip(pod.filter(|pod| !pod.containers.is_empty())) else {
        return Err(spot.wrong(format!("{kind} {name} has no containers"), &Path::of(&["spec"]).0));
    };
    let spot = Spot { node, ..spot };
    let replicas = usize::try_from(replicas).unwrap_or_default();
    Ok(Template { spot, kind, name: name.to_owned(), namespace, metadata, pod, replicas })
}
