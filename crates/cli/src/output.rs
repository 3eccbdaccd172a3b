//! What all commands share when they print: the choice of format, and colours only where wanted.

use std::io::IsTerminal;

use clap::ValueEnum;

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
