//! Arguments as values. What is not understood becomes a finding with its place, and the caller goes on
//! with a default, so that all findings of a file are shown.

use model::codes::Code;
use model::codes::configuration as codes;
use model::template::{Part, Template};
use model::units::{Size, Span};

use super::Translation;
use crate::error::{Finding, Note};
use crate::nginx::parser::{Directive, Word};
use crate::{suggest, variables};

impl Translation<'_> {
    /// A finding at a word.
    pub(super) fn wrong(
        &mut self,
        word: &Word,
        code: &'static Code,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.findings.push(Finding::new(code, message).at(word.place.clone()).help(help));
    }

    /// A finding about something that nginx does and Handfast does not.
    pub(super) fn unsupported(&mut self, word: &Word, message: impl Into<String>, help: impl Into<String>) {
        self.wrong(word, &codes::UNSUPPORTED_DIRECTIVE, message, help);
    }

    /// A note at a directive.
    pub(super) fn note(&mut self, directive: &Directive, message: impl Into<String>) {
        self.notes.push(Note { warning: false, message: message.into(), place: Some(directive.place()) });
    }

    /// A note that matters to security or behaviour; the same words at the same place come once.
    pub(super) fn warn(&mut self, directive: &Directive, message: impl Into<String>) {
        let note = Note { warning: true, message: message.into(), place: Some(directive.place()) };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// `on` or `off`.
    pub(super) fn flag(&mut self, directive: &Directive) -> bool {
        let word = directive.first();
        match word.text.as_str() {
            "on" => true,
            "off" => false,
            other => {
                let message = format!("`{}` takes on or off, not {other:?}", directive.name.text);
                self.wrong(word, &codes::NGINX_VALUE, message, "");
                false
            }
        }
    }

    /// `on` or `off` of the directive that is in force, if any.
    pub(super) fn flag_in(&mut self, level: &super::Level<'_>, name: &str) -> Option<bool> {
        level.find(name).map(|directive| self.flag(directive))
    }

    /// A span of time.
    pub(super) fn span(&mut self, word: &Word) -> Option<Span> {
        match word.text.parse() {
            Ok(span) => Some(span),
            Err(error) => {
                self.wrong(word, &codes::NGINX_VALUE, error.to_string(), "");
                None
            }
        }
    }

    /// The span of the directive that is in force, if any.
    pub(super) fn span_in(&mut self, level: &super::Level<'_>, name: &str) -> Option<Span> {
        level.find(name).and_then(|directive| self.span(directive.first()))
    }

    /// A size.
    pub(super) fn size(&mut self, word: &Word) -> Option<Size> {
        match word.text.parse() {
            Ok(size) => Some(size),
            Err(error) => {
                self.wrong(word, &codes::NGINX_VALUE, error.to_string(), "");
                None
            }
        }
    }

    /// A whole number.
    pub(super) fn number<N: std::str::FromStr>(&mut self, word: &Word, text: &str) -> Option<N> {
        match text.parse() {
            Ok(number) => Some(number),
            Err(_) => {
                self.wrong(word, &codes::NGINX_VALUE, format!("{text:?} is not a number in range"), "");
                None
            }
        }
    }

    /// An HTTP status in a range.
    pub(super) fn status(&mut self, word: &Word, range: std::ops::RangeInclusive<u16>) -> Option<u16> {
        let status = self.number(word, &word.text)?;
        if range.contains(&status) {
            return Some(status);
        }
        let message = format!("the status is out of range {} to {}", range.start(), range.end());
        self.wrong(word, &codes::NGINX_VALUE, message, "");
        None
    }

    /// Text with variables, all of which must exist.
    pub(super) fn template(&mut self, word: &Word) -> Template {
        self.template_of(word, &word.text)
    }

    /// A piece of a word as text with variables.
    pub(super) fn template_of(&mut self, word: &Word, text: &str) -> Template {
        let template: Template = match text.parse() {
            Ok(template) => template,
            Err(error) => {
                self.wrong(word, &codes::NGINX_VALUE, model_text(&error), "");
                return Template::default();
            }
        };
        for name in template.variables() {
            if variables::is_known(name) || self.defined.contains(name) {
                continue;
            }
            let mut finding =
                Finding::new(&codes::UNKNOWN_VARIABLE, format!("the variable ${name} is not known"));
            let known: Vec<&str> =
                variables::KNOWN.iter().copied().chain(self.defined.iter().map(String::as_str)).collect();
            finding = finding.help(suggest::help(name, known));
            let mut place = word.place.clone();
            let raw = place.source.text.get(place.span.clone()).unwrap_or_default();
            if let Some(at) = raw.find(&format!("${name}")) {
                place.span = place.span.start + at..place.span.start + at + name.len() + 1;
            }
            self.findings.push(finding.at(place));
        }
        // The binary form is only a shorter key.
        if template.variables().any(|name| name == "binary_remote_addr") {
            return replace_variable(&template, "binary_remote_addr", "$remote_addr");
        }
        template
    }

    /// Text without variables.
    pub(super) fn literal(&mut self, word: &Word) -> String {
        if word.text.contains('$') {
            let message = "variables are not possible here";
            self.unsupported(word, message, "write the text itself");
        }
        word.text.clone()
    }

    /// A regular expression that the linear-time engine can run.
    pub(super) fn regex(&mut self, word: &Word, expression: &str) -> Option<regex::Regex> {
        match crate::nginx::pcre::compile(expression) {
            Ok(regex) => Some(regex),
            Err(refused) => {
                let mut place = word.place.clone();
                let raw = place.source.text.get(place.span.clone()).unwrap_or_default();
                if let Some(start) =
                    refused.part.and_then(|part| raw.find(&part).map(|start| (start, part.len())))
                {
                    place.span = place.span.start + start.0..place.span.start + start.0 + start.1;
                }
                self.findings.push(refused.finding.at(place));
                None
            }
        }
    }
}

fn model_text(error: &model::template::TemplateError) -> String {
    error.to_string()
}

/// A template with one variable replaced by a text with variables.
pub(super) fn replace_variable(template: &Template, name: &str, with: &str) -> Template {
    let text: String = template
        .parts()
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(own) if own == name => with.to_owned(),
            Part::Variable(own) => format!("${{{own}}}"),
        })
        .collect();
    text.parse().unwrap_or_default()
}

/// A literal text as a template. A `$` of the text stays itself.
pub(super) fn fixed(text: &str) -> Template {
    text.parse().unwrap_or_default()
}
