//! The plugin on the node: the binary in the CNI's folder of plugins, and an entry at the end of the list that the container
//! runtime uses. Other programs write that list too, so it is looked at again and again.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use controller::install::node::RUN_DIR;
use serde_json::{Value, json};

use super::plugin::NAME;

#[cfg(test)]
mod tests;

/// Where it goes.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder with the CNI's configuration.
    pub conf: PathBuf,
    /// The folder with the CNI's plugins.
    pub bin: PathBuf,
}

impl Place {
    /// Puts the program there.
    ///
    /// # Errors
    ///
    /// What the file system says, in words.
    pub fn program(&self) -> Result<(), String> {
        let at = |error: std::io::Error| format!("{}: {error}", self.bin.display());
        let mut own = File::open("/proc/self/exe").map_err(at)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.bin).map_err(at)?;
        std::io::copy(&mut own, &mut file).map_err(at)?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o755)).map_err(at)?;
        file.as_file().sync_all().map_err(at)?;
        file.persist(self.bin.join(NAME)).map(drop).map_err(|error| at(error.error))
    }

    /// Puts the entry into the list, where it is missing. Says whether it was.
    ///
    /// # Errors
    ///
    /// When there is no list, or it cannot be written.
    pub fn entry(&self) -> Result<bool, String> {
        let path = self.list()?;
        self.change(&path, |plugins| {
            let there = plugins.last().is_some_and(|last| last["type"] == NAME);
            plugins.retain(|plugin| plugin["type"] != NAME);
            plugins.push(json!({ "type": NAME, "folder": RUN_DIR }));
            !there
        })
    }

    /// Takes the entry and the program away.
    ///
    /// # Errors
    ///
    /// What the file system says, in words.
    pub fn remove(&self) -> Result<(), String> {
        let path = self.list()?;
        self.change(&path, |plugins| {
            let before = plugins.len();
            plugins.retain(|plugin| plugin["type"] != NAME);
            plugins.len() != before
        })?;
        // A list that was read before this may still name it: then the runtime reads it again.
        std::fs::remove_file(self.bin.join(NAME)).map_err(|error| format!("{}: {error}", self.bin.display()))
    }

    /// The list in use: the first by name, as runtimes choose it.
    fn list(&self) -> Result<PathBuf, String> {
        let found =
            std::fs::read_dir(&self.conf).map_err(|error| format!("{}: {error}", self.conf.display()))?;
        let known = |path: &PathBuf| {
            path.extension().is_some_and(|kind| kind == "conflist" || kind == "conf" || kind == "json")
        };
        let mut files: Vec<PathBuf> = found.flatten().map(|entry| entry.path()).filter(known).collect();
        files.sort();
        match files.into_iter().next() {
            Some(first) if first.extension().is_some_and(|kind| kind == "conflist") => Ok(first),
            Some(first) => Err(format!("{} is no list of plugins (.conflist)", first.display())),
            None => Err(format!("{} has no configuration", self.conf.display())),
        }
    }

    /// Writes the list anew where `change` says that it became another one.
    fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<Value>) -> bool) -> Result<bool, String> {
        let at = |error: std::io::Error| format!("{}: {error}", path.display());
        let text = std::fs::read(path).map_err(at)?;
        let mut list: Value = serde_json::from_slice(&text).map_err(|error| at(error.into()))?;
        let Some(plugins) = list["plugins"].as_array_mut() else {
            return Err(format!("{} has no list of plugins", path.display()));
        };
        if !change(plugins) {
            return Ok(false);
        }
        // A name that no runtime reads.
        let mut file = tempfile::Builder::new().prefix(".handfast").tempfile_in(&self.conf).map_err(at)?;
        let text = serde_json::to_vec_pretty(&list).map_err(|error| at(error.into()))?;
        file.write_all(&text).map_err(at)?;
        let mode = std::fs::metadata(path).map_err(at)?.permissions();
        file.as_file().set_permissions(mode).map_err(at)?;
        file.as_file().sync_all().map_err(at)?;
        file.persist(path).map_err(|error| at(error.error))?;
        Ok(true)
    }
}
