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
        Self { api, object: object.clone(), name, title }
    }

    /// Applies it.
    ///
    /// # Errors
    ///
    /// What the API server says.
    pub async fn apply(&self) -> Result<(), Error> {
        let params = PatchParams::apply(FIELD_MANAGER).force();
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
        let params = PatchParams::apply(FIELD_MANAGER).force().dry_run();
        let after = match self.api.patch(&self.name, &params, &Patch::Apply(&self.object)).await {
            Ok(after) => serde_json::to_value(after).unwrap_or_default(),
            // Its namespace, or its kind, does not exist yet either.
            Err(kube::Error::Api(answer)) if answer.code == 404 => self.object.clone(),
            Err(error) => return Err(Error::api(format!("try {}", self.title))(error)),
        };
        let before = live.map(|live| yaml(&shown(live))).unwrap_or_default();
        let after = yaml(&shown(after));
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

/// What a person wants to see of an object: not what the API server keeps for itself, and never what a Secret holds.
fn shown(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if fields.get("kind").and_then(Value::as_str) == Some("Secret") {
            fields.remove("data");
            fields.remove("stringData");
        }
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"] {
            metadata.remove(key);
        }
    }
    object
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
