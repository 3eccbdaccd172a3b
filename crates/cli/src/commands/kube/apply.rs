//! Objects on their way to the API server: server-side apply, the difference that it would make, deletion, and
//! waiting until what was applied works.

use std::collections::BTreeMap;
use std::time::Duration;

use controller::Error;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::TypeMeta;
use kube::{Api, Client};
use serde_json::Value;
use similar::TextDiff;

/// The field manager of what people apply with this binary.
pub const FIELD_MANAGER: &str = "handfast";

/// An object and where it goes.
pub struct Target {
    api: Api<DynamicObject>,
    object: Value,
    name: String,
    /// Fields of other field managers are taken over.
    force: bool,
    /// As in `Deployment handfast-system/web`.
    pub title: String,
}

impl Target {
    /// Of an object of one of the kinds that are installed here.
    pub fn new(client: &Client, object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&object["kind"]);
        let types = TypeMeta { api_version: text(&object["apiVersion"]), kind: kind.clone() };
        let (group, version) = match types.api_version.split_once('/') {
            Some((group, version)) => (group.to_owned(), version.to_owned()),
            None => (String::new(), types.api_version.clone()),
        };
        let resource = ApiResource {
            plural: plural(&kind),
            group,
            version,
            api_version: types.api_version,
            kind: kind.clone(),
        };
        let name = text(&object["metadata"]["name"]);
        let (api, title) = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => (
                Api::namespaced_with(client.clone(), namespace, &resource),
                format!("{kind} {namespace}/{name}"),
            ),
            None => (Api::all_with(client.clone(), &resource), format!("{kind} {name}")),
        };
        Self { api, object: object.clone(), name, force: true, title }
    }

    /// The same, which leaves fields of other field managers as they are unless it is forced.
    #[must_use]
    pub fn forced(self, force: bool) -> Self {
        Self { force, ..self }
    }

    fn params(&self) -> PatchParams {
        let params = PatchParams::apply(FIELD_MANAGER);
        if self.force { params.force() } else { params }
    }

    /// Applies it.
    ///
    /// # Errors
    ///
    /// What the API server says.
    pub async fn apply(&self) -> Result<(), Error> {
        let params = self.params();
        let applied = self.api.patch(&self.name, &params, &Patch::Apply(&self.object)).await;
        applied.map(|_| ()).map_err(Error::api(format!("apply {}", self.title)))
    }

    /// The difference that applying would make, as a unified diff; empty where there is none.
    ///
    /// # Errors
    ///
    /// What the API server says.
    pub async fn diff(&self) -> Result<String, Error> {
        let live = self.live().await?;
        let params = self.params().dry_run();
        let after = match self.api.patch(&self.name, &params, &Patch::Apply(&self.object)).await {
            Ok(after) => serde_json::to_value(after).unwrap_or_default(),
            // Its namespace, or its kind, does not exist yet either.
            Err(kube::Error::Api(answer)) if answer.code == 404 => self.object.clone(),
            Err(error) => return Err(Error::api(format!("try {}", self.title))(error)),
        };
        let (before, after) = (live.as_ref().map(|live| shown(live, None)), shown(&after, live.as_ref()));
        let (before, after) = (before.map(|before| yaml(&before)).unwrap_or_default(), yaml(&after));
        if before == after {
            return Ok(String::new());
        }
        let diff = TextDiff::from_lines(&before, &after);
        Ok(diff
            .unified_diff()
            .header(&format!("{} (now)", self.title), &format!("{} (then)", self.title))
            .to_string())
    }

    /// Deletes it; false when it was not there.
    ///
    /// # Errors
    ///
    /// What the API server says.
    pub async fn delete(&self) -> Result<bool, Error> {
        match self.api.delete(&self.name, &DeleteParams::default()).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(false),
            Err(error) => Err(Error::api(format!("delete {}", self.title))(error)),
        }
    }

    /// The object as it is in the cluster.
    ///
    /// # Errors
    ///
    /// What the API server says.
    pub async fn live(&self) -> Result<Option<Value>, Error> {
        match self.api.get_opt(&self.name).await {
            Ok(found) => Ok(found.map(|found| serde_json::to_value(found).unwrap_or_default())),
            // Its kind does not exist yet.
            Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(None),
            Err(error) => Err(Error::api(format!("read {}", self.title))(error)),
        }
    }

    /// Waits until the object as it is in the cluster is as `done` wants it; false after `limit`.
    ///
    /// # Errors
    ///
    /// What the API server says.
    pub async fn wait(&self, limit: Duration, done: impl Fn(&Value) -> bool) -> Result<bool, Error> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if self.live().await?.is_some_and(|live| done(&live)) {
                return Ok(true);
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Objects as one YAML text.
pub fn documents(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{}", yaml(object))).collect()
}

/// One object as YAML.
pub fn yaml(object: &Value) -> String {
    serde_saphyr::to_string(&Ordered(object)).unwrap_or_default()
}

/// An object whose keys `apiVersion`, `kind` and `metadata` are written before all others, as people do.
struct Ordered<'a>(&'a Value);

