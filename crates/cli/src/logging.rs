//! What is logged to stderr, and how: for people on a terminal, JSON for programs.

use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

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
    // It would tell of a closed stderr on stderr, and panic.
    let builder = builder.log_internal_errors(false);
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

/// Sets up the log of this process in a file of JSON lines, begun anew, with errors alone on stderr.
///
/// # Errors
///
/// When the filter cannot be understood, or the file cannot be made.
pub fn init_file(filter: &str, file: &Path) -> Result<(), Failure> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| Failure::usage(format!("--log {filter:?}: {error}")))?;
    let opened = OpenOptions::new().create(true).append(true).open(file);
    let opened = opened.and_then(|opened| opened.set_len(0).map(|()| opened));
    let opened = opened.map_err(|error| Failure::writing(file, &error))?;
    let json = fmt::layer().json().flatten_event(true).with_writer(Mutex::new(opened));
    let terminal = std::io::stderr().is_terminal();
    let errors = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(terminal);
    let _ = tracing_subscriber::registry()
        .with(json.log_internal_errors(false).with_filter(filter))
        .with(errors.log_internal_errors(false).with_filter(LevelFilter::ERROR))
        .try_init();
    Ok(())
}
