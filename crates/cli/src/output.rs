//! What all commands share when they print: the choice of format, colours only where wanted, and one way to
//! stdout and stderr that survives a reader that goes away (`handfast test ... | head`).

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// As std's, through [`out`].
macro_rules! print {
    ($($argument:tt)*) => { $crate::output::out(format_args!($($argument)*)) };
}

/// As std's, through [`out`].
macro_rules! println {
    () => { $crate::output::out(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::output::out(format_args!("{}\n", format_args!($($argument)*))) };
}

/// As std's, through [`tell`].
macro_rules! eprint {
    ($($argument:tt)*) => { $crate::output::tell(format_args!($($argument)*)) };
}

/// As std's, through [`tell`].
macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::output::tell(format_args!("{}\n", format_args!($($argument)*))) };
}

/// The first reason for which data did not reach stdout, other than that nobody reads any more.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes data to stdout. A reader that went away is no failure, as `handfast cert list | head` shows; any other
/// error is kept for [`lost`].
pub fn out(text: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            if let Ok(mut lost) = LOST.lock() {
                lost.get_or_insert(error);
            }
        }
        _ => {}
    }
}

/// Writes a message to stderr; where that is closed, there is nobody left to tell.
pub fn tell(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Why data did not reach stdout (a full disk), if it did not: the command has failed then.
pub fn lost() -> Option<Failure> {
    let error = LOST.lock().ok()?.take()?;
    Some(Failure::writing(std::path::Path::new("stdout"), &error))
}

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
    colours(io::stderr().is_terminal())
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
    print!("{text}");
    Ok(())
}

/// Whether stdout is a terminal that may be coloured.
pub fn colours_stdout() -> bool {
    !colours(io::stdout().is_terminal()).0.is_empty()
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
