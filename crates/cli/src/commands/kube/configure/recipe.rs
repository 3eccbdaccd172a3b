//! What a file of an application is made of, and how its placeholders are filled.

use std::path::PathBuf;

use serde::Serialize;

/// Which end of a connection a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Is called: requires and verifies client certificates.
    Server,
    /// Calls: shows its own certificate and verifies the server.
    Client,
}

/// The settings of one application.
pub(super) struct Recipe {
    /// Files, with placeholders.
    pub(super) files: &'static [Template],
    /// How its server takes renewed files.
    pub(super) server: Renewal,
    /// How its client does, in words.
    pub(super) client: &'static str,
    /// Whether what is behind a sidecar is no HTTP.
    pub(super) tcp: bool,
    /// Port and address where none is given.
    pub(super) port: u16,
}

/// One file to print.
pub(super) struct Template {
    pub(super) role: Role,
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// How a server takes renewed files without a restart.
pub(super) enum Renewal {
    /// By itself.
    Watches(&'static str),
    /// When this command is run beside it; a loop that does so is printed.
    Told {
        /// What the command does, in words.
        how: &'static str,
        /// A command line of a POSIX shell.
        command: &'static str,
        /// Name of the printed script.
        script: &'static str,
    },
}

/// What stands in the place of the placeholders.
pub(super) struct Places {
    pub(super) server: PathBuf,
    pub(super) client: PathBuf,
    pub(super) listen: u16,
    pub(super) upstream: Option<probe::dial::Endpoint>,
}

impl Places {
    /// The text for this role with everything filled in.
    pub(super) fn fill(&self, role: Role, recipe: &Recipe, text: &str) -> String {
        let upstream = self.upstream.clone().unwrap_or_else(|| match role {
            // The application behind this server, in the same pod.
            Role::Server => probe::dial::Endpoint { host: "127.0.0.1".into(), port: 8080 },
            Role::Client => probe::dial::Endpoint { host: "web.default.svc".into(), port: recipe.port },
        });
        text.replace("{{SERVER}}", &self.server.display().to_string())
            .replace("{{CLIENT}}", &self.client.display().to_string())
            .replace("{{LISTEN}}", &self.listen.to_string())
            .replace("{{UPSTREAM}}", &upstream.to_string())
            .replace("{{UPSTREAM_HOST}}", &upstream.host)
            .replace("{{UPSTREAM_PORT}}", &upstream.port.to_string())
    }
}

/// A folder that can be written into any of the files as it is: absolute, and nothing that some syntax quotes.
pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let text = if text.len() > 1 { text.trim_end_matches('/') } else { text };
    match text.starts_with('/') && text.len() > 1 && text.chars().all(plain) {
        true => Ok(PathBuf::from(text)),
        false => Err("write an absolute path of letters, digits and the characters . _ - /".into()),
    }
}

/// An address that can be written into any of the files: `host:port`.
pub(super) fn upstream(text: &str) -> Result<probe::dial::Endpoint, String> {
    let (host, port) = text.rsplit_once(':').ok_or("write host:port")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if host.is_empty() || !host.chars().all(plain) {
        return Err(format!("{host:?} is no host name or IPv4 address"));
    }
    let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
    Ok(probe::dial::Endpoint { host: host.to_owned(), port })
}

/// An image's name that can be written between quotes.
pub(super) fn image(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("this is no name of an image".into()),
    }
}
