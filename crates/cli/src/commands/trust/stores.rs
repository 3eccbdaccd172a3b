//! The stores: where they are on this machine, and the commands that put a root in and take it out.
//!
//! Linux is what the tests run on. macOS and Windows are written after their manuals and untested.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use clap::ValueEnum;
use model::codes;
use tempfile::TempDir;

use crate::failure::Failure;

/// A kind of trust store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// What curl, OpenSSL, Go, Python and the system's tools trust.
    System,
    /// What Chromium and Firefox trust.
    Nss,
    /// What each Java trusts.
    Java,
}

/// One store that is there.
#[derive(Clone, Debug)]
pub enum Store {
    /// Debian's `ca-certificates`.
    Debian,
    /// The macOS system keychain (untested).
    Keychain,
    /// The Windows root store (untested).
    Windows,
    /// An NSS database.
    Nss {
        /// Its folder.
        dir: PathBuf,
    },
    /// A Java installation.
    Java {
        /// Its folder.
        home: PathBuf,
    },
}

/// The root that is put in, and the names under which stores know it.
#[derive(Debug)]
pub struct Root {
    /// A PEM file with this one certificate.
    pub file: PathBuf,
    /// Its PEM text.
    pub pem: String,
    /// `handfast-` and the first 16 digits of its SHA-256: unique for each root.
    pub alias: String,
    /// Its SHA-1 in hexadecimal, by which macOS and Windows know it.
    pub sha1: String,
    /// Its subject, for people.
    pub subject: String,
    /// The folder of `file`, which nobody else can write into; it goes when this is dropped.
    pub _folder: Arc<TempDir>,
}

const KEYCHAIN: &str = "/Library/Keychains/System.keychain";

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Run a program.
    Run(Vec<OsString>),
    /// Write the root to a file.
    Write(PathBuf),
    /// Remove a file.
    Remove(PathBuf),
    /// Make a folder, closed to others.
    Folder(PathBuf),
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                f.write_str(&words.join(" "))
            }
            Self::Write(path) => write!(f, "write the root to {}", path.display()),
            Self::Remove(path) => write!(f, "rm {}", path.display()),
            Self::Folder(path) => write!(f, "mkdir -m 700 -p {}", path.display()),
        }
    }
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Debian => f.write_str("system"),
            Self::Keychain => f.write_str("system (keychain)"),
            Self::Windows => f.write_str("system (Windows)"),
            Self::Nss { dir } => write!(f, "nss {}", dir.display()),
            Self::Java { home } => write!(f, "java {}", home.display()),
        }
    }
}

/// The stores of this kind, or why there is none.
pub fn find(kind: Kind) -> Result<Vec<Store>, String> {
    match kind {
        Kind::System if cfg!(target_os = "macos") => Ok(vec![Store::Keychain]),
        Kind::System if cfg!(windows) => Ok(vec![Store::Windows]),
        Kind::System if program("update-ca-certificates").is_some() => Ok(vec![Store::Debian]),
        Kind::System => Err("update-ca-certificates is not present (package ca-certificates)".to_owned()),
        Kind::Nss if program("certutil").is_none() => {
            Err("certutil is not present (package libnss3-tools)".to_owned())
        }
        Kind::Nss => nss_folders(),
        Kind::Java => {
            let homes = java_homes();
            if homes.is_empty() { Err("no Java is present".to_owned()) } else { Ok(homes) }
        }
    }
}

fn nss_folders() -> Result<Vec<Store>, String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).ok_or("HOME is not set")?;
    // Chromium's is made when it is missing: it reads it from its next start on.
    let mut folders = vec![home.join(".pki/nssdb")];
    for parent in [".mozilla/firefox", "snap/firefox/common/.mozilla/firefox", ".librewolf"] {
        let Ok(profiles) = std::fs::read_dir(home.join(parent)) else { continue };
        folders.extend(
            profiles.flatten().map(|profile| profile.path()).filter(|path| path.join("cert9.db").exists()),
        );
    }
    Ok(folders.into_iter().map(|dir| Store::Nss { dir }).collect())
}

fn java_homes() -> Vec<Store> {
    let mut homes = BTreeSet::new();
    let mut add = |home: PathBuf| {
        if let Ok(real) = home.canonicalize()
            && real.join("bin/keytool").exists()
        {
            homes.insert(real);
        }
    };
    if let Some(home) = std::env::var_os("JAVA_HOME") {
        add(home.into());
    }
    for parent in ["/usr/lib/jvm", "/Library/Java/JavaVirtualMachines"] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            add(entry.path());
            add(entry.path().join("Contents/Home"));
        }
    }
    homes.into_iter().map(|home| Store::Java { home }).collect()
}

/// The path of a program in `PATH` or where root's programs lie.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

impl Store {
    /// Whether the root is in it, as the store's own program says.
    pub fn holds(&self, root: &Root) -> bool {
        match self {
            Self::Debian => std::fs::read_to_string(root.debian_file()).is_ok_and(|pem| pem == root.pem),
            Self::Keychain => {
                let words = ["security", "find-certificate", "-a", "-Z", KEYCHAIN].map(OsString::from);
                let listed = command(&words).and_then(|mut command| command.output().ok());
                listed.is_some_and(|output| {
                    String::from_utf8_lossy(&output.stdout).to_ascii_lowercase().contains(&root.sha1)
                })
            }
            Self::Windows => succeeds(&["certutil", "-store", "ROOT", &root.sha1].map(OsString::from)),
            Self::Nss { dir } => {
                dir.join("cert9.db").exists() && succeeds(&self.certutil(&["-L", "-n", &root.alias]))
            }
            Self::Java { home } => root.java_aliases().iter().any(|alias| java_holds(home, alias)),
        }
    }

