//! What a person writes, handfast.yaml and nginx.conf, turned into the model.
//!
//! [`load`] reads a file of either kind and gives the [`Snapshot`] that the data plane carries out, or an
//! [`Error`] with everything that is wrong, drawn with the file's lines and carets.

mod error;
pub mod nginx;
pub mod source;
mod suggest;
pub mod validate;
pub mod variables;
pub mod yaml;

use std::path::{Path, PathBuf};

use model::codes::configuration as codes;
use model::snapshot::Snapshot;

pub use error::{Error, Finding, Note};
use source::{MAX_BYTES, Source};
pub use validate::{Certificates, Files, Seen};

/// A configuration that was read and makes sense.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the data plane is told; its `base` is the folder of the file.
    pub snapshot: Snapshot,
    /// What a person should know: settings without a counterpart, and warnings.
    pub notes: Vec<Note>,
    /// The configuration files that were read, for watching: the file itself and what it includes.
    pub files_read: Vec<PathBuf>,
}

/// A kind of configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// handfast.yaml (or JSON, which is YAML).
    Yaml,
    /// nginx.conf.
    Nginx,
}

/// Reads a file of either kind, and checks that the files it names are there.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    load_with(path, true)
}

/// Reads a file of either kind. `files` says whether the files that it names must be there.
pub fn load_with(path: &Path, files: bool) -> Result<Loaded, Error> {
    load_file(path, files.then_some(&()))
}

/// Reads a file of either kind, checks that the files it names are there, and has its certificates looked into:
/// what is wrong with them is shown where the configuration names them.
pub fn load_checked(path: &Path, certificates: &dyn Certificates) -> Result<Loaded, Error> {
    load_file(path, Some(certificates))
}

fn load_file(path: &Path, certificates: Option<&dyn Certificates>) -> Result<Loaded, Error> {
    let text = read(path)?;
    let base = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("."),
    };
    let base = base.canonicalize().unwrap_or(base);
    let files = match certificates {
        Some(certificates) => Files::Under(&base, certificates),
        None => Files::Unchecked,
    };
    let mut loaded = match kind(path, &text)? {
        Kind::Yaml => {
            let (snapshot, notes) = yaml::read(&Source::new(path, text), &files)?;
            Loaded { snapshot, notes, files_read: vec![path.to_owned()] }
        }
        Kind::Nginx => {
            let read = nginx::read(path, text, base.clone(), &files)?;
            Loaded { snapshot: read.snapshot, notes: read.notes, files_read: read.files_read }
        }
    };
    without_ipv6(&mut loaded);
    loaded.snapshot.base = base;
    Ok(loaded)
}

/// `:443` means IPv4 and IPv6; where the system has no IPv6, it means IPv4 alone.
fn without_ipv6(loaded: &mut Loaded) {
    use model::snapshot::Bind;
    let all = |bind: &Bind| match bind {
        Bind::Socket(address) if address.ip().is_unspecified() => Some((address.is_ipv6(), address.port())),
        _ => None,
    };
    for listener in &mut loaded.snapshot.listeners {
        let binds = listener.bind.clone();
        let beside = |bind: &Bind| {
            all(bind).is_some_and(|(v6, port)| v6 && binds.iter().any(|b| all(b) == Some((false, port))))
        };
        if binds.iter().any(beside) && std::net::UdpSocket::bind("[::]:0").is_err() {
            listener.bind.retain(|bind| !beside(bind));
            let message = format!("{}: this system has no IPv6, so only IPv4 is listened on", listener.name);
            loaded.notes.push(Note { warning: false, message, place: None });
        }
    }
}

/// Which kind a file is: by its name, else by its content.
pub fn kind(path: &Path, text: &str) -> Result<Kind, Error> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml" | "json") => return Ok(Kind::Yaml),
        Some("conf" | "nginx") => return Ok(Kind::Nginx),
        _ => {}
    }
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    match first {
        Some(line) if line.ends_with(';') || (line.ends_with('{') && !line.starts_with('{')) => {
            Ok(Kind::Nginx)
        }
        Some(line) if line.starts_with('{') || line == "---" || line.contains(':') => Ok(Kind::Yaml),
        _ => Err(Finding::new(
            &codes::UNKNOWN_KIND,
            format!("{} is neither handfast.yaml nor nginx.conf, as far as can be seen", path.display()),
        )
        .into()),
    }
}

/// Where a private key in PEM begins, of whatever kind.
const KEY: &[u8] = b"PRIVATE KEY-----";

/// Reads a text file within the bound of [`MAX_BYTES`].
fn read(path: &Path) -> Result<String, Error> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| Error::reading(path, &error))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| Error::reading(path, &error))?;
    if bytes.len() > MAX_BYTES {
        let message = format!("{} is larger than {MAX_BYTES} bytes", path.display());
        return Err(Finding::new(&codes::TOO_LARGE, message).into());
    }
    // A configuration names keys, it never holds them; and errors draw the lines that they are about.
    if bytes.windows(KEY.len()).any(|window| window == KEY) {
        let message = format!("{} holds a private key, so it is not read or shown", path.display());
        return Err(Finding::new(&codes::UNKNOWN_KIND, message).into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&error.into_bytes()).into_owned();
        Finding::new(&codes::YAML_SYNTAX, "the file is not UTF-8 text")
            .at(Source::new(path, valid).place(at..at + 1))
            .into()
    })
}

/// The JSON schema of handfast.yaml, made from the same types that read it, ending with a line feed.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(Snapshot);
    schema.insert("title".into(), "handfast.yaml".into());
    format!("{:#}\n", schema.to_value())
}

#[cfg(test)]
mod tests;
