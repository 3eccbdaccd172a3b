//! `map`, `log_format`, and the names that a configuration defines.

use std::collections::BTreeSet;

use model::codes::configuration as codes;
use model::snapshot::{AccessLog, LogFormat, LogTarget, Map};
use model::template::Template;

use super::Translation;
use super::scope::Level;
use crate::nginx::parser::{Directive, Word};

/// nginx's predefined format.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
     \"$http_referer\" \"$http_user_agent\"";

impl<'a> Translation<'a> {
    /// Collects the variables that the directives of a block and its inner blocks define.
    pub(super) fn collect_names(&mut self, directives: &'a [Directive]) {
        for directive in directives {
            match directive.name.text.as_str() {
                "map" => {
                    if let Some(variable) = directive.args.get(1) {
                        self.collect_map(variable.text.trim_start_matches('$'), directive.inner());
                    }
                    continue;
                }
                "types" => continue,
                "set" => {
                    if let [variable, value] = directive.args.as_slice() {
                        let name = variable.text.trim_start_matches('$').to_owned();
                        if !value.text.contains('$') {
                            self.constants.entry(name.clone()).or_default().insert(value.text.clone());
                        }
                        self.defined.insert(name);
                    }
                }
                "location" | "if" | "rewrite" | "server_name" => {
                    for word in &directive.args {
                        self.collect_captures(&word.text);
                    }
                }
                _ => {}
            }
            self.collect_names(directive.inner());
        }
    }

    fn collect_map(&mut self, variable: &str, entries: &[Directive]) {
        self.defined.insert(variable.to_owned());
        for entry in entries {
            self.collect_captures(&entry.name.text);
            if let [value] = entry.args.as_slice()
                && !value.text.contains('$')
            {
                self.constants.entry(variable.to_owned()).or_default().insert(value.text.clone());
            }
        }
    }

