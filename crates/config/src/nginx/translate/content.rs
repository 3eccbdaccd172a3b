//! Files, their types, compression, headers of answers and error pages.

use std::collections::BTreeMap;

use model::codes::configuration as codes;
use model::pattern::PathPattern;
use model::snapshot::{Compression, ErrorPage, Expires, Files, HeaderRule};
use model::template::Template;
use model::units::{Size, Span};

use super::Translation;
use super::scope::Level;
use super::values::fixed;
use crate::nginx::parser::{Directive, Word};

/// Content types in force at a level.
pub(super) struct Types {
    pub(super) by_suffix: BTreeMap<String, String>,
    pub(super) default_type: String,
}

impl Types {
    /// The types that differ from the built-in table, and whether that table is meant: a file that includes
    /// nginx's own is read as asking for the built-in one, which is the same.
    pub(super) fn compact(&self) -> (BTreeMap<String, String>, bool) {
        let table = &*crate::nginx::mime::TABLE;
        let builtin = table.iter().all(|(suffix, _)| self.by_suffix.contains_key(*suffix));
        let mut own = self.by_suffix.clone();
        if builtin {
            own.retain(|suffix, kind| table.get(suffix.as_str()) != Some(&kind.as_str()));
        }
        (own, builtin)
    }
}

/// Types that `charset` is added to.
const WITH_CHARSET: [&str; 6] = [
    "text/html",
    "text/xml",
    "text/plain",
    "text/vnd.wap.wml",
    "application/javascript",
    "application/rss+xml",
];

/// The folder that an alias in force replaces, and the length of the prefix that goes.
pub(super) struct Alias<'a> {
    pub(super) directive: &'a Directive,
    pub(super) prefix: String,
}

impl<'a> Translation<'a> {
    pub(super) fn types(&mut self, level: &Level<'a>) -> Types {
        let mut by_suffix = BTreeMap::new();
        let blocks = level.list(&["types"]);
        if blocks.is_empty() {
            for (suffix, kind) in [
                ("html", "text/html"),
                ("htm", "text/html"),
                ("shtml", "text/html"),
                ("gif", "image/gif"),
                ("jpg", "image/jpeg"),
                ("jpeg", "image/jpeg"),
            ] {
                by_suffix.insert(suffix.to_owned(), kind.to_owned());
            }
        }
        for line in blocks.iter().flat_map(|block| block.inner()) {
            for suffix in &line.args {
                by_suffix.insert(suffix.text.to_ascii_lowercase(), line.name.text.clone());
            }
        }
        let mut default_type = level
            .find("default_type")
            .map_or_else(|| "text/plain".to_owned(), |found| self.literal(found.first()));
        if let Some(directive) = level.find("charset")
            && directive.first().text != "off"
        {
            let charset = self.literal(directive.first());
            for kind in by_suffix.values_mut().chain([&mut default_type]) {
                if WITH_CHARSET.contains(&kind.as_str()) {
                    kind.push_str(&format!("; charset={charset}"));
                }
            }
        }
        Types { by_suffix, default_type }
    }

    /// Files as the action of a location.
    pub(super) fn files(
        &mut self,
        level: &Level<'a>,
        path: &PathPattern,
        alias: Option<&Alias<'a>>,
        types: Types,
    ) -> Files {
        let (by_suffix, builtin_types) = types.compact();
        let mut files = Files {
            types: by_suffix,
            builtin_types,
            default_type: Some(types.default_type),
            ..Files::default()
        };
        match alias {
            Some(alias) => {
                let folder = self.alias(alias, path);
                if let PathPattern::Prefix(prefix) | PathPattern::PrefixStop(prefix) = path {
                    files.glued = !prefix.ends_with('/') || !folder.to_string().ends_with('/');
                    if files.glued {
                        self.glued(alias, prefix);
                    }
                }
                files.alias = Some(folder);
            }
            None => {
                let root = level.find("root").map(|directive| self.template(directive.first()));
                files.root = Some(root.unwrap_or_else(|| fixed("html")));
            }
        }
        let index = level.list(&["index"]);
        if !index.is_empty() {
            files.index =
                index.iter().flat_map(|directive| &directive.args).map(|word| self.template(word)).collect();
        }
        if let Some(directive) = level.own("try_files").last() {
            files.try_files = directive.args.iter().map(|word| self.template(word)).collect();
        }
        files.listing = self.flag_in(level, "autoindex").unwrap_or(false);
        if let Some(directive) = level.find("autoindex_format")
            && directive.first().text != "html"
        {
            self.unsupported(directive.first(), "folders are listed as HTML", "take the directive out");
        }
        files.etag = self.flag_in(level, "etag").unwrap_or(true);
        if let Some(directive) = level.find("gzip_static") {
            match directive.first().text.as_str() {
                "on" => files.precompressed = true,
                "always" => {
                    self.unsupported(directive.first(), "clients that do not take gzip get none", "write on");
                }
                _ => files.precompressed = self.flag(directive),
            }
        }
        files
    }

