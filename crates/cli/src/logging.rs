//! What is logged to stderr, and how: for people on a terminal, JSON for programs.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogForm {
    /// One line for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Sets up the log of this process, once.
///
/// # Errors
///
/// When the filter cannot be understood.
pub fn init(filter: &str, form: Option<LogForm>) -> Result<(), Failure> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| Failure::usage(format!("--log {filter:?}: {error}")))?;
    let terminal = std::io::stderr().is_terminal();
    let form = form.unwrap_or(if terminal { LogForm::Text } else { LogForm::Json });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call finds the log of the first, which is as good.
    let _ = match form {
        LogForm::Text => {
            let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            builder.with_ansi(colours).with_target(false).try_init()
        }
        LogForm::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
