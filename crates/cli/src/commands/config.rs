//! `handfast config`: validate, convert and describe configuration.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::Globals;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format};

/// Arguments of `handfast config`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a handfast.yaml or nginx.conf and the files it names, without starting anything.
    Validate {
        /// The configuration.
        file: PathBuf,
        /// Do not look whether the files that it names are there.
        #[arg(long, env = "HANDFAST_NO_FILES")]
        no_files: bool,
    },
    /// Print the handfast.yaml that does what an nginx.conf does.
    Convert {
        /// The nginx.conf.
        file: PathBuf,
        /// Do not look whether the files that it names are there.
        #[arg(long, env = "HANDFAST_NO_FILES")]
        no_files: bool,
    },
    /// Print the JSON schema of handfast.yaml, for editors.
    Schema,
}

/// Runs `handfast config`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    match args.command {
        Command::Validate { file, no_files } => validate(&file, !no_files, globals.output),
        Command::Convert { file, no_files } => {
            let loaded = config::load_with(&file, !no_files)?;
            print!("{}", convert(&file, &loaded)?);
            Ok(crate::failure::EXIT_OK)
        }
        Command::Schema => {
            print!("{}", config::schema());
            Ok(crate::failure::EXIT_OK)
        }
    }
}

fn validate(file: &Path, files: bool, format: Format) -> Outcome {
    let loaded = config::load_with(file, files)?;
    for note in &loaded.notes {
        eprintln!("{}: {note}", if note.warning { "warning" } else { "note" });
    }
    let (listeners, services) = (loaded.snapshot.listeners.len(), loaded.snapshot.services.len());
    let document = json!({
        "version": 1,
        "file": file,
        "valid": true,
        "listeners": listeners,
        "services": services,
        "files_read": loaded.files_read,
        "notes": loaded.notes.iter().map(|note| json!({
            "warning": note.warning,
            "message": note.message,
            "file": note.place.as_ref().map(|place| place.file()),
            "line": note.place.as_ref().map(|place| place.line()),
            "column": note.place.as_ref().map(|place| place.column()),
        })).collect::<Vec<_>>(),
    });
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    output::print(format, &document, || {
        format!(
            "{} is valid: {listeners} listener{}, {services} service{}\n",
            file.display(),
            plural(listeners),
            plural(services)
        )
    })?;
    Ok(crate::failure::EXIT_OK)
}

/// The configuration as handfast.yaml, with what a person should know in comments.
fn convert(file: &Path, loaded: &config::Loaded) -> Result<String, Failure> {
    let mut text = format!(
        "# yaml-language-server: $schema=https://handfast.dev/handfast.schema.json\n# Converted from {}. Paths are \
         relative to this file's folder; keep it beside the original.\n",
        file.display()
    );
    for note in &loaded.notes {
        let kind = if note.warning { "WARNING" } else { "note" };
        text.push_str(&format!("# {kind}: {note}\n"));
    }
    let yaml = config::yaml::write(&loaded.snapshot).map_err(|error| {
        Failure::new(&model::codes::usage::INTERNAL, format!("cannot print the snapshot: {error}"))
    })?;
    text.push_str(&yaml);
    Ok(text)
}
