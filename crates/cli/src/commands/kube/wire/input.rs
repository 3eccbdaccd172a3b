//! The manifests that were named: files, folders, standard input.

use std::path::{Path, PathBuf};

use manifests::Manifest;

use crate::commands::cert::input::bytes;
use crate::failure::{EXIT_USAGE, Failure};

/// File that `--write` makes; it is not read again.
pub const ADDED: &str = "handfast.yaml";

/// Reads them all.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Manifest>, Failure> {
    let mut manifests = Vec::new();
    for path in paths {
        if path.is_dir() {
            for file in files_of(path)? {
                manifests.push(manifest(&file)?);
            }
        } else {
            manifests.push(manifest(path)?);
        }
    }
    Ok(manifests)
}

fn manifest(path: &Path) -> Result<Manifest, Failure> {
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    let text = String::from_utf8(bytes(path)?).map_err(|_| {
        Failure::new(&model::codes::manifests::MANIFEST_SYNTAX, format!("{name} is not UTF-8 text"))
            .exit(EXIT_USAGE)
    })?;
    Ok(Manifest::parse(&name, text)?)
}

/// The manifests of a folder, by name. What we added ourselves is none of them.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| Failure::reading(folder, &error).exit(EXIT_USAGE);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let manifest = matches!(path.extension().and_then(|e| e.to_str()), Some("yaml" | "yml" | "json"));
        if manifest && path.is_file() && path.file_name().is_some_and(|name| name != ADDED) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
