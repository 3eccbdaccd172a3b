//! What processes write, line by line, each with the name of its pod before it.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A line that is longer is cut into several: a process that writes no line ends may not fill the memory.
const LONGEST: usize = 4096;

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
    println!("{name} | {plain}");
}
