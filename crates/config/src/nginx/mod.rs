//! nginx.conf: an own lexer and parser with exact places, a table of directives, and a translation into the
//! model by nginx's rules. What cannot be carried out is refused by name; what needs no counterpart is noted.
//!
//! [`parser`] reads the text (and [`include`](mod@include) its includes), [`check`] holds it against [`directives`],
//! [`translate`] makes the snapshot; [`ciphers`] and [`pcre`] know OpenSSL's and PCRE's notations.

mod check;
mod ciphers;
mod directives;
mod include;
mod mime;
mod parser;
mod pcre;
mod translate;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::snapshot::Snapshot;

use crate::error::{Error, Finding, Note};
use crate::source::{MAX_BYTES, Source};
use crate::validate::{self, Files};
use include::{Folder, Includes, Nowhere};
use model::codes::configuration as codes;
use parser::{Directive, Reading, Word};

/// What reading an nginx.conf gives.
pub(crate) struct Read {
    pub(crate) snapshot: Snapshot,
    pub(crate) notes: Vec<Note>,
    pub(crate) files_read: Vec<PathBuf>,
}

/// Reads and translates a text that includes nothing but `mime.types`, without looking at the files it names.
pub fn parse(text: &str) -> Result<(Snapshot, Vec<Note>), Error> {
    translate_source(&Source::new("nginx.conf", text), &mut Nowhere, &Files::Unchecked)
}

/// Reads a main file with what it includes from its folder.
pub(crate) fn read(path: &Path, text: String, base: PathBuf, files: &Files<'_>) -> Result<Read, Error> {
    let mut folder = Folder::new(base, path);
    let (snapshot, notes) = translate_source(&Source::new(path, text), &mut folder, files)?;
    Ok(Read { snapshot, notes, files_read: folder.read })
}

fn translate_source(
    source: &Arc<Source>,
    includes: &mut dyn Includes,
    files: &Files<'_>,
) -> Result<(Snapshot, Vec<Note>), Error> {
    if source.text.len() > MAX_BYTES {
        return Err(Finding::new(&codes::TOO_LARGE, format!("more than {MAX_BYTES} bytes")).into());
    }
    let mut reading = Reading { includes, directives: 0 };
    let directives = in_http(parser::parse(source, &mut reading)?);
    let checked = check::check(&directives);
    if !checked.findings.is_empty() {
        return Err(Error::new(checked.findings));
    }
    let translated = translate::translate(&directives);
    if !translated.findings.is_empty() {
        // What is in force in several locations is found in each of them.
        let mut findings: Vec<Finding> = Vec::new();
        for finding in translated.findings {
            if !findings.contains(&finding) && findings.len() < check::MAX_FINDINGS {
                findings.push(finding);
            }
        }
        return Err(Error::new(findings));
    }
    let validated = validate::check(&translated.snapshot, files);
    let findings = placed(validated.findings, &directives);
    if !findings.is_empty() {
        return Err(Error::new(findings));
    }
    let mut notes = checked.notes;
    notes.extend(translated.notes);
    notes.extend(placed(validated.warnings, &directives).into_iter().map(|finding| Note {
        warning: true,
        message: finding.message,
        place: finding.place,
    }));
    Ok((translated.snapshot, notes))
}

/// Findings with their places: a file is shown where the configuration names it, anything else by its way in the
/// snapshot.
fn placed(found: Vec<(validate::Path, Finding)>, directives: &[Directive]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (path, mut finding) in found {
        match named(directives, &finding) {
            Some(word) => finding.place = Some(word.place.clone()),
            None => finding.message = format!("{path}: {}", finding.message),
        }
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// A file that holds what belongs into `http` is read as if it stood there.
fn in_http(directives: Vec<Directive>) -> Vec<Directive> {
    let http_only = |directive: &Directive| {
        matches!(directive.name.text.as_str(), "server" | "upstream" | "map" | "log_format" | "types")
            || directives::find(&directive.name.text)
                .is_some_and(|row| row.1 & directives::H != 0 && row.1 & directives::MAIN == 0)
    };
    if directives.iter().any(|directive| directive.is("http") || directive.is("stream"))
        || !directives.iter().any(http_only)
    {
        return directives;
    }
    let (inner, mut outer): (Vec<_>, Vec<_>) = directives.into_iter().partition(http_only);
    let Some(first) = inner.first() else { return outer };
    let name = Word { text: "http".to_owned(), quoted: false, place: first.name.place.clone() };
    outer.push(Directive { name, args: Vec::new(), block: Some(inner) });
    outer
}

/// The argument that names the file which a finding is about.
fn named<'d>(directives: &'d [Directive], finding: &Finding) -> Option<&'d Word> {
    let of_configuration = codes::ALL.iter().any(|code| code.id == finding.code.id);
    if of_configuration && finding.code.id != codes::FILE_MISSING.id {
        return None;
    }
    for directive in directives {
        for word in &directive.args {
            let text = word.text.as_str();
            if text.len() > 1
                && (finding.message.contains(&format!("/{text}:"))
                    || finding.message.contains(&format!(" {text}:")))
            {
                return Some(word);
            }
        }
        if let Some(found) = named(directive.inner(), finding) {
            return Some(found);
        }
    }
    None
}