    /// An alias of an outer location serves the inner ones too: what the outer prefix left over is added.
    fn alias(&mut self, alias: &Alias<'a>, path: &PathPattern) -> Template {
        let word = alias.directive.first();
        let own = match path {
            PathPattern::Exact(path) | PathPattern::Prefix(path) | PathPattern::PrefixStop(path) => {
                path.strip_prefix(&alias.prefix)
            }
            // An alias of its own names the whole file; one from outside would have to cut the path.
            PathPattern::Regex { .. } if alias.prefix.is_empty() => Some(""),
            PathPattern::Regex { .. } | PathPattern::Named(_) => None,
        };
        match own {
            Some(rest) => self.template_of(word, &format!("{}{rest}", word.text)),
            None => {
                self.unsupported(
                    word,
                    "this alias would also serve a regular expression or @name within its location",
                    "give the inner location a root or an alias of its own",
                );
                Template::default()
            }
        }
    }

    /// A prefix and an alias of which one ends within a name.
    fn glued(&mut self, alias: &Alias<'a>, prefix: &str) {
        let folder = &alias.directive.first().text;
        let message = if prefix.ends_with('/') {
            format!(
                "`{prefix}x` is served from `{folder}x`: nginx puts alias and path together letter by letter"
            )
        } else {
            format!(
                "`{prefix}-x` is served from `{folder}-x` too: nginx puts alias and path together letter by letter; end \
                 both the location and the alias with /"
            )
        };
        self.warn(alias.directive, message);
    }

    /// `add_header` in force at a level.
    pub(super) fn response_headers(&mut self, level: &Level<'a>) -> Vec<HeaderRule> {
        let mut rules = Vec::new();
        for directive in level.list(&["add_header"]) {
            let [name, value, options @ ..] = directive.args.as_slice() else { continue };
            let always = match options {
                [] => false,
                [word] if word.text == "always" => true,
                [word, ..] => {
                    self.wrong(word, &codes::NGINX_VALUE, "the only option of add_header is always", "");
                    false
                }
            };
            rules.push(HeaderRule { name: self.literal(name), value: self.template(value), always });
        }
        rules
    }

    /// `expires` in force at a level.
    pub(super) fn expires(&mut self, level: &Level<'a>) -> Option<Expires> {
        let directive = level.find("expires")?;
        let (modified, word) = match directive.args.as_slice() {
            [first, word] if first.text == "modified" => (true, word),
            [word] => (false, word),
            [first, ..] => {
                self.wrong(first, &codes::NGINX_VALUE, "`expires` takes a time, epoch, max or off", "");
                return None;
            }
            [] => return None,
        };
        match word.text.as_str() {
            "off" => return None,
            "epoch" => return Some(Expires::Epoch),
            "max" => return Some(Expires::Max),
            text if text.starts_with('@') || text.contains('$') => {
                let message = "times of day and variables are not possible in `expires`";
                self.unsupported(word, message, "write a span such as 30d, epoch, max or off");
                return None;
            }
            _ => {}
        }
        let text = word.text.as_str();
        if let Some(past) = text.strip_prefix('-') {
            return self.span_of(word, past).map(Expires::Past);
        }
        let span = self.span_of(word, text.strip_prefix('+').unwrap_or(text))?;
        Some(if modified { Expires::Modified(span) } else { Expires::In(span) })
    }

    fn span_of(&mut self, word: &Word, text: &str) -> Option<Span> {
        match text.parse() {
            Ok(span) => Some(span),
            Err(_) => {
                self.wrong(
                    word,
                    &codes::NGINX_VALUE,
                    format!("{text:?} is not a span of time"),
                    "write 30d or 1h",
                );
                None
            }
        }
    }

    /// `gzip` in force at a level.
    pub(super) fn compression(&mut self, level: &Level<'a>) -> Option<Compression> {
        if !self.flag_in(level, "gzip")? {
            return None;
        }
        let mut types = vec!["text/html".to_owned()];
        for word in level.list(&["gzip_types"]).iter().flat_map(|directive| &directive.args) {
            if !types.contains(&word.text) {
                types.push(word.text.clone());
            }
        }
        let min_bytes = match level.find("gzip_min_length") {
            Some(directive) => self.size(directive.first()).unwrap_or(Size(20)),
            None => Size(20),
        };
        Some(Compression { brotli: false, gzip: true, types, min_bytes })
    }

    /// `error_page` in force at a level.
    pub(super) fn error_pages(&mut self, level: &Level<'a>) -> Vec<ErrorPage> {
        let list = level.list(&["error_page"]);
        list.into_iter().filter_map(|directive| self.error_page(directive)).collect()
    }

    fn error_page(&mut self, directive: &'a Directive) -> Option<ErrorPage> {
        let (to, mut words) = directive.args.split_last()?;
        let mut status = None;
        if let Some((last, rest)) = words.split_last()
            && let Some(code) = last.text.strip_prefix('=')
        {
            status = if code.is_empty() { Some(0) } else { Some(self.number(last, code)?) };
            words = rest;
        }
        let mut statuses = Vec::new();
        for word in words {
            let code = self.status(word, 300..=599)?;
            if code == 499 {
                self.wrong(word, &codes::NGINX_VALUE, "499 is never answered: the client is gone", "");
            }
            statuses.push(code);
        }
        if statuses.is_empty() {
            self.wrong(
                to,
                &codes::WRONG_ARGUMENTS,
                "error_page needs a status",
                "write `error_page 404 /404.html;`",
            );
            return None;
        }
        Some(ErrorPage { statuses, to: self.template(to), status })
    }
}
