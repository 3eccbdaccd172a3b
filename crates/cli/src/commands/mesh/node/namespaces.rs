//! Which namespaces the node's proxy carries, as a file beside its socket: for the plugin, when nobody answers there.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use controller::names::NEVER_IN_MESH;
use serde::{Deserialize, Serialize};

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
        NEVER_IN_MESH.contains(&namespace) || (self.other.contains(namespace) && !self.node.contains(namespace))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_the_proxy_is_away_only_pods_that_are_known_to_be_elsewhere_start() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = Namespaces::read(folder.path());
        assert!(!nothing.may_start("shop") && nothing.may_start("kube-system") && nothing.may_start("handfast-node"));
        let known = Namespaces { node: ["bank".to_owned()].into(), other: ["shop".to_owned()].into() };
        known.write(folder.path()).unwrap();
        let read = Namespaces::read(folder.path());
        assert_eq!(read, known);
        assert!(read.may_start("shop") && !read.may_start("bank") && !read.may_start("new"));
        std::fs::write(folder.path().join(FILE), "{\"node\": [").unwrap();
        assert!(!Namespaces::read(folder.path()).may_start("shop"), "a damaged file says nothing");
    }
}
