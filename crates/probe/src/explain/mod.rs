//! Says in plain words why a handshake failed: from a live address ([`ladder`]) or a pasted error ([`text`]).

pub mod diagnosis;
pub mod ladder;
pub mod recording;
pub mod texts;

#[cfg(test)]
mod tests;

use crate::alert::Alert;
use texts::{CAUSES, Cause};

/// The longest text that is searched; a pasted log may be longer.
const MOST: usize = 64 * 1024;

/// The cause that an error text points to.
pub fn text(pasted: &str) -> Option<&'static Cause> {
    let end = pasted.char_indices().nth(MOST).map_or(pasted.len(), |(at, _)| at);
    let pasted = pasted.get(..end).unwrap_or_default().to_lowercase();
    // Line breaks of a terminal must not split a phrase; curly apostrophes come from web pages.
    let words = pasted.replace('’', "'").split_whitespace().collect::<Vec<_>>().join(" ");
    CAUSES.iter().find(|cause| cause.texts.iter().any(|wanted| holds(&words, wanted)))
}

/// Whether the parts of `wanted` (separated by `..`) stand in the text in this order.
fn holds(words: &str, wanted: &str) -> bool {
    let mut rest = words;
    wanted.split("..").all(|part| match find(rest, part) {
        Some(at) => {
            rest = rest.get(at + part.len()..).unwrap_or_default();
            true
        }
        None => false,
    })
}

/// Names of errors that other words may hold: "enotfound" is in "FileNotFoundError".
const WORDS: [&str; 4] = ["enotfound", "enoent", "epipe", "nxdomain"];

/// Finds a part; one of up to four letters counts as a word of its own only ("eof" is not in "typeof").
fn find(text: &str, part: &str) -> Option<usize> {
    if part.len() > 4 && !WORDS.contains(&part) {
        return text.find(part);
    }
    text.match_indices(part).map(|(at, _)| at).find(|at| {
        let alone = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let before = text.get(..*at).and_then(|t| t.chars().next_back());
        let after = text.get(at + part.len()..).and_then(|t| t.chars().next());
        alone(before) && alone(after)
    })
}

/// An alert that is named or numbered in the text ("alert number 48", "unknown_ca").
pub fn alert_in(pasted: &str) -> Option<Alert> {
    let lower = pasted.to_lowercase();
    // OpenSSL's, and gnutls-cli's "Received alert [48]".
    if let Some((at, marker)) = ["alert number ", "alert ["].iter().find_map(|m| Some((lower.find(m)?, m))) {
        let digits = lower.get(at + marker.len()..)?.chars().take_while(char::is_ascii_digit).take(3);
        return digits.collect::<String>().parse().ok().map(Alert);
    }
    lower
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.contains('_') || word.len() > 9)
        .find_map(Alert::by_name)
}
