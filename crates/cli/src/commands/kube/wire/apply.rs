//! `--apply`: server-side apply of everything in the order in which it is needed - namespaces, accounts and Services,
//! rights, Certificates, and the workloads when their certificates are there.

use std::time::{Duration, Instant};

use controller::names;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PropagationPolicy};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, oneshot};
use kube::{Api, Client};
use model::codes::manifests as codes;
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;

use super::ready;
use crate::failure::Failure;

/// The field manager of what is wired.
const FIELD_MANAGER: &str = "handfast-wire";

/// How it is applied.
pub struct How {
    /// Of objects without one.
    pub namespace: Option<String>,
    /// Only tried.
    pub dry_run: bool,
    /// Differences to stderr.
    pub diff: bool,
    /// Pods and Jobs that exist are made anew.
    pub replace: bool,
    /// Fields of other managers are taken over.
    pub force: bool,
    /// How long to wait for Certificates.
    pub wait: Duration,
    /// Whether stderr is a terminal.
    pub progress: bool,
}

/// What became of an object.
#[derive(Serialize)]
pub struct Done {
    /// As in `Pod shop/web`.
    pub object: String,
    /// `created`, `configured`, `unchanged` or `replaced`.
    pub outcome: &'static str,
}

/// Applies them all.
pub async fn apply(client: &Client, mut objects: Vec<Value>, how: &How) -> Result<Vec<Done>, Failure> {
    let namespace = how.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    objects.sort_by_key(rank);
    let mut done = Vec::new();
    let mut kinds: Vec<(GroupVersionKind, ApiResource, bool)> = Vec::new();
    let mut waiting = Vec::new();
    let mut started = Vec::new();
    let mut waited = false;
    for object in objects {
        if rank(&object) == WORKLOADS && !waited && !how.dry_run {
            ready::certificates(client, &waiting, how).await?;
            waited = true;
        }
        let target = Target::new(client, object, &namespace, &mut kinds).await?;
        if target.title.starts_with("Certificate ") && rank(&target.object) == CERTIFICATES {
            waiting.push((target.namespace.clone(), target.name.clone()));
        }
        done.push(target.apply(how).await?);
        if rank(&target.object) == WORKLOADS {
            started.push(ready::Started { title: target.title, name: target.name, api: target.api });
        }
    }
    if !how.dry_run {
        if !waited {
            ready::certificates(client, &waiting, how).await?;
        }
        ready::workloads(&started, how).await?;
    }
    Ok(done)
}

const CERTIFICATES: u8 = 4;
const WORKLOADS: u8 = 5;

fn rank(object: &Value) -> u8 {
    match object["kind"].as_str().unwrap_or_default() {
        "Namespace" | "CustomResourceDefinition" => 0,
        "ServiceAccount" | "Secret" | "ConfigMap" => 1,
        "Service" => 2,
        "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => 3,
        "Certificate" => CERTIFICATES,
        kind if manifests::workload::template_path(kind).is_some() => WORKLOADS,
        _ => 3,
    }
}

struct Target {
    api: Api<DynamicObject>,
    object: Value,
    name: String,
    namespace: String,
    title: String,
    fixed: bool,
}

