//! The manifests of a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use config::Finding;
use model::codes::usage;

use crate::error::Error;
use crate::object::{MAX_BYTES, Manifest};

/// The most files that are read: a folder with more is not one of manifests.
const MAX_FILES: usize = 2000;

/// Reads all manifests (`*.yaml`, `*.yml`, `*.json`) of a folder and of the folders in it, in the order of their names;
/// not what is hidden, and not behind links to other folders. A single file is read as it is.
///
/// # Errors
///
/// A folder or file that cannot be read, and text that is no YAML, with the place.
pub fn load(folder: &Path) -> Result<Vec<Manifest>, Error> {
    let mut files = Vec::new();
    if folder.is_file() {
        files.push(folder.to_owned());
    } else {
        find(folder, &mut files)?;
    }
    let (mut manifests, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        match text(&file).and_then(|text| Manifest::parse(&file.to_string_lossy(), text)) {
            Ok(manifest) => manifests.push(manifest),
            Err(error) => wrong.extend(error.0),
        }
    }
    if wrong.is_empty() { Ok(manifests) } else { Err(Error(wrong)) }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(|error| unreadable(folder, &error.to_string()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let kind = entry.file_type().map_err(|error| unreadable(&path, &error.to_string()))?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        if kind.is_dir() {
            find(&path, files)?;
        } else if matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file() {
            if files.len() >= MAX_FILES {
                return Err(unreadable(folder, &format!("there are more than {MAX_FILES} manifests")));
            }
            files.push(path);
        }
    }
    Ok(())
}

fn text(file: &Path) -> Result<String, Error> {
    let size = fs::metadata(file).map_err(|error| unreadable(file, &error.to_string()))?.len();
    if size > MAX_BYTES as u64 {
        return Err(unreadable(file, &format!("it is larger than {MAX_BYTES} bytes")));
    }
    fs::read_to_string(file).map_err(|error| unreadable(file, &error.to_string()))
}

fn unreadable(path: &Path, why: &str) -> Error {
    Finding::new(&usage::FILE_NOT_READ, format!("{}: {why}", path.display())).into()
}