impl serde::Serialize for Ordered<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let Some(fields) = self.0.as_object() else { return self.0.serialize(serializer) };
        const FIRST: [&str; 3] = ["apiVersion", "kind", "metadata"];
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for key in FIRST {
            if let Some(value) = fields.get(key) {
                map.serialize_entry(key, value)?;
            }
        }
        for (key, value) in fields.iter().filter(|(key, _)| !FIRST.contains(&key.as_str())) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// What a person wants to see of an object: not what the API server keeps for itself, and of what a Secret holds only
/// which certificate it is, or how long, and whether that is what was there `before`.
fn shown(object: &Value, before: Option<&Value>) -> Value {
    let mut object = object.clone();
    let is_secret = object["kind"] == "Secret";
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if is_secret {
            fields.remove("stringData");
            if let Some(data) = fields.get_mut("data").and_then(Value::as_object_mut) {
                for (key, value) in data {
                    let old = before.map(|before| &before["data"][key.as_str()]).filter(|old| !old.is_null());
                    let changed =
                        if old.is_some_and(|old| old != value) { ", another than before" } else { "" };
                    *value = format!("{}{changed}", described(value)).into();
                }
            }
        }
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"] {
            metadata.remove(key);
        }
    }
    object
}

/// A value of a Secret, without giving it away.
fn described(value: &Value) -> String {
    let bytes: k8s_openapi::ByteString = serde_json::from_value(value.clone()).unwrap_or_default();
    let leaf = std::str::from_utf8(&bytes.0)
        .ok()
        .and_then(|text| certs::certificates_of_pem(text).ok())
        .and_then(|chain| certs::inspect::certificate(chain.first()?).ok());
    let Some(leaf) = leaf else { return format!("{} bytes", bytes.0.len()) };
    let end = time::OffsetDateTime::from_unix_timestamp(leaf.not_after_unix).map(certs::rfc3339);
    format!("certificate {}, until {}", leaf.serial.to_lowercase(), end.unwrap_or_default())
}

fn plural(kind: &str) -> String {
    let lower = kind.to_ascii_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if lower.ends_with('s') => format!("{lower}es"),
        None => format!("{lower}s"),
    }
}

/// Counts by kind of change, for the last line.
#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    /// Counts one.
    pub fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(what, count)| format!("{count} {what}")).collect();
        f.write_str(&if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_difference_of_a_secret_names_its_certificate_and_nothing_secret() {
        let now = time::OffsetDateTime::now_utc();
        let state = controller::authority::State::new(model::identity::TrustDomain::default(), now).unwrap();
        let encoded = |text: &str| serde_json::to_value(k8s_openapi::ByteString(text.into())).unwrap();
        let secret = |name: &str, key: &str| {
            let member = state.member(name).unwrap();
            let chain = state.intermediates_pem(member);
            let chain = if chain.is_empty() { state.trust_bundle_pem() } else { chain };
            json!({"kind": "Secret", "data": {"tls.crt": encoded(&chain), "tls.key": encoded(key)}})
        };
        let (before, after) = (secret("intermediate-1", "hush-1"), secret("root-1", "hush-2"));
        let text = yaml(&shown(&after, Some(&before)));
        assert!(text.contains("certificate ") && text.contains(", until "), "{text}");
        assert!(text.contains("6 bytes, another than before") && !text.contains("hush"), "{text}");
        assert!(!text.contains(encoded("hush-2").as_str().unwrap()), "{text}");
        assert_eq!(shown(&after, Some(&after)), shown(&after, None));
    }
}
