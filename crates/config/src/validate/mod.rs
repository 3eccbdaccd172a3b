//! Whether a snapshot makes sense: names resolve, nothing contradicts itself, files exist. The checks know
//! paths (`listeners[0].hosts[1]`), not places; [`crate::yaml`] finds the place of a path in the file. A
//! translated nginx.conf goes through the same checks.

mod listeners;
mod routes;
mod services;

pub(crate) use services::is_address;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path as FilePath;

use model::codes::Code;
use model::codes::configuration as codes;
use model::snapshot::{CertificateFiles, Route, Snapshot, Step};
use model::template::Template;

use crate::error::Finding;
use crate::{suggest, variables};

/// Whether the files that a configuration names are looked at.
#[derive(Clone, Copy, Debug)]
pub enum Files<'a> {
    /// They are not.
    Unchecked,
    /// They must be there and readable, relative to this folder, and certificates are looked into by this.
    Under(&'a FilePath, &'a dyn Certificates),
}

/// Looks into certificates and keys. This crate knows places and no certificates; whoever loads a configuration
/// brings the other half. `()` looks at nothing.
pub trait Certificates: fmt::Debug {
    /// What is to be said of a chain and its key, whose files are relative to `base`. `server`: it is shown to
    /// clients of ours, and not to servers.
    fn look(&self, base: &FilePath, files: &CertificateFiles, server: bool) -> Vec<Seen>;
}

impl Certificates for () {
    fn look(&self, _: &FilePath, _: &CertificateFiles, _: bool) -> Vec<Seen> {
        Vec::new()
    }
}

/// Something that was seen in a certificate or key.
#[derive(Clone, Debug)]
pub struct Seen {
    /// A warning; otherwise nothing can be started with these files.
    pub warning: bool,
    /// It is about the key, and not the chain.
    pub of_key: bool,
    /// The entry of the table of codes.
    pub code: &'static Code,
    /// What it is, in one sentence.
    pub message: String,
    /// What to do; the code's general fix where empty.
    pub help: String,
}

/// What the checks found, by the ways to it.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) findings: Vec<(Path, Finding)>,
    pub(crate) warnings: Vec<(Path, Finding)>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// Where in a snapshot something stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Segment>);

impl Path {
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Key(key.to_owned()));
        path
    }

    fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Index(index));
        path
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Checks a snapshot and says all that is wrong with it.
pub(crate) fn check(snapshot: &Snapshot, files: &Files<'_>) -> Checked {
    let mut check = Check {
        snapshot,
        files: *files,
        defined: defined_variables(snapshot),
        findings: Vec::new(),
        warnings: Vec::new(),
    };
    check.top();
    check.listeners();
    check.services();
    Checked { findings: check.findings, warnings: check.warnings }
}

/// What the checks share.
struct Check<'s> {
    snapshot: &'s Snapshot,
    files: Files<'s>,
    defined: BTreeSet<String>,
    findings: Vec<(Path, Finding)>,
    warnings: Vec<(Path, Finding)>,
}

impl Check<'_> {
    /// Something that a person should know, and that stops nothing.
    fn warn(&mut self, path: &Path, code: &'static Code, message: impl Into<String>) {
        self.warnings.push((path.clone(), Finding::new(code, message)));
    }

    fn wrong(
        &mut self,
        path: &Path,
        code: &'static Code,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.findings.push((path.clone(), Finding::new(code, message).help(help)));
    }

    fn top(&mut self) {
        let root = Path::default();
        if self.snapshot.version != 1 {
            self.wrong(
                &root.key("version"),
                &codes::FORMAT_VERSION,
                format!("version {} of the format is not known", self.snapshot.version),
                "this Handfast reads version 1",
            );
        }
        if let Some(admin) = self.snapshot.admin
            && !admin.ip().is_loopback()
        {
            self.wrong(
                &root.key("admin"),
                &codes::UNSAFE,
                format!("the admin address {admin} is not on loopback"),
                format!("metrics and health name peers and services; write 127.0.0.1:{}", admin.port()),
            );
        }
        if self.snapshot.workers == Some(0) {
            self.wrong(
                &root.key("workers"),
                &codes::INVALID_VALUE,
                "0 workers carry no traffic",
                "leave `workers` out for one per core",
            );
        }
        for (index, map) in self.snapshot.maps.iter().enumerate() {
            let path = root.key("maps").index(index);
            self.template(&path.key("source"), &map.source);
            self.template(&path.key("default"), &map.default);
            for (position, (key, value)) in map.entries.iter().enumerate() {
                let path = path.key("entries").index(position);
                self.template(&path.index(1), value);
                if let Some(expression) = key.strip_prefix('~') {
                    self.regex(&path.index(0), expression.strip_prefix('*').unwrap_or(expression));
                }
            }
        }
        let log = self.snapshot.access_log.clone();
        self.access_log(&root.key("access_log"), &log);
    }

    fn access_log(&mut self, path: &Path, log: &model::snapshot::AccessLog) {
        use model::snapshot::LogFormat;
        match &log.format {
            LogFormat::Template(template) => self.template(&path.key("format").key("template"), template),
            LogFormat::JsonTemplate(template) => {
                self.template(&path.key("format").key("json-template"), template);
            }
            LogFormat::Json | LogFormat::Text => {}
        }
    }

    /// All variables of a template must exist.
    fn template(&mut self, path: &Path, template: &Template) {
        for name in template.variables() {
            if variables::is_known(name) || self.defined.contains(name) {
                continue;
            }
            let known = variables::KNOWN.iter().copied().chain(self.defined.iter().map(String::as_str));
            let help = suggest::help(name, known.collect::<Vec<_>>());
            self.findings.push((
                path.clone(),
                Finding::new(&codes::UNKNOWN_VARIABLE, format!("the variable ${name} is not known"))
                    .help(help),
            ));
        }
    }

    /// A regular expression must compile, within bounds.
    fn regex(&mut self, path: &Path, expression: &str) {
        if let Err(finding) = compile(expression) {
            self.findings.push((path.clone(), finding));
        }
    }

    /// A file must be there and readable.
    fn file(&mut self, path: &Path, file: &FilePath) {
        let Files::Under(base, _) = self.files else { return };
        if file.as_os_str().is_empty() {
            self.wrong(path, &codes::MISSING_KEY, "the path of a file is missing", "");
            return;
        }
        let full = base.join(file);
        let answer = std::fs::File::open(&full).and_then(|opened| opened.metadata());
        match answer {
            Ok(metadata) if metadata.is_dir() => self.wrong(
                path,
                &codes::FILE_MISSING,
                format!("{} is a folder, a file is needed", full.display()),
                "",
            ),
            Ok(_) => {}
            Err(error) => {
                self.wrong(
                    path,
                    &codes::FILE_MISSING,
                    format!("cannot read {}: {error}", full.display()),
                    "",
                );
            }
        }
    }

    /// A network such as `10.0.0.0/8`, or an address.
    fn network(&mut self, path: &Path, text: &str) {
        if !is_network(text) {
            self.wrong(
                path,
                &codes::INVALID_VALUE,
                format!("{text:?} is neither an address nor a network"),
                "write 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32",
            );
        }
    }
}

