//! Which namespaces the node's proxy carries, as a file beside its socket: for the plugin, when nobody answers there.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use controller::names::NEVER_IN_MESH;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The file's name.
pub const FILE: &str = "namespaces.json";

/// What was known when it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Those whose pods are carried.
    pub node: BTreeSet<String>,
    /// All others.
    pub other: BTreeSet<String>,
}

impl Namespaces {
    /// Whether a pod of this namespace may start while nobody carries it. One that nobody knew of may have been labelled
    /// since: it waits.
    pub fn may_start(&self, namespace: &str) -> bool {
        NEVER_IN_MESH.contains(&namespace)
            || (self.other.contains(namespace) && !self.node.contains(namespace))
    }

    /// Reads the file; where there is none, nothing is known.
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read(folder.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Puts it in the place of what was there, in one step.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(FILE)).map(drop).map_err(|error| error.error)
    }
}
