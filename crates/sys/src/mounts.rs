//! Files that processes of a pod see in place of the machine's, such as `/etc/hosts`. All functions are for the thread of
//! [`crate::Namespace::create_for_processes`], whose mounts nobody else sees, and for processes that it starts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_remount, unmount,
};

/// Where the files are made: a moment later the folder is the machine's again, and files in memory stand elsewhere.
const WORKSHOP: &str = "/tmp";

/// No program, device or right comes from what is mounted here.
const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// File systems that are the kernel itself, wherever they are mounted. To change it there mostly takes to be user 0, and
/// no capability, so that [`crate::as_in_a_container`] does not stand in the way.
const KERNEL: [&[u8]; 11] = [
    b"binfmt_misc",
    b"bpf",
    b"cgroup",
    b"cgroup2",
    b"configfs",
    b"debugfs",
    b"efivarfs",
    b"proc",
    b"securityfs",
    b"sysfs",
    b"tracefs",
];
/// What in `/proc` is no process but the kernel: container runtimes have the same ones read-only.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// What tells of the machine's memory, keys, timers and hardware: container runtimes hide the same ones.
const HIDDEN: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Puts files in memory in the place of files that are there; they go with the mounts. A file that is given back can be
/// written anew, which processes see at once.
///
/// # Errors
///
/// With the path, when one of them is not there, or mounts may not be made.
pub fn replace(files: &[(&Path, &[u8])]) -> io::Result<Vec<File>> {
    mount("tmpfs", WORKSHOP, "tmpfs", PLAIN, Some(c"mode=755"))
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

/// Shows the processes of the calling one's own numbers in `/proc`, and no others. The kernel's own files, there and
/// below `/sys`, can be read and not written: whoever may write `net/ipv4/tcp_fwmark_accept` as user 0 gets the proxy's
/// mark on a socket of its own, and `kernel/core_pattern` is the machine's.
///
/// # Errors
///
/// With the path, when something may not be mounted (`CAP_SYS_ADMIN`).
pub fn processes() -> io::Result<()> {
    // The machine's own `/proc` among them, which is below the new one from then on.
    for path in of_the_kernel(&std::fs::read("/proc/thread-self/mountinfo")?) {
        // What is mounted below it on the machine later, by itself where there is an automount, would come here writable.
        let own = mount_change(&path, MountPropagationFlags::PRIVATE);
        match own.and_then(|()| read_only(&path)) {
            // Another mount covers it, and nobody here can take that away.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::INVAL) => {}
            done => done.map_err(|error| told(&path, error.into()))?,
        }
    }
    mount("proc", "/proc", "proc", PLAIN, None)?;
    for path in READ_ONLY.map(Path::new).into_iter().filter(|path| path.exists()) {
        mount_bind(path, path).and_then(|()| read_only(path)).map_err(|error| told(path, error.into()))?;
    }
    for path in HIDDEN.map(Path::new).into_iter().filter(|path| path.exists()) {
        let hidden = if path.is_dir() {
            mount("tmpfs", path, "tmpfs", PLAIN | MountFlags::RDONLY, Some(c"mode=755"))
        } else {
            mount_bind("/dev/null", path)
        };
        hidden.map_err(|error| told(path, error.into()))?;
    }
    Ok(())
}

/// Makes a mount read-only here, and nowhere else.
fn read_only(path: &Path) -> rustix::io::Result<()> {
    mount_remount(path, MountFlags::BIND | MountFlags::RDONLY | PLAIN, c"")
}

/// Where something of the kernel is mounted, by a process's `mountinfo` (proc_pid_mountinfo(5)): number, parent, device,
/// root, mount point, options, optional fields, a dash, kind. All below `/sys` counts, such as the folder of cgroups.
fn of_the_kernel(mountinfo: &[u8]) -> Vec<PathBuf> {
    let mut kinds = BTreeMap::new();
    for line in mountinfo.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ');
        let Some(point) = fields.nth(4) else { continue };
        let Some(kind) = fields.skip_while(|field| *field != b"-").nth(1) else { continue };
        // Of several at one point the last one is on top.
        kinds.insert(PathBuf::from(OsString::from_vec(unescaped(point))), kind);
    }
    let is_kernels = |(point, kind): &(PathBuf, &[u8])| point.starts_with("/sys") || KERNEL.contains(kind);
    kinds.into_iter().filter(is_kernels).map(|(point, _)| point).collect()
}

/// A field as it was before spaces in it became `\040`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut parts = field.split(|byte| *byte == b'\\');
    let mut text = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let (number, rest) = part.split_at(part.len().min(3));
        text.push(number.iter().fold(0, |sum: u8, digit| sum.wrapping_mul(8).wrapping_add(digit & 7)));
        text.extend(rest);
    }
    text
}

fn told(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Shows in `/dev/shm` and `/dev/mqueue`, where the machine has them, the shared memory (shm_overview(7)) and the message
/// queues (mq_overview(7)) of the calling thread's namespace.
///
/// # Errors
///
/// With the path, when something may not be mounted (`CAP_SYS_ADMIN`).
pub fn shared_memory() -> io::Result<()> {
    for (path, kind, options) in [("/dev/shm", "tmpfs", c"mode=1777"), ("/dev/mqueue", "mqueue", c"")] {
        let path = Path::new(path);
        if !path.is_dir() {
            continue;
        }
        match mount(kind, path, kind, PLAIN, options) {
            // A kernel without queues.
            Err(Errno::NODEV) => {}
            done => done.map_err(|error| told(path, error.into()))?,
        }
    }
    Ok(())
}

/// Gives the calling thread's namespace a host name.
///
/// # Errors
///
/// When it is longer than 64 bytes, or may not be given.
pub fn host_name(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_kernels_is_found_by_its_kind_and_place() {
        let mountinfo = b"22 27 0:21 / /proc rw - proc proc rw\n\
            23 27 0:22 / /sys rw,relatime shared:7 master:1 - sysfs sysfs rw\n\
            31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            40 27 0:21 / /srv/a\\040root\\134/proc rw - proc proc rw\n\
            41 27 0:22 / /srv/covered rw - sysfs sysfs rw\n\
            42 41 0:40 / /srv/covered rw - tmpfs tmpfs rw\n";
        let found = of_the_kernel(mountinfo);
        let expected = ["/proc", "/srv/a root\\/proc", "/sys", "/sys/fs/cgroup"];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
