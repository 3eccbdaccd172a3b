//! What is shown on stdout: what processes write, line by line, each with the name of its pod before it, and what the
//! machine says itself. One thread writes; who reads slowly, or not at all, holds up nobody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A line that is longer is cut into several: a process that writes no line ends may not fill the memory.
const LONGEST: usize = 4096;
/// Lines that may wait for the writer; more are dropped, and counted.
const WAITING: usize = 4096;
/// How long the last lines are waited for.
const LAST: Duration = Duration::from_secs(1);

static DROPPED: AtomicU64 = AtomicU64::new(0);
static WRITER: OnceLock<Mutex<SyncSender<Line>>> = OnceLock::new();

enum Line {
    Text(String),
    /// Everything before it was written.
    Mark(SyncSender<()>),
}

/// Shows a line, or several.
pub fn say(text: &str) {
    if send(Line::Text(text.to_owned())).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits for what was said last, for a moment.
pub fn finish() {
    let (done, written) = sync_channel(1);
    if send(Line::Mark(done)).is_ok() {
        let _ = written.recv_timeout(LAST);
    }
}

fn send(line: Line) -> Result<(), ()> {
    let writer = WRITER.get_or_init(|| {
        let (sender, lines) = sync_channel::<Line>(WAITING);
        let started = std::thread::Builder::new().name("stdout".into()).spawn(move || {
            for line in lines {
                match line {
                    Line::Text(text) => println!("{text}"),
                    Line::Mark(done) => drop(done.try_send(())),
                }
                let dropped = DROPPED.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    println!("{dropped} lines were not shown: they came faster than they were read");
                }
            }
        });
        if let Err(error) = started {
            eprintln!("nothing is shown: {error}");
        }
        Mutex::new(sender)
    });
    writer.lock().unwrap_or_else(PoisonError::into_inner).try_send(line).map_err(drop)
}

/// Prints until the process closes its end.
pub async fn print(name: String, mut from: impl AsyncRead + Unpin) {
    let mut waiting = Vec::with_capacity(LONGEST);
    loop {
        let full = waiting.len() >= LONGEST;
        let end = waiting.iter().position(|byte| *byte == b'\n');
        match end {
            Some(end) => {
                line(&name, &waiting[..end]);
                waiting.drain(..=end);
                continue;
            }
            None if full => {
                line(&name, &waiting);
                waiting.clear();
            }
            None => {}
        }
        match from.read_buf(&mut waiting).await {
            Ok(n) if n > 0 => {}
            _ => break,
        }
    }
    if !waiting.is_empty() {
        line(&name, &waiting);
    }
}

fn line(name: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    // A process's output is not ours: it may not move the cursor or colour what follows.
    let plain: String =
        text.trim_end().chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
    say(&format!("{name} | {plain}"));
}
