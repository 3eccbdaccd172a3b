//! The file system. Files are opened without blocking on pipes and devices, and, where links may not lead out
//! of a folder, resolved by the kernel below it (`openat2` with `RESOLVE_BENEATH`), so that no race can swap a
//! link in between.

use std::fs::{File, Metadata};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Something that is not served: a device, a pipe, a socket.
    Other,
    /// It may not be read.
    Forbidden,
    /// It does not exist.
    Missing,
    /// No file can be opened now: file descriptors or memory have run out.
    Exhausted,
}

/// A file that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) metadata: Metadata,
}

/// Opens a file or folder; `boundary` is the folder out of which links may not lead.
pub(super) fn open(name: &Path, boundary: Option<&Path>) -> Result<Opened, Kind> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let opened = match boundary {
        None => rustix::fs::open(name, flags, Mode::empty()),
        Some(folder) => open_below(name, folder, flags),
    };
    let file = File::from(opened.map_err(|errno| match errno {
        // Ours to answer for: a client must not be told that the file is gone.
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => Kind::Exhausted,
        Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::XDEV => Kind::Forbidden,
        Errno::NXIO | Errno::NODEV => Kind::Other,
        _ => Kind::Missing,
    })?);
    let metadata = file.metadata().map_err(|_| Kind::Missing)?;
    Ok(Opened { file, metadata })
}

fn open_below(name: &Path, folder: &Path, flags: OFlags) -> Result<rustix::fd::OwnedFd, Errno> {
    // An alias that was glued to a path lies beside its folder, not below it: then its parent is the bound.
    let (folder, rest) = match name.strip_prefix(folder) {
        Ok(rest) => (folder, rest),
        Err(_) => {
            let parent = folder.parent().ok_or(Errno::ACCESS)?;
            (parent, name.strip_prefix(parent).map_err(|_| Errno::ACCESS)?)
        }
    };
    let root = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, rest, flags, Mode::empty(), resolve)
}

/// What a name is.
pub(super) fn kind(name: &Path, boundary: Option<&Path>) -> Kind {
    let metadata = match boundary {
        None => match std::fs::metadata(name) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Kind::Forbidden,
            Err(_) => return Kind::Missing,
        },
        Some(_) => match open(name, boundary) {
            Ok(opened) => opened.metadata,
            Err(kind) => return kind,
        },
    };
    of(&metadata)
}

/// What opened metadata says.
pub(super) fn of(metadata: &Metadata) -> Kind {
    if metadata.is_file() {
        Kind::File
    } else if metadata.is_dir() {
        Kind::Folder
    } else {
        Kind::Other
    }
}

/// Whether a name is a regular file.
pub(super) fn is_file(name: &Path, boundary: Option<&Path>) -> bool {
    kind(name, boundary) == Kind::File
}
