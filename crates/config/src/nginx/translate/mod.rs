//! The tree of directives as a snapshot, by nginx's rules of inheritance and with nginx's defaults.
//!
//! | file       | what it translates                                       |
//! |------------|----------------------------------------------------------|
//! | `scope`    | which directive is in force at a level                   |
//! | `values`   | arguments: times, sizes, templates, expressions          |
//! | `maps`     | `map`, `log_format`, names that are defined              |
//! | `upstream` | `upstream` blocks                                        |
//! | `addresses` | which servers share an address                         |
//! | `server`   | `server` blocks and their `listen`: listeners and hosts  |
//! | `tls`      | `ssl_*` of servers                                       |
//! | `location` | `location` blocks: routes                                |
//! | `content`  | files, headers, compression, error pages                 |
//! | `access`   | allow, deny, users, limits                               |
//! | `rewrite`  | `rewrite`, `return`, `if`, `set`                         |
//! | `proxy`    | `proxy_pass`, `grpc_pass`: actions                       |
//! | `service`  | services: an upstream spoken to in one way               |
//! | `stream`   | `stream`                                                 |

mod access;
mod addresses;
mod content;
mod location;
mod maps;
mod proxy;
mod rewrite;
mod scope;
mod server;
mod service;
mod stream;
mod tls;
mod upstream;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use model::codes::configuration as codes;
use model::snapshot::{LogFormat, Snapshot};

use super::parser::Directive;
use crate::error::{Finding, Note};
use scope::Level;

/// What a translation gives.
pub(crate) struct Translated {
    pub(crate) snapshot: Snapshot,
    pub(crate) findings: Vec<Finding>,
    pub(crate) notes: Vec<Note>,
}

/// What the steps of a translation share.
struct Translation<'a> {
    snapshot: Snapshot,
    findings: Vec<Finding>,
    notes: Vec<Note>,
    /// Variables that the configuration defines.
    defined: BTreeSet<String>,
    /// The values that a variable of a `map` or `set` can have, where they are plain texts.
    constants: BTreeMap<String, BTreeSet<String>>,
    /// `upstream` blocks of http and of stream, by name.
    upstreams: BTreeMap<&'a str, &'a Directive>,
    stream_upstreams: BTreeMap<&'a str, &'a Directive>,
    /// `map` blocks of stream by variable, and those of http that were used up.
    stream_maps: BTreeMap<&'a str, &'a Directive>,
    formats: BTreeMap<String, LogFormat>,
    rate_zones: BTreeMap<&'a str, access::RateZone>,
    connection_zones: BTreeMap<&'a str, model::template::Template>,
    /// Ways in which services are spoken to, in the order in which they were met.
    manners: Vec<service::Manner>,
}

/// Translates a checked tree. Directives that are not within `http`, as in a file that holds a bare `server`,
/// are treated as if they were.
pub(crate) fn translate(directives: &[Directive]) -> Translated {
    let mut translation = Translation {
        snapshot: Snapshot { version: 1, ..Snapshot::default() },
        findings: Vec::new(),
        notes: Vec::new(),
        defined: BTreeSet::new(),
        constants: BTreeMap::new(),
        upstreams: BTreeMap::new(),
        stream_upstreams: BTreeMap::new(),
        stream_maps: BTreeMap::new(),
        formats: BTreeMap::new(),
        rate_zones: BTreeMap::new(),
        connection_zones: BTreeMap::new(),
        manners: Vec::new(),
    };
    translation.main(directives);
    if translation.snapshot.listeners.is_empty() && translation.findings.is_empty() {
        translation.findings.push(
            Finding::new(
                &codes::MISSING_KEY,
                "the configuration has no server block, so that nothing would be served",
            )
            .help("add `server { listen 8080; … }`"),
        );
    }
    Translated { snapshot: translation.snapshot, findings: translation.findings, notes: translation.notes }
}

impl<'a> Translation<'a> {
    fn main(&mut self, directives: &'a [Directive]) {
        let main = Level::new(directives);
        if let Some(directive) = main.find("worker_processes") {
            self.workers(directive);
        }
        if let Some(directive) = main.find("worker_shutdown_timeout") {
            self.snapshot.drain = self.span(directive.first());
        }
        for directive in main.own("load_module") {
            self.module(directive);
        }
        for directive in main.own("error_log") {
            self.error_log(directive);
        }
        for http in main.own("http") {
            let level = main.inner(http.inner());
            self.http(&level);
        }
        for stream in main.own("stream") {
            let level = main.inner(stream.inner());
            self.stream(&level);
        }
    }

    fn workers(&mut self, directive: &Directive) {
        let word = directive.first();
        if word.text == "auto" {
            return;
        }
        if let Some(count) = self.number::<usize>(word, &word.text) {
            if count == 0 || count > 1024 {
                self.wrong(word, &codes::NGINX_VALUE, "the number of workers is out of range", "write auto");
                return;
            }
            self.snapshot.workers = Some(count);
            self.note(directive, format!("`worker_processes`: one process with {count} worker threads"));
        }
    }

    fn module(&mut self, directive: &Directive) {
        let word = directive.first();
        if word.text.contains("ngx_stream_module") || word.text.contains("ngx_http_brotli") {
            self.note(directive, "`load_module` has no effect: what this module does is built in");
        } else {
            self.unsupported(word, "modules of nginx cannot be loaded", "take it out if nothing needs it");
        }
    }

    fn error_log(&mut self, directive: &Directive) {
        let level = directive.args.get(1).map_or("error", |word| word.text.as_str());
        let message = format!(
            "`error_log` has no effect: messages go to standard error; choose what with --log (here {level})"
        );
        self.note(directive, message);
    }
}
