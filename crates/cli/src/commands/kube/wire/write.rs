//! `--write`: the files edited in place, each by a temporary file and a rename, and what is added beside them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

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
    replace(&folder.join(ADDED), &added::documents(&wired.added))?;
    for (manifest, text) in manifests.iter().zip(&wired.texts) {
        replace(&manifest.source.name, text)?;
    }
    Ok(EXIT_OK)
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