impl Target {
    async fn new(
        client: &Client,
        mut object: Value,
        default: &str,
        kinds: &mut Vec<(GroupVersionKind, ApiResource, bool)>,
    ) -> Result<Self, Failure> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, version) = (text(&object["kind"]), text(&object["apiVersion"]));
        let name = text(&object["metadata"]["name"]);
        if name.is_empty() {
            let what = format!("a {kind} without a name cannot be applied");
            return Err(Failure::new(&codes::MANIFEST_SHAPE, what).exit(crate::failure::EXIT_USAGE));
        }
        let (group, version) = version.split_once('/').unwrap_or(("", version.as_str()));
        let wanted = GroupVersionKind::gvk(group, version, &kind);
        if !kinds.iter().any(|(known, ..)| *known == wanted) {
            let found = oneshot::pinned_kind(client, &wanted).await;
            let (resource, capabilities) =
                found.map_err(|error| refused(&format!("{kind} {name}"), error))?;
            kinds.push((wanted.clone(), resource, capabilities.scope == Scope::Namespaced));
        }
        let found = kinds.iter().find(|(known, ..)| *known == wanted);
        let Some((_, resource, namespaced)) = found else {
            return Err(Failure::new(&codes::WIRE_REFUSED, format!("the kind {kind} is not known")));
        };
        let (api, namespace) = match namespaced {
            true => {
                let namespace = object["metadata"]["namespace"].as_str().unwrap_or(default).to_owned();
                object["metadata"]["namespace"] = namespace.clone().into();
                (Api::namespaced_with(client.clone(), &namespace, resource), namespace)
            }
            false => (Api::all_with(client.clone(), resource), String::new()),
        };
        let title = match namespace.is_empty() {
            true => format!("{kind} {name}"),
            false => format!("{kind} {namespace}/{name}"),
        };
        let fixed = matches!(kind.as_str(), "Pod" | "Job");
        Ok(Self { api, object, name, namespace, title, fixed })
    }

    async fn apply(&self, how: &How) -> Result<Done, Failure> {
        let before = self.api.get_opt(&self.name).await.map_err(|error| refused(&self.title, error))?;
        let params =
            PatchParams { dry_run: how.dry_run, force: how.force, ..PatchParams::apply(FIELD_MANAGER) };
        let mut outcome = if before.is_some() { "configured" } else { "created" };
        let after = match self.api.patch(&self.name, &params, &Patch::Apply(&self.object)).await {
            Ok(after) => after,
            Err(kube::Error::Api(answer)) if self.fixed && before.is_some() && answer.code == 422 => {
                if !how.replace {
                    let what = format!("{} exists and cannot be changed", self.title);
                    let kind = self.title.split(' ').next().unwrap_or_default().to_lowercase();
                    return Err(Failure::new(&codes::WIRE_IMMUTABLE, what).fix(format!(
                        "run it again with --replace, or first: kubectl delete {kind} {} -n {}",
                        self.name, self.namespace
                    )));
                }
                if how.dry_run {
                    return Ok(Done { object: self.title.clone(), outcome: "replaced" });
                }
                outcome = "replaced";
                self.delete().await?;
                let patched = self.api.patch(&self.name, &params, &Patch::Apply(&self.object)).await;
                patched.map_err(|error| refused(&self.title, error))?
            }
            // Its namespace is made by an earlier object of this same trial.
            Err(kube::Error::Api(answer)) if how.dry_run && answer.code == 404 => {
                return Ok(Done { object: self.title.clone(), outcome });
            }
            Err(error) => return Err(refused(&self.title, error)),
        };
        let (old, new) = (before.as_ref().map(text).unwrap_or_default(), text(&after));
        // What a Secret holds is not compared, but the API server counts its versions.
        let version = before.as_ref().and_then(|before| before.metadata.resource_version.as_ref());
        if old == new && (how.dry_run || version == after.metadata.resource_version.as_ref()) {
            outcome = "unchanged";
        }
        if how.diff && old != new {
            let diff = TextDiff::from_lines(&old, &new);
            let (now, then) = (format!("{} (now)", self.title), format!("{} (then)", self.title));
            eprint!("{}", diff.unified_diff().header(&now, &then));
        }
        Ok(Done { object: self.title.clone(), outcome })
    }

    /// Deletes it, and waits until it is gone.
    async fn delete(&self) -> Result<(), Failure> {
        let params =
            DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..Default::default() };
        self.api.delete(&self.name, &params).await.map_err(|error| refused(&self.title, error))?;
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.api.get_opt(&self.name).await.map_err(|error| refused(&self.title, error))?.is_some() {
            if Instant::now() > deadline {
                return Err(Failure::new(
                    &codes::WIRE_REFUSED,
                    format!("{} is not gone after two minutes", self.title),
                ));
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Ok(())
    }
}

/// What a person compares: without what the API server keeps for itself, and never what a Secret holds.
fn text(object: &DynamicObject) -> String {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
        for secret in ["data", "stringData"] {
            if fields.get("kind").and_then(Value::as_str) == Some("Secret") {
                fields.remove(secret);
            }
        }
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"] {
            metadata.remove(key);
        }
    }
    serde_saphyr::to_string(&value).unwrap_or_default()
}

pub(super) fn refused(what: &str, error: kube::Error) -> Failure {
    match error {
        kube::Error::Api(answer) if answer.code == 409 => {
            Failure::new(&codes::WIRE_REFUSED, format!("{what}: {}", answer.message))
                .fix("see who owns the field; take it over with --force-conflicts")
        }
        kube::Error::Api(answer) => Failure::new(&codes::WIRE_REFUSED, format!("{what}: {}", answer.message)),
        kube::Error::Discovery(error) => {
            let what = format!("{what}: the cluster does not have this kind ({error})");
            let ours = what.starts_with("Certificate");
            let failure = Failure::new(&codes::WIRE_REFUSED, what).with("group", names::GROUP);
            if ours { failure.fix("install it first: handfast kube install --apply") } else { failure }
        }
        error => Failure::new(&codes::WIRE_CLUSTER, controller::error::chain(&error)),
    }
}
