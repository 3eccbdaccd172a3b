//! `--write`: the files edited in place, each by a temporary file and a rename, and what is added beside them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use manifests::yaml::Value;
use manifests::{Manifest, Wired, added};

use super::input::ADDED;
use crate::failure::{EXIT_OK, Failure, Outcome};

/// Writes what changed.
pub fn write(named: &[PathBuf], manifests: &[Manifest], wired: &Wired) -> Outcome {
    if named.iter().any(|path| path == Path::new("-")) {
        return Err(Failure::usage("--write edits files; what comes from stdin has none"));
    }
    let first = named.first().map(PathBuf::as_path).unwrap_or(Path::new("."));
    let folder = if first.is_dir() { first } else { first.parent().unwrap_or(Path::new(".")) };
    // What is added first: a pod waits for a Secret that is not there yet, and a Certificate waits for nobody.
    let path = folder.join(ADDED);
    if !wired.added.is_empty() {
        replace(&path, &added::documents(&merged(&path, &wired.added)?))?;
    }
    for (manifest, text) in manifests.iter().zip(&wired.texts) {
        // Given as an input, it has just been written.
        if !wired.added.is_empty() && manifest.source.name.canonicalize().ok() == path.canonicalize().ok() {
            continue;
        }
        replace(&manifest.source.name, text)?;
    }
    Ok(EXIT_OK)
}

/// What the file holds of earlier runs, on other manifests, with what is added now.
fn merged(path: &Path, added: &[Value]) -> Result<Vec<Value>, Failure> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(added.to_vec()) };
    let old = Manifest::parse(&path.to_string_lossy(), text)?;
    let mut all: Vec<Value> = old.documents.iter().map(|document| Value::of(&document.root)).collect();
    let key = |value: &Value| {
        let of = |value: &Value, key: &str| value.get(key).and_then(Value::text).map(str::to_owned);
        let metadata = value.get("metadata");
        let of_metadata = |key: &str| metadata.and_then(|metadata| of(metadata, key));
        (of(value, "kind"), of_metadata("name"), of_metadata("namespace"))
    };
    let ours =
        |value: &Value| matches!(key(value).0.as_deref(), Some("Role" | "RoleBinding" | "Certificate"));
    if !all.iter().all(ours) {
        let what = format!("{} is not a file that kube wire wrote, and is not overwritten", path.display());
        return Err(Failure::new(&model::codes::usage::FILE_NOT_WRITTEN, what)
            .fix("move it elsewhere, or print what is added with -f FILE and keep it under another name"));
    }
    for object in added {
        match all.iter_mut().find(|old| key(old) == key(object)) {
            Some(old) => old.clone_from(object),
            None => all.push(object.clone()),
        }
    }
    Ok(all)
}

fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    // Through a link it is the file behind it that is edited.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let old = std::fs::metadata(path).ok();
    if old.is_some() && std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        eprintln!("{} unchanged", path.display());
        return Ok(());
    }
    let failed = |error: std::io::Error| Failure::writing(path, &error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let permissions = match &old {
        Some(old) => old.permissions(),
        None => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    file.as_file().set_permissions(permissions).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    eprintln!("{} {}", path.display(), if old.is_some() { "edited" } else { "written" });
    Ok(())
}