    /// Named captures, found by their look: the expression itself is compiled where it is used.
    fn collect_captures(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find("(?") {
            rest = &rest[at + 2..];
            let name = rest.strip_prefix('P').unwrap_or(rest);
            if let Some((name, _)) = name.strip_prefix('<').and_then(|name| name.split_once('>'))
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                self.defined.insert(name.to_owned());
            }
        }
    }

    /// A `map` of http.
    pub(super) fn map(&mut self, directive: &'a Directive) {
        let [source, variable] = directive.args.as_slice() else { return };
        let Some(name) = self.variable_name(variable) else { return };
        if self.snapshot.maps.iter().any(|map| map.variable == name) {
            self.wrong(variable, &codes::DUPLICATE, format!("another map defines ${name} too"), "");
            return;
        }
        let source = self.template(source);
        let mut map = Map {
            variable: name,
            source,
            entries: Vec::new(),
            default: Template::default(),
            hostnames: false,
        };
        for entry in directive.inner() {
            self.map_entry(entry, &mut map);
        }
        self.snapshot.maps.push(map);
    }

    fn map_entry(&mut self, entry: &Directive, map: &mut Map) {
        let key = entry.name.text.as_str();
        match (key, entry.args.as_slice(), entry.name.quoted) {
            ("hostnames", [], false) => map.hostnames = true,
            ("volatile", [], false) => {}
            ("default", [value], false) => map.default = self.template(value),
            (_, [value], _) => {
                if let Some(expression) = key.strip_prefix('~') {
                    let expression = expression.strip_prefix('*').unwrap_or(expression);
                    if self.regex(&entry.name, expression).is_none() {
                        return;
                    }
                }
                // A backslash keeps a key from being read as one of the special words.
                let key = key.strip_prefix('\\').unwrap_or(key);
                let value = self.template(value);
                // Case counts in expressions only.
                let same = |known: &str| match key.starts_with('~') {
                    true => known == key,
                    false => known.eq_ignore_ascii_case(key),
                };
                if map.entries.iter().any(|(known, _)| same(known)) {
                    let message = format!("the key {key:?} stands twice in this map");
                    self.wrong(&entry.name, &codes::DUPLICATE, message, "keep the one that is meant");
                    return;
                }
                map.entries.push((key.to_owned(), value));
            }
            _ => self.wrong(&entry.name, &codes::WRONG_ARGUMENTS, "a line of a map is a key and a value", ""),
        }
    }

    /// The name of a variable that is being defined.
    pub(super) fn variable_name(&mut self, word: &Word) -> Option<String> {
        match word.text.strip_prefix('$') {
            Some(name)
                if !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
            {
                Some(name.to_owned())
            }
            _ => {
                self.wrong(
                    word,
                    &codes::NGINX_VALUE,
                    format!("{:?} is not a variable", word.text),
                    "begin it with $",
                );
                None
            }
        }
    }

    /// `log_format NAME [escape=…] TEXT…`.
    pub(super) fn log_format(&mut self, directive: &'a Directive) {
        let Some((name, rest)) = directive.args.split_first() else { return };
        let (escape, rest) = match rest.split_first() {
            Some((first, rest)) if first.text.starts_with("escape=") => (Some(first), rest),
            _ => (None, rest),
        };
        let mut text = String::new();
        for word in rest {
            self.template(word);
            text.push_str(&word.text);
        }
        let template: Template = text.parse().unwrap_or_default();
        let format = match escape.map(|word| word.text.as_str()) {
            None | Some("escape=default") => LogFormat::Template(template),
            Some("escape=json") => LogFormat::JsonTemplate(template),
            Some("escape=none") => {
                self.warn(
                    directive,
                    "`escape=none`: values are escaped all the same, so that nobody can forge lines",
                );
                LogFormat::Template(template)
            }
            Some(_) => {
                if let Some(word) = escape {
                    self.wrong(word, &codes::NGINX_VALUE, "`escape` is default, json or none", "");
                }
                return;
            }
        };
        if self.formats.insert(name.text.clone(), format).is_some() {
            self.wrong(
                name,
                &codes::DUPLICATE,
                format!("another log_format is named {:?} too", name.text),
                "",
            );
        }
    }

    /// The access log that is in force at a level. `outer` is not looked at where the level says nothing.
    pub(super) fn access_log(&mut self, level: &Level<'a>) -> Option<AccessLog> {
        let list = level.list(&["access_log"]);
        let (first, others) = list.split_first()?;
        for other in others {
            self.warn(other, "a second `access_log` at one level is not written; the first one is");
        }
        let (path, options) = first.args.split_first()?;
        if path.text == "off" {
            return Some(AccessLog { format: LogFormat::Json, to: LogTarget::Off });
        }
        let to = match path.text.as_str() {
            "/dev/stdout" => LogTarget::Stdout,
            "/dev/stderr" | "stderr" => LogTarget::Stderr,
            text if text.starts_with("syslog:") => {
                self.unsupported(path, "logs are not sent to syslog", "log to a file or to /dev/stdout");
                return None;
            }
            _ => LogTarget::File(self.literal(path).into()),
        };
        let mut format = None;
        for option in options {
            match option.text.split_once('=').map(|(name, _)| name) {
                Some("buffer" | "flush") => {}
                Some("gzip") => self.unsupported(option, "logs are not compressed", "take the option out"),
                Some("if") => {
                    self.unsupported(
                        option,
                        "every request is logged",
                        "take the option out, or filter the log",
                    );
                }
                _ if option.text == "gzip" => {
                    self.unsupported(option, "logs are not compressed", "take the option out");
                }
                _ if format.is_none() => format = Some(self.format(option)),
                _ => self.wrong(option, &codes::NGINX_VALUE, "this option of access_log is not known", ""),
            }
        }
        let combined = || LogFormat::Template(COMBINED.parse().unwrap_or_default());
        Some(AccessLog { format: format.unwrap_or_else(combined), to })
    }

    fn format(&mut self, word: &Word) -> LogFormat {
        if let Some(format) = self.formats.get(&word.text) {
            return format.clone();
        }
        if word.text != "combined" {
            let known: BTreeSet<String> = self.formats.keys().cloned().collect();
            let help = crate::suggest::help(&word.text, known.iter().map(String::as_str).collect::<Vec<_>>());
            self.wrong(word, &codes::UNKNOWN_NAME, format!("no log_format is named {:?}", word.text), help);
        }
        LogFormat::Template(COMBINED.parse().unwrap_or_default())
    }
}
