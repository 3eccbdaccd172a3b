//! The network of a pod that runs already, by its processes: a process's control group has the uid of its pod.
//!
//! Of several processes the oldest counts: that is the pod's first container, and what an application starts in a network
//! that it made itself is younger.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::fstat;

#[cfg(test)]
mod tests;

/// Which network a descriptor stands for, for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number(u64, u64);

/// The number of a network.
///
/// # Errors
///
/// When the descriptor is no good.
pub fn number(network: &OwnedFd) -> std::io::Result<Number> {
    let found = fstat(network)?;
    Ok(Number(found.st_dev, found.st_ino))
}

/// The networks that are no pod's: the node's, and this process's own.
pub fn not_pods() -> HashSet<Number> {
    let open = |path: &str| File::open(path).ok().and_then(|file| number(&file.into()).ok());
    ["/proc/1/ns/net", "/proc/self/ns/net"].into_iter().filter_map(open).collect()
}

/// The networks of these pods, by their uids, as far as they have processes.
pub fn networks(wanted: &HashSet<&str>) -> HashMap<String, OwnedFd> {
    let mut oldest: HashMap<String, (u64, std::path::PathBuf)> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let folder = entry.path();
        if !entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        // Whoever ended meanwhile is nobody.
        let Ok(groups) = std::fs::read_to_string(folder.join("cgroup")) else { continue };
        let Some(uid) = groups.lines().find_map(pod_of).filter(|uid| wanted.contains(uid.as_str())) else {
            continue;
        };
        let Some(started) = started(&folder) else { continue };
        let known = oldest.get(&uid).is_some_and(|(before, _)| *before <= started);
        if !known {
            oldest.insert(uid, (started, folder));
        }
    }
    let none = not_pods();
    let opened = oldest.into_iter().filter_map(|(uid, (started_at, folder))| {
        let network: OwnedFd = File::open(folder.join("ns/net")).ok()?.into();
        // The process number may have been given to another one in between.
        (started(&folder) == Some(started_at) && !none.contains(&number(&network).ok()?))
            .then_some((uid, network))
    });
    opened.collect()
}

/// When a process was started, in the kernel's ticks: the 22nd field of `/proc/PID/stat`. Its second may hold anything.
fn started(process: &Path) -> Option<u64> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The pod of a control group, as kubelet names them: `/kubepods/burstable/podUID/CONTAINER`, or by systemd
/// `/kubepods-burstable-podUID.slice/...` with `_` for `-`. The first such part counts: what is below it is the pod's own.
fn pod_of(line: &str) -> Option<String> {
    let path = line.splitn(3, ':').nth(2)?;
    path.split('/').find_map(|part| {
        let part = part.strip_suffix(".slice").unwrap_or(part);
        let uid = part.strip_prefix("pod").or_else(|| part.rsplit_once("-pod").map(|(_, uid)| uid))?;
        let uid = uid.replace('_', "-");
        let is_uid = uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        is_uid.then_some(uid)
    })
}
