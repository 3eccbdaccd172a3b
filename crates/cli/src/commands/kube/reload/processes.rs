//! Processes by their name, as the kernel keeps it.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    name: String,
}

/// Sends a signal to the processes of this name. Where they have a parent of the same name - the workers of nginx - it
/// is sent to the parent only. Says what was done.
///
/// # Errors
///
/// When there is none, or it does not take signals of this user.
pub fn signal(name: &str, signal: &str) -> Result<String, String> {
    let number = match signal {
        "HUP" => Signal::HUP,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        other => return Err(format!("{other} is no signal that reloads")),
    };
    let found = topmost(&all(Path::new("/proc")), name);
    if found.is_empty() {
        return Err(format!("no process of this pod has the name {name}"));
    }
    for pid in &found {
        let Some(target) = Pid::from_raw(*pid) else { continue };
        kill_process(target, number).map_err(|error| {
            format!("{name} (process {pid}) does not take {signal} from this user: {error}")
        })?;
    }
    let pids: Vec<String> = found.iter().map(ToString::to_string).collect();
    Ok(format!("{name} (process {}) was sent {signal}", pids.join(", ")))
}

/// The processes of this name whose parents have another.
fn topmost(all: &[Process], name: &str) -> Vec<i32> {
    let named = |pid: i32| all.iter().any(|process| process.pid == pid && process.name == name);
    let mine = i32::try_from(std::process::id()).unwrap_or_default();
    all.iter()
        .filter(|process| process.name == name && process.pid != mine && !named(process.parent))
        .map(|process| process.pid)
        .collect()
}

/// What can be read; processes come and go meanwhile.
fn all(proc: &Path) -> Vec<Process> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            of_stat(pid, &std::fs::read_to_string(entry.path().join("stat")).ok()?)
        })
        .collect()
}

/// `PID (NAME) STATE PARENT ...`, and the name may hold anything (proc_pid_stat(5)).
fn of_stat(pid: i32, stat: &str) -> Option<Process> {
    let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
    let parent = stat.get(end + 1..)?.split_whitespace().nth(1)?.parse().ok()?;
    Some(Process { pid, parent, name: stat.get(begin + 1..end)?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_and_blanks_are_read() {
        let read = of_stat(7, "7 (a ) b) S 3 7 7 0 -1").unwrap();
        assert_eq!(read, Process { pid: 7, parent: 3, name: "a ) b".to_owned() });
        assert_eq!(of_stat(7, "7 (cut"), None);
    }

    #[test]
    fn the_parent_is_told_and_not_its_workers() {
        let process = |pid, parent, name: &str| Process { pid, parent, name: name.to_owned() };
        let all =
            [process(1, 0, "pause"), process(7, 0, "nginx"), process(8, 7, "nginx"), process(9, 7, "other")];
        assert_eq!(topmost(&all, "nginx"), [7]);
        assert_eq!(topmost(&all, "other"), [9]);
        assert!(topmost(&all, "apache2").is_empty());
    }
}