/// Compiles an expression within bounds.
pub(crate) fn compile(expression: &str) -> Result<regex::Regex, Finding> {
    regex::RegexBuilder::new(expression).size_limit(1 << 20).build().map_err(|error| {
        let text = error.to_string();
        if text.contains("look-around") || text.contains("backreference") {
            Finding::new(
                &codes::UNSUPPORTED_REGEX,
                format!("the regular expression {expression:?} uses look-around or a back-reference"),
            )
        } else {
            let reason =
                text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            Finding::new(
                &codes::INVALID_VALUE,
                format!("the regular expression {expression:?} is wrong: {reason}"),
            )
            .help("the syntax is that of https://docs.rs/regex")
        }
    })
}

/// Whether a text is an address, or a network with a prefix that fits.
pub(crate) fn is_network(text: &str) -> bool {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    match length {
        None => true,
        Some(length) => {
            length.bytes().all(|b| b.is_ascii_digit()) && length.parse::<u8>().is_ok_and(|n| n <= most)
        }
    }
}

/// The variables that the snapshot itself defines: maps, `set` and named captures.
fn defined_variables(snapshot: &Snapshot) -> BTreeSet<String> {
    let mut defined: BTreeSet<String> = snapshot.maps.iter().map(|map| map.variable.clone()).collect();
    for map in &snapshot.maps {
        for (key, _) in &map.entries {
            if let Some(expression) = key.strip_prefix('~') {
                captures(expression.strip_prefix('*').unwrap_or(expression), &mut defined);
            }
        }
    }
    for host in snapshot.listeners.iter().flat_map(|listener| &listener.hosts) {
        for name in &host.names {
            if let model::snapshot::NamePattern::Regex(regex) = name {
                defined.extend(regex.capture_names().flatten().map(str::to_owned));
            }
        }
        defined_by_steps(&host.steps, &mut defined);
        defined_by_routes(&host.routes, &mut defined);
    }
    defined
}

fn defined_by_routes(routes: &[Route], defined: &mut BTreeSet<String>) {
    for route in routes {
        if let model::pattern::PathPattern::Regex { regex, .. } = &route.path {
            defined.extend(regex.capture_names().flatten().map(str::to_owned));
        }
        defined_by_steps(&route.steps, defined);
        defined_by_routes(&route.routes, defined);
    }
}

fn defined_by_steps(steps: &[Step], defined: &mut BTreeSet<String>) {
    for step in steps {
        match step {
            Step::Set { variable, .. } => {
                defined.insert(variable.clone());
            }
            Step::Rewrite { regex, .. } => captures(regex, defined),
            Step::If { condition, then } => {
                if let model::snapshot::Condition::Matches { regex, .. } = condition {
                    captures(regex, defined);
                }
                defined_by_steps(then, defined);
            }
            Step::Respond(_) | Step::Break => {}
        }
    }
}

fn captures(expression: &str, defined: &mut BTreeSet<String>) {
    if let Ok(regex) = compile(expression) {
        defined.extend(regex.capture_names().flatten().map(str::to_owned));
    }
}
