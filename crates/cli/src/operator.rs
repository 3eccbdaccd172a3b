//! The person at the command line: who it is, for the ledger, and what they answer to a question.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Who runs this command, as in `root@host`, for the ledger. It is a note, not a proof.
pub fn who() -> String {
    let first = |names: &[&str]| {
        names.iter().find_map(|name| std::env::var(name).ok()).filter(|text| !text.is_empty())
    };
    // With sudo the person matters, not the account that they borrowed.
    let user = first(&["SUDO_USER", "USER", "LOGNAME"]).or_else(|| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata("/proc/self").ok().map(|own| format!("uid {}", own.uid()))
    });
    let user = user.unwrap_or_else(|| "unknown".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => user,
        host => format!("{user}@{host}"),
    }
}

/// Asks a question on the terminal; without one, `--yes` must have been given.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{question} There is no terminal to ask on"))
            .fix("read the output above, then run the command again with --yes"));
    }
    let mut answer = String::new();
    // A terminal that went away is a no, and so is one on which the question was not seen.
    let _ = write!(std::io::stderr(), "{question} [y/N] ")
        .and_then(|()| std::io::stderr().flush())
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer).map(|_| ()));
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::usage("nothing was done, because the answer was no")),
    }
}
