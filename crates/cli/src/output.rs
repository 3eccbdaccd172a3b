//! What all commands share when they print: the choice of format, and colours only where wanted.

use std::io::IsTerminal;

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// The format of a command's data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// One JSON document with a `version` field.
    Json,
    /// The same document as YAML.
    Yaml,
}

/// Start of bold, start of red and the reset, each empty when stderr is no terminal or `NO_COLOR` is set.
pub fn colours_for_stderr() -> (&'static str, &'static str, &'static str) {
    colours(std::io::stderr().is_terminal())
}

fn colours(terminal: bool) -> (&'static str, &'static str, &'static str) {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if terminal && !refused { ("\x1b[1m", "\x1b[1;31m", "\x1b[0m") } else { ("", "", "") }
}

/// Prints a document as JSON or YAML. `table` prints the form for people instead, where that was chosen.
pub fn print(
    format: Format,
    document: &impl Serialize,
    table: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let failed = |e: String| {
        Failure::new(&model::codes::usage::INTERNAL, format!("the output cannot be written: {e}"))
    };
    let text = match format {
        Format::Table => table(),
        Format::Json => serde_json::to_string_pretty(document).map_err(|e| failed(e.to_string()))? + "\n",
        Format::Yaml => serde_saphyr::to_string(document).map_err(|e| failed(e.to_string()))?,
    };
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        // `handfast cert list | head` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|e| failed(e.to_string())),
    }
}

/// Aligned columns, two spaces apart, with a heading.
pub fn columns(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
