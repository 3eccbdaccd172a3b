//! Files that processes of a pod see in place of the machine's, such as `/etc/hosts`. All functions are for the thread of
//! [`crate::Namespace::create_for_processes`], whose mounts nobody else sees.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

/// Where the files are made: a moment later the folder is the machine's again, and files in memory stand elsewhere.
const WORKSHOP: &str = "/tmp";

/// Puts files in memory in the place of files that are there; they go with the mounts. A file that is given back can be
/// written anew, which processes see at once.
///
/// # Errors
///
/// With the path, when one of them is not there, or mounts may not be made.
pub fn replace(files: &[(&Path, &[u8])]) -> io::Result<Vec<File>> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let told =
        |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    mount("tmpfs", WORKSHOP, "tmpfs", flags, Some(c"mode=755"))
        .map_err(|error| told(Path::new(WORKSHOP), error.into()))?;
    let made = files.iter().enumerate().map(|(number, (path, content))| {
        let one = Path::new(WORKSHOP).join(number.to_string());
        let mut file = File::create_new(&one)?;
        file.write_all(content)?;
        // Whatever the caller's umask is: processes may become another user.
        file.set_permissions(Permissions::from_mode(0o644))?;
        mount_bind(&one, *path).map_err(|error| told(path, error.into()))?;
        Ok(file)
    });
    let made: io::Result<Vec<File>> = made.collect();
    unmount(WORKSHOP, UnmountFlags::DETACH)?;
    made
}

/// Shows the processes of the calling one's own numbers in `/proc`, and no others.
///
/// # Errors
///
/// When it may not be mounted (`CAP_SYS_ADMIN`).
pub fn processes() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("proc", "/proc", "proc", flags, None)?)
}

/// Gives the calling thread's namespace a host name.
///
/// # Errors
///
/// When it is longer than 64 bytes, or may not be given.
pub fn host_name(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}
