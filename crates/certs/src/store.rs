//! The folder of the authority: which file lies where, and how files are written so that a kill or a
//! power cut leaves the old one or the new one, never a half.
//!
//! | path                        | what                                          | mode |
//! |-----------------------------|-----------------------------------------------|------|
//! | `ca.crt`                    | the roots to trust (two during a rotation)    | 0644 |
//! | `authorities/NAME-N.crt`    | every root and intermediate there ever was    | 0644 |
//! | `authorities/intermediate-N.key` | the issuing key                          | 0600 |
//! | `root/root-N.key`           | the root key: this folder may be taken away   | 0600 |
//! | `crl.pem`, `crl/NAME-N.crl` | revocation lists: all as PEM; each one as DER | 0644 |
//! | `certs/NAME.{crt,key}`      | what was issued                               | 0644, 0600 |
//! | `ledger.sqlite`             | what was issued, to whom, and what became of it | 0600 |
//! | `lock`                      | keeps two processes apart                     | 0600 |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Error as IoError, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use crate::error::{Error, Result};

#[cfg(test)]
mod tests;

/// Where the files of an authority lie.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout below a folder.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The authority's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The lock file.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The ledger.
    pub fn ledger(&self) -> PathBuf {
        self.dir.join("ledger.sqlite")
    }

    /// The trust bundle: the roots that verifiers should trust now.
    pub fn bundle(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// All revocation lists in one PEM file.
    pub fn crl(&self) -> PathBuf {
        self.dir.join("crl.pem")
    }

    /// The revocation list of one authority, DER.
    pub fn crl_of(&self, authority: &str) -> PathBuf {
        self.dir.join("crl").join(format!("{authority}.crl"))
    }

    /// The certificate of one authority (`root-1`, `intermediate-2`).
    pub fn certificate(&self, authority: &str) -> PathBuf {
        self.dir.join("authorities").join(format!("{authority}.crt"))
    }

    /// The key of one authority; those of roots lie apart, in the folder that may be taken away.
    pub fn key(&self, authority: &str) -> PathBuf {
        let folder = if authority.starts_with("root") { "root" } else { "authorities" };
        self.dir.join(folder).join(format!("{authority}.key"))
    }

    /// The folder of issued certificates.
    pub fn issued(&self) -> PathBuf {
        self.dir.join("certs")
    }

    /// Makes the folder and those in it, closed to others (0700).
    pub(crate) fn create(&self) -> Result<()> {
        for folder in [
            self.dir.clone(),
            self.dir.join("authorities"),
            self.dir.join("root"),
            self.dir.join("crl"),
            self.issued(),
        ] {
            create_private_folder(&folder)?;
        }
        Ok(())
    }
}

/// Makes a folder with mode 0700, with its parents. One that exists is refused when it is a symbolic link, or
/// when others own it or may write into it: they could swap what is written there.
pub fn create_private_folder(path: &Path) -> Result<()> {
    let failed = || Error::file("create", path);
    create_folder(path)?;
    // Not followed: the link's target is chosen by whoever made the link.
    let found = fs::symlink_metadata(path).map_err(failed())?;
    let refuse = |why: &str| Err(failed()(IoError::other(why)));
    if !found.is_dir() {
        return refuse("it is a symbolic link or no folder");
    }
    if found.uid() != own_user().map_err(failed())? {
        return refuse("the folder belongs to another user");
    }
    if found.mode() & 0o002 != 0 {
        return refuse("everybody may write into the folder");
    }
    Ok(())
}

/// Makes a folder with mode 0700, with its parents; one that exists is left as it is, whoever owns it: for
/// places that the operator named.
pub fn create_folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("create", path))
}

/// The user that this process acts as, without `unsafe`: the owner of a file that it makes.
fn own_user() -> std::io::Result<u32> {
    match fs::metadata("/proc/self") {
        Ok(own) => Ok(own.uid()),
        Err(_) => Ok(tempfile::tempfile()?.metadata()?.uid()),
    }
}

/// Removes what a killed process left of `write`: `.NAME.key.HEX` may hold a private key. Called with the
/// lock held. Into some of the folders others write without the lock, so there only old ones go.
pub(crate) fn remove_leftovers(layout: &Layout) {
    let folders = [("authorities", true), ("root", true), ("crl", true), ("certs", false), ("", false)];
    for (folder, ours) in folders {
        for entry in fs::read_dir(layout.dir().join(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !name.to_str().is_some_and(is_temporary) {
                continue;
            }
            let age = entry.metadata().and_then(|found| found.modified()).ok();
            let age = age.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
            if ours || age > ABANDONED {
                // Best effort: it is tried again at the next opening.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// After this time nobody is still writing a temporary file.
const ABANDONED: Duration = Duration::from_secs(60);

/// Whether `create_temporary` made this name: a dot, the file's name, a dot and 16 hexadecimal digits.
fn is_temporary(name: &str) -> bool {
    let suffix = name.strip_prefix('.').and_then(|name| name.rsplit_once('.'));
    suffix.is_some_and(|(name, hex)| {
        !name.is_empty()
            && hex.len() == 16
            && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// Writes a secret file: mode 0600 from its first byte on, synced, then renamed into place.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, 0o600)
}

/// Writes a file that all may read (0644): synced, then renamed into place.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, 0o644)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let failed = || Error::file("write", path);
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| failed()(ErrorKind::InvalidInput.into()))?;
    let (mut file, temporary) = create_temporary(folder, name, mode).map_err(failed())?;
    let done = file
        // The umask may have narrowed the mode; a public file must be readable all the same.
        .set_permissions(fs::Permissions::from_mode(mode))
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if done.is_err() {
        // Best effort: what matters is that the old file is untouched.
        let _ = fs::remove_file(&temporary);
    }
    done.map_err(failed())
}

fn create_temporary(folder: &Path, name: &std::ffi::OsStr, mode: u32) -> std::io::Result<(File, PathBuf)> {
    loop {
        let mut suffix = [0; 8];
        aws_lc_rs::rand::fill(&mut suffix).map_err(|_| std::io::Error::other("no random numbers"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", hex::encode(suffix)));
        let path = folder.join(hidden);
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a private key file, and refuses it when others than its owner may read it. The permissions are those
/// of the very file that is read, even if another one takes its name meanwhile.
pub fn read_private(path: impl AsRef<Path>) -> Result<Zeroizing<String>> {
    let path = path.as_ref();
    let failed = || Error::file("read", path);
    let mut file = File::open(path).map_err(failed())?;
    let metadata = file.metadata().map_err(failed())?;
    if metadata.is_dir() {
        return Err(failed()(ErrorKind::IsADirectory.into()));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    // Group access is common on purpose (a service's group); access for the world never is.
    if mode & 0o007 != 0 {
        return Err(Error::Exposed { path: path.to_owned(), mode });
    }
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(metadata.len().min(1 << 20) as usize + 1));
    file.read_to_string(&mut text).map_err(failed())?;
    Ok(text)
}

/// Reads a file that is no secret.
pub(crate) fn read_public(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::file("read", path))
}

/// Moves a file out of the way without destroying it; a missing one is no error.
pub(crate) fn set_aside(path: &Path) -> Result<()> {
    for number in 1..1000 {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".unused-{number}"));
        let aside = PathBuf::from(aside);
        if aside.symlink_metadata().is_ok() {
            continue;
        }
        return match fs::rename(path, &aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("move", path)(error)),
            _ => Ok(()),
        };
    }
    Err(Error::Broken(format!("{} was set aside too often", path.display())))
}
