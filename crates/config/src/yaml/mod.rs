//! handfast.yaml: the model's [`Snapshot`] as a person writes it. [`tree`] keeps the places, [`deserialize`]
//! reads the types, [`crate::validate`] checks the sense, [`write`](mod@write) prints it.

mod deserialize;
mod tree;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::codes::configuration as codes;
use model::snapshot::Snapshot;
use serde::Deserialize;

use crate::error::{Error, Finding, Note};
use crate::source::{MAX_BYTES, Place, Source};
use crate::validate::{self, Files, Path, Segment};
use deserialize::{What, Wrong};
use tree::{Kind, Node};
pub use write::write;

/// The most errors that are shown at once.
const MAX_FINDINGS: usize = 30;

/// Reads and checks a text, without looking at the files that it names.
pub fn parse(text: &str) -> Result<Snapshot, Error> {
    read(&Source::new("handfast.yaml", text), &Files::Unchecked).map(|(snapshot, _)| snapshot)
}

/// Reads and checks a source.
pub(crate) fn read(source: &Arc<Source>, files: &Files<'_>) -> Result<(Snapshot, Vec<Note>), Error> {
    if source.text.len() > MAX_BYTES {
        return Err(Finding::new(&codes::TOO_LARGE, format!("more than {MAX_BYTES} bytes")).into());
    }
    let mut root = tree::parse(&source.text).map_err(|refused| {
        Finding::new(&codes::YAML_SYNTAX, refused.message).at(source.place(refused.span)).help(refused.help)
    })?;
    if root.is_null() {
        root.kind = Kind::Mapping { entries: Vec::new(), removed: Default::default() };
    }
    let snapshot = types(source, root.clone())?;
    let checked = validate::check(&snapshot, files);
    let place = |path: &Path| find(source, &root, path);
    let mut findings: Vec<Finding> =
        checked.findings.into_iter().map(|(path, finding)| finding.at(place(&path))).collect();
    nobody(source, &root, &mut findings);
    findings.truncate(MAX_FINDINGS);
    if !findings.is_empty() {
        return Err(Error::new(sorted(findings)));
    }
    let note = |(path, finding): (Path, Finding)| Note {
        warning: true,
        message: finding.message,
        place: Some(place(&path)),
    };
    Ok((snapshot, checked.warnings.into_iter().map(note).collect()))
}

/// `allow: []` reads as "nobody" and would mean "anybody": it has to be said another way.
fn nobody(source: &Arc<Source>, node: &Node, findings: &mut Vec<Finding>) {
    match &node.kind {
        Kind::Sequence(items) => items.iter().for_each(|item| nobody(source, item, findings)),
        Kind::Mapping { entries, .. } => {
            for entry in entries {
                if entry.key == "clients"
                    && let Kind::Mapping { entries, .. } = &entry.value.kind
                    && let Some(allow) = entries.iter().find(|entry| entry.key == "allow")
                    && matches!(&allow.value.kind, Kind::Sequence(items) if items.is_empty())
                {
                    let message = "an empty `allow` names nobody, and yet would let in every client whose certificate \
                                   is verified";
                    findings.push(
                        Finding::new(&codes::UNSAFE, message)
                            .at(source.place(allow.key_span.clone()))
                            .help("leave `allow` out to let all of them in, or refuse all with `reject: true` of `tls`"),
                    );
                }
                nobody(source, &entry.value, findings);
            }
        }
        Kind::Scalar { .. } => {}
    }
}

/// Reads the types. After an error the culprit is taken out of the tree and the rest is read again, so that
/// a person sees all errors at once.
fn types(source: &Arc<Source>, mut root: Node) -> Result<Snapshot, Error> {
    let mut findings = Vec::new();
    loop {
        match Snapshot::deserialize(&root) {
            Ok(snapshot) if findings.is_empty() => return Ok(snapshot),
            Ok(_) => break,
            Err(wrong) => {
                let (follows, more) = take_out(&mut root, &wrong);
                if !follows {
                    findings.push(finding(source, wrong));
                }
                if !more || findings.len() >= MAX_FINDINGS {
                    break;
                }
            }
        }
    }
    Err(Error::new(sorted(findings)))
}

fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| finding.place.as_ref().map(|place| place.span.start));
    findings
}

fn finding(source: &Arc<Source>, wrong: Wrong) -> Finding {
    let (code, label) = match wrong.what {
        What::Value => (&codes::INVALID_VALUE, ""),
        What::UnknownKey => (&codes::UNKNOWN_KEY, "not known here"),
        What::MissingKey("version") => (&codes::FORMAT_VERSION, ""),
        What::MissingKey(_) => (&codes::MISSING_KEY, "in this mapping"),
    };
    Finding::new(code, wrong.message)
        .at(source.place(wrong.span.unwrap_or_default()))
        .label(label)
        .help(wrong.help)
}

/// Takes the culprit out. Says whether the error only follows from an earlier removal, and whether there is
/// something left to read.
fn take_out(root: &mut Node, wrong: &Wrong) -> (bool, bool) {
    let mut node = root;
    let mut way = wrong.path.iter().rev().copied().peekable();
    let mut last = None;
    // Walk to the innermost collection; `last` is the index of the culprit in it.
    while let Some(index) = way.next() {
        if way.peek().is_none() {
            last = Some(index);
            break;
        }
        let child = match &mut node.kind {
            Kind::Sequence(items) => items.get_mut(index),
            Kind::Mapping { entries, .. } => entries.get_mut(index).map(|entry| &mut entry.value),
            Kind::Scalar { .. } => None,
        };
        match child {
            Some(child) => node = child,
            None => return (false, false),
        }
    }
    let Some(last) = last else {
        // The root itself: a missing key can be put in to go on.
        if let (What::MissingKey(name), Kind::Mapping { entries, removed }) = (&wrong.what, &mut node.kind) {
            let follows = removed.contains(*name);
            if *name == "version" && !entries.iter().any(|entry| entry.key == "version") {
                let kind = Kind::Scalar { text: "1".into(), plain: true };
                let value = Node { span: 0..0, kind };
                entries.push(tree::Entry { key: (*name).to_owned(), key_span: 0..0, value });
                return (follows, true);
            }
            return (follows, false);
        }
        return (false, false);
    };
    let follows = match (&wrong.what, child(node, last).map(|child| &child.kind)) {
        (What::MissingKey(name), Some(Kind::Mapping { removed, .. })) => removed.contains(*name),
        _ => false,
    };
    match &mut node.kind {
        Kind::Sequence(items) if last < items.len() => {
            items.remove(last);
        }
        Kind::Mapping { entries, removed } if last < entries.len() => {
            let entry = entries.remove(last);
            removed.insert(entry.key);
            // A misspelt key is not missing as well.
            if let Some(meant) =
                wrong.help.strip_prefix("did you mean `").and_then(|rest| rest.strip_suffix("`?"))
            {
                removed.insert(meant.to_owned());
            }
        }
        _ => return (follows, false),
    }
    (follows, true)
}

fn child(node: &Node, index: usize) -> Option<&Node> {
    match &node.kind {
        Kind::Sequence(items) => items.get(index),
        Kind::Mapping { entries, .. } => entries.get(index).map(|entry| &entry.value),
        Kind::Scalar { .. } => None,
    }
}

/// The place of a path, or of as much of it as was written.
fn find(source: &Arc<Source>, root: &Node, path: &Path) -> Place {
    let mut node = root;
    let mut span = 0..0;
    for segment in path.segments() {
        let next = match (segment, &node.kind) {
            (Segment::Key(key), _) => node.entry(key).map(|entry| {
                span = entry.key_span.clone();
                &entry.value
            }),
            (Segment::Index(index), Kind::Sequence(items)) => items.get(*index),
            (Segment::Index(_), _) => None,
        };
        match next {
            Some(next) => node = next,
            None => return source.place(span),
        }
        // A collection is shown by its key or first line, a value by itself.
        if matches!(node.kind, Kind::Scalar { .. }) || matches!(segment, Segment::Index(_)) {
            span = node.span.clone();
        }
    }
    source.place(span)
}