    /// What puts the root in.
    pub fn install(&self, root: &Root) -> Vec<Action> {
        let file = root.file.display().to_string();
        match self {
            Self::Debian => vec![Action::Write(root.debian_file()), run(&["update-ca-certificates"])],
            Self::Keychain => {
                vec![run(&["security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", KEYCHAIN, &file])]
            }
            Self::Windows => vec![run(&["certutil", "-addstore", "-f", "ROOT", &file])],
            Self::Nss { dir } => {
                let mut actions = Vec::new();
                if !dir.join("cert9.db").exists() {
                    actions.push(Action::Folder(dir.clone()));
                    actions.push(Action::Run(self.certutil(&["-N", "--empty-password"])));
                }
                let add = ["-A", "-t", "C,,", "-n", &root.alias, "-i", &file];
                actions.push(Action::Run(self.certutil(&add)));
                actions
            }
            Self::Java { home } => {
                let import = ["-importcert", "-noprompt", "-alias", &root.alias, "-file", &file];
                vec![Action::Run(keytool(home, &import))]
            }
        }
    }

    /// What takes the root out.
    pub fn uninstall(&self, root: &Root) -> Vec<Action> {
        match self {
            Self::Debian => {
                // Without --fresh the links to the removed file stay, and it is still trusted.
                let mut actions =
                    vec![Action::Remove(root.debian_file()), run(&["update-ca-certificates", "--fresh"])];
                // Debian's hook for Java copies what was added, but forgets to take it out again.
                if let Some(home) = debian_java() {
                    actions.extend(java_removals(&home, root));
                }
                actions
            }
            Self::Keychain => {
                vec![run(&["security", "remove-trusted-cert", "-d", &root.file.display().to_string()])]
            }
            Self::Windows => vec![run(&["certutil", "-delstore", "ROOT", &root.sha1])],
            Self::Nss { .. } => vec![Action::Run(self.certutil(&["-D", "-n", &root.alias]))],
            Self::Java { home } => java_removals(home, root),
        }
    }

    fn certutil(&self, more: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["certutil".into()];
        words.extend(more.iter().map(OsString::from));
        if let Self::Nss { dir } = self {
            words.extend(["-d".into(), OsString::from(format!("sql:{}", dir.display()))]);
        }
        words
    }
}

impl Root {
    /// Debian's file of a root that the machine's owner added.
    fn debian_file(&self) -> PathBuf {
        PathBuf::from("/usr/local/share/ca-certificates").join(format!("{}.crt", self.alias))
    }

    /// The names that Java may know it by: ours, and the one that Debian's hook gives to its copy.
    fn java_aliases(&self) -> [String; 2] {
        [self.alias.clone(), format!("debian:{}.pem", self.alias)]
    }
}

fn java_holds(home: &Path, alias: &str) -> bool {
    succeeds(&keytool(home, &["-list", "-alias", alias]))
}

fn java_removals(home: &Path, root: &Root) -> Vec<Action> {
    let held = root.java_aliases().into_iter().filter(|alias| java_holds(home, alias));
    held.map(|alias| Action::Run(keytool(home, &["-delete", "-alias", &alias]))).collect()
}

/// A Java whose store is the one that Debian keeps in step with the system's.
fn debian_java() -> Option<PathBuf> {
    java_homes().into_iter().find_map(|store| match store {
        Store::Java { home } => home
            .join("lib/security/cacerts")
            .canonicalize()
            .is_ok_and(|real| real.starts_with("/etc/ssl/certs/java"))
            .then_some(home),
        _ => None,
    })
}

fn keytool(home: &Path, more: &[&str]) -> Vec<OsString> {
    let mut words = vec![home.join("bin/keytool").into_os_string()];
    words.extend(more.iter().map(OsString::from));
    // Java's own password for a file of public certificates; it protects nothing.
    words.extend(["-cacerts", "-storepass", "changeit"].map(OsString::from));
    words
}

fn run(words: &[&str]) -> Action {
    Action::Run(words.iter().map(OsString::from).collect())
}

fn command(words: &[OsString]) -> Option<Command> {
    let (name, args) = words.split_first()?;
    let path = program(&name.to_string_lossy()).unwrap_or_else(|| PathBuf::from(name));
    let mut command = Command::new(path);
    command.args(args).stdin(std::process::Stdio::null());
    Some(command)
}

fn succeeds(words: &[OsString]) -> bool {
    command(words).and_then(|mut command| command.output().ok()).is_some_and(|output| output.status.success())
}

/// Does it, and shows it first.
pub fn perform(action: &Action, root: &Root, dry_run: bool) -> Result<(), Failure> {
    eprintln!("  {}{action}", if dry_run { "would: " } else { "" });
    if dry_run {
        return Ok(());
    }
    match action {
        Action::Write(path) => certs::write_public(path, root.pem.as_bytes()).map_err(Failure::from),
        Action::Remove(path) => std::fs::remove_file(path).map_err(|error| Failure::writing(path, &error)),
        Action::Folder(path) => certs::create_folder(path).map_err(Failure::from),
        Action::Run(words) => {
            let output = command(words).map(|mut command| command.output());
            let failed = |detail: String| {
                Failure::new(&codes::trust::COMMAND_FAILED, "a command of the trust store failed")
                    .with("command", action)
                    .with("output", detail)
            };
            match output {
                Some(Ok(output)) if output.status.success() => Ok(()),
                Some(Ok(output)) => Err(failed(
                    [output.stdout, output.stderr]
                        .map(|text| String::from_utf8_lossy(&text).trim().to_owned())
                        .join(" "),
                )),
                Some(Err(error)) => Err(failed(error.to_string())),
                None => Ok(()),
            }
        }
    }
}
