//! The objects of `security.istio.io`, versions `v1` and `v1beta1`, which have the same form: read as Istio's users write
//! them, and refused where Istio's own admission would refuse them, or where they ask for more than a decision about a
//! connection can give.

mod authorization;
mod peer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::read::{Json, Result};
use super::{Path, Problem};

pub(super) use authorization::{Authorization, Listing};
pub(super) use peer::Peer;

/// The API group.
pub const GROUP: &str = "security.istio.io";
/// Its versions.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// The annotation of a policy that is only tried.
pub const DRY_RUN_ANNOTATION: &str = "istio.io/dry-run";

/// The largest spec that is taken, bytes of JSON: a thousand principals. A larger one counts as not understood, so that
/// nobody's objects use up the memory of everybody's proxies.
const LARGEST: usize = 64 << 10;

/// An object of one of Istio's kinds. Its `spec` is kept as it came: one that cannot be read has to close what it applies
/// to, and must not keep a list of others from being read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Custom {
    /// Name, namespace, annotations, age.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: Value,
}

/// Labels that select; of a selector without labels, nothing, as it selects all.
type Selector = Option<BTreeMap<String, String>>;

impl Custom {
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        super::pods::namespace_of(&self.metadata)
    }

    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace(), self.name())
    }

    /// Every proxy of the mesh is told of it.
    fn is_of_size(&self) -> Result<()> {
        let bytes = serde_json::to_vec(&self.spec).map_or(usize::MAX, |text| text.len());
        match bytes <= LARGEST {
            true => Ok(()),
            false => self.spec().wrong(format!(
                "it has {bytes} bytes, and every proxy is told of it; {LARGEST} are the most"
            )),
        }
    }

    fn spec(&self) -> Json<'_> {
        Json::new(&self.spec, Path::of(&["spec"]))
    }

    pub(super) fn problem(&self, kind: &'static str, wrong: super::read::Wrong, closes: bool) -> Problem {
        Problem {
            kind,
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
            path: wrong.path,
            code: wrong.code,
            message: wrong.message,
            closes,
        }
    }

    /// Labels of the workloads that it is for.
    fn selector(&self) -> Result<Selector> {
        let Some(selector) = self.spec().get("selector") else { return Ok(None) };
        selector.fields(&["matchLabels"], &[])?;
        let Some(labels) = selector.get("matchLabels") else { return Ok(None) };
        let all = labels.texts_of()?;
        // No label is ever `*`, so that a policy with it would never apply.
        if let Some((key, value)) =
            all.iter().find(|(key, value)| key.is_empty() || key.contains('*') || value.contains('*'))
        {
            return labels.wrong(format!("{key}={value}: labels are compared as they are, without `*`"));
        }
        Ok(Some(all).filter(|all| !all.is_empty()))
    }

    /// The selector of one that cannot be read: as narrow as it can be told, else everything that it could be.
    fn selector_at_worst(&self) -> Selector {
        let targets = ["targetRef", "targetRefs"].iter().any(|key| self.spec().get(key).is_some());
        if targets { None } else { self.selector().ok().flatten() }
    }
}

/// Whether something with this selector, in its namespace or in the root namespace, is for a workload.
pub(super) fn selects(
    (of, selector): (&str, &Selector),
    root: &str,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    (of == namespace || of == root)
        && selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}
