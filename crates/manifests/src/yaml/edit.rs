//! Lossless edits: lines are inserted into the text, and nothing of it is written anew. The only thing ever taken
//! out is an empty value (`{}`, `[]`, `null`) that is filled. Each edit is checked: the new text must mean
//! the old meaning with the changes, and nothing else, or it is thrown away.

use std::ops::Range;

use super::render::{self, Layout};
use super::tree::{self, Document, Kind, Node};
use super::value::{Step, Value};

/// A change of meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The mapping that gets a key, or the sequence that gets items.
    pub path: Vec<Step>,
    /// What it gets.
    pub add: Add,
}

/// What is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Add {
    /// A key that is not there yet, or whose value is empty.
    Key(String, Value),
    /// Items at the end.
    Items(Vec<Value>),
    /// A key that has a scalar, on one line, which is replaced.
    Replace(String, Value),
}

/// Why there is no safe edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsafe {
    /// The text has a form that cannot be edited here.
    Form {
        /// In one sentence.
        message: String,
        /// Where.
        span: Range<usize>,
    },
    /// The result did not mean what it should: a defect.
    Check(String),
}

/// A replacement of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Patch {
    span: Range<usize>,
    text: String,
}

/// The text with the changes of each of its documents (by position among those with content).
pub fn apply(text: &str, documents: &[Document], changes: &[(usize, Change)]) -> Result<String, Unsafe> {
    if changes.is_empty() {
        return Ok(text.to_owned());
    }
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut expected: Vec<Value> = documents.iter().map(|document| Value::of(&document.root)).collect();
    let mut patches = Vec::new();
    for (index, change) in changes {
        let (Some(document), Some(value)) = (documents.get(*index), expected.get_mut(*index)) else {
            return Err(Unsafe::Check("a change for a document that is not there".to_owned()));
        };
        amend(value, change)?;
        // What belongs to a deeper place ends before what belongs to the place around it.
        let filled = matches!(&change.add, Add::Key(key, _) if holds(document, &change.path, key));
        let depth = change.path.len() + usize::from(filled);
        patches.extend(patch(text, document, change, newline)?.into_iter().map(|patch| (depth, patch)));
    }
    let edited = splice(text, patches)?;
    check(&edited, &expected)?;
    Ok(edited)
}

/// Parses what was made, and compares.
fn check(edited: &str, expected: &[Value]) -> Result<(), Unsafe> {
    let documents = tree::parse(edited)
        .map_err(|refused| Unsafe::Check(format!("it is no longer YAML: {}", refused.message)))?;
    let got: Vec<Value> = documents.iter().map(|document| Value::of(&document.root)).collect();
    if got == expected {
        return Ok(());
    }
    let place = got
        .iter()
        .zip(expected)
        .find_map(|(got, expected)| difference(got, expected, String::new()))
        .unwrap_or_else(|| "the number of documents".to_owned());
    Err(Unsafe::Check(format!("the edited text differs from what was meant at {place}")))
}

/// The first path at which two values differ.
fn difference(got: &Value, expected: &Value, path: String) -> Option<String> {
    match (got, expected) {
        (a, b) if a == b => None,
        (Value::Mapping(a), Value::Mapping(b)) => a
            .iter()
            .zip(b)
            .find_map(|((key, a), (other, b))| match key == other {
                true => difference(a, b, format!("{path}/{key}")),
                false => Some(format!("{path}/{key}")),
            })
            .or(Some(path)),
        (Value::Sequence(a), Value::Sequence(b)) => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(index, (a, b))| difference(a, b, format!("{path}/{index}")))
            .or(Some(path)),
        _ => Some(path),
    }
}

/// Makes the change to the meaning.
fn amend(value: &mut Value, change: &Change) -> Result<(), Unsafe> {
    let wrong = |what: &str| Unsafe::Check(format!("{what}: {:?}", change.path));
    let target = value.follow(&change.path).ok_or_else(|| wrong("no such place"))?;
    match (&change.add, target) {
        (Add::Key(key, new), Value::Mapping(entries)) => match entries.iter_mut().find(|(own, _)| own == key)
        {
            Some((_, old)) if old.is_vacant() => *old = new.clone(),
            Some(_) => return Err(wrong("the key is there already")),
            None => entries.push((key.clone(), new.clone())),
        },
        (Add::Items(new), Value::Sequence(items)) => items.extend(new.iter().cloned()),
        (Add::Replace(key, new), Value::Mapping(entries)) => {
            match entries.iter_mut().find(|(own, old)| own == key && matches!(old, Value::Scalar(..))) {
                Some((_, old)) => *old = new.clone(),
                None => return Err(wrong("there is no scalar to replace")),
            }
        }
        _ => return Err(wrong("not the kind of collection that was expected")),
    }
    Ok(())
}

/// Whether the mapping behind a path has this key.
fn holds(document: &Document, path: &[Step], key: &str) -> bool {
    path.iter()
        .try_fold(&document.root, |node, step| match step {
            Step::Key(key) => node.get(key),
            Step::Index(index) => node.items().get(*index),
        })
        .is_some_and(|node| node.entry(key).is_some())
}

/// Makes the change to the text.
fn patch(text: &str, document: &Document, change: &Change, newline: &str) -> Result<Vec<Patch>, Unsafe> {
    let mut node = &document.root;
    let mut parent_column = None;
    own(node, document)?;
    for step in &change.path {
        let next = match step {
            Step::Key(key) => node.entry(key).map(|entry| {
                parent_column = Some(entry.key_column);
                &entry.value
            }),
            Step::Index(index) => node.items().get(*index).inspect(|_| parent_column = None),
        };
        node = next.ok_or_else(|| Unsafe::Check(format!("no such place: {:?}", change.path)))?;
        own(node, document)?;
    }
    let layout = layout(&document.root);
    match (&change.add, &node.kind) {
        (Add::Key(key, value), Kind::Mapping { entries, flow }) => match (node.entry(key), flow) {
            (Some(entry), _) => fill(text, entry, document, value, *flow, layout, newline),
            (None, true) => {
                Ok(vec![into_flow(text, node, &format!("{}: {}", quoted(key), render::json(value)))])
            }
            (None, false) => {
                let column = entries.iter().find(|entry| !entry.merged).map_or(node.column, |e| e.key_column);
                let mut lines = Vec::new();
                render::entry(&mut lines, column, key, value, layout);
                Ok(vec![after(text, node.span.end, Some(column), &lines, newline)])
            }
        },
        (Add::Replace(key, value), Kind::Mapping { .. }) => replace(text, node, document, key, value),
        (Add::Items(new), Kind::Sequence { flow: true, .. }) => {
            let items: Vec<String> = new.iter().map(render::json).collect();
            Ok(vec![into_flow(text, node, &items.join(", "))])
        }
        (Add::Items(new), Kind::Sequence { flow: false, .. }) => {
            let mut lines = Vec::new();
            for value in new {
                render::item(&mut lines, node.column, value, layout);
            }
            // A list at the column of its key: a comment at that column may belong to the next key.
            let comments = (parent_column != Some(node.column)).then_some(node.column);
            Ok(vec![after(text, node.span.end, comments, &lines, newline)])
        }
        _ => Err(Unsafe::Form {
            message: "this is not the kind of value that the key must have".to_owned(),
            span: node.span.clone(),
        }),
    }
}

/// Refuses what is shared with another place.
fn own(node: &Node, document: &Document) -> Result<(), Unsafe> {
    if node.borrowed {
        let message =
            "this is an alias or comes from a merge key: an edit would have to change it elsewhere too";
        return Err(Unsafe::Form { message: message.to_owned(), span: node.span.clone() });
    }
    if document.shared.contains(&node.anchor) {
        let message = "this has an anchor to which an alias refers: an edit here would change that place too";
        return Err(Unsafe::Form { message: message.to_owned(), span: node.span.clone() });
    }
    Ok(())
}

/// Gives a key with an empty value a value.
fn fill(
    text: &str,
    entry: &tree::Entry,
    document: &Document,
    value: &Value,
    flow: bool,
    layout: Layout,
    newline: &str,
) -> Result<Vec<Patch>, Unsafe> {
    let old = &entry.value;
    own(old, document)?;
    let written = text.get(old.span.clone()).unwrap_or_default();
    if entry.merged || !(old.is_null() || old.is_empty_collection()) {
        let message = format!("`{}` has a value already", entry.key);
        return Err(Unsafe::Form { message, span: entry.key_span.clone() });
    }
    if flow || written.contains('\n') {
        if written.is_empty() {
            let message = "a key without a value within braces; write {} or [] there".to_owned();
            return Err(Unsafe::Form { message, span: entry.key_span.clone() });
        }
        return Ok(vec![Patch { span: old.span.clone(), text: render::json(value) }]);
    }
    // What follows the key moves below it; the empty value and the space before it go.
    let start = text.get(..old.span.start).unwrap_or_default().trim_end_matches(' ').len();
    let mut lines = Vec::new();
    render::below(&mut lines, "", entry.key_column, value, layout);
    lines.remove(0);
    // Alone on its line, as Helm likes it: the line is replaced.
    let line = text.get(..old.span.start).map_or(0, |before| before.rfind('\n').map_or(0, |at| at + 1));
    let rest = text.get(old.span.end..).unwrap_or_default();
    let end = rest.find('\n').map_or(rest.len(), |feed| feed);
    if line > entry.key_span.start
        && start <= line
        && rest.get(..end).is_some_and(|rest| rest.trim().is_empty())
    {
        let end = old.span.end + rest.get(..end).unwrap_or_default().trim_end_matches('\r').len();
        return Ok(vec![Patch { span: line..end, text: lines.join(newline) }]);
    }
    let removed = (!written.is_empty()).then(|| Patch { span: start..old.span.end, text: String::new() });
    Ok(removed.into_iter().chain([after(text, old.span.end, None, &lines, newline)]).collect())
}

/// Writes another scalar in the place of one.
fn replace(
    text: &str,
    node: &Node,
    document: &Document,
    key: &str,
    value: &Value,
) -> Result<Vec<Patch>, Unsafe> {
    let entry = node.entry(key).ok_or_else(|| Unsafe::Check(format!("no key {key} to replace")))?;
    own(&entry.value, document)?;
    let mut span = entry.value.span.clone();
    // Of a quoted scalar the span may be what is between the quotes.
    let around = |at: usize| text.as_bytes().get(at).filter(|byte| matches!(byte, b'"' | b'\''));
    if let (Some(before), Some(behind)) = (span.start.checked_sub(1).and_then(around), around(span.end))
        && before == behind
    {
        span = span.start - 1..span.end + 1;
    }
    let written = text.get(span.clone()).unwrap_or_default();
    if entry.merged || written.contains('\n') {
        let message = format!("the value of `{key}` is not written on one line");
        return Err(Unsafe::Form { message, span: entry.key_span.clone() });
    }
    // A key with nothing behind its colon.
    let space = if written.is_empty() { " " } else { "" };
    Ok(vec![Patch { span, text: format!("{space}{}", render::json(value)) }])
}

/// Puts something at the end of a collection in flow style.
fn into_flow(text: &str, node: &Node, new: &str) -> Patch {
    let last = match &node.kind {
        Kind::Sequence { items, .. } => items.last().map(|item| item.span.clone()),
        Kind::Mapping { entries, .. } => {
            entries.last().map(|entry| entry.key_span.start..entry.value.span.end.max(entry.key_span.end))
        }
        Kind::Scalar { .. } => None,
    };
    let Some(last) = last else {
        let at = node.span.start + 1;
        return Patch { span: at..at, text: new.to_owned() };
    };
    // One entry on each line, or all on one.
    let line = text.get(..last.start).map_or(0, |before| before.rfind('\n').map_or(0, |at| at + 1));
    let indent = text.get(line..last.start).unwrap_or_default();
    let own_line = line > node.span.start && indent.bytes().all(|byte| byte == b' ' || byte == b'\t');
    let ending = if text.get(..line).is_some_and(|before| before.ends_with("\r\n")) { "\r\n" } else { "\n" };
    let new = if own_line { format!(",{ending}{indent}{new}") } else { format!(", {new}") };
    Patch { span: last.end..last.end, text: new }
}

/// Inserts lines after the line in which a value ends, and after the comments that follow it at `column` or deeper.
fn after(text: &str, end: usize, column: Option<usize>, lines: &[String], newline: &str) -> Patch {
    let rest = text.get(end..).unwrap_or_default();
    // A block scalar ends with its line feed, or within the indentation of the next line: that line is the place.
    let line = text.get(..end).map_or(0, |before| before.rfind('\n').map_or(0, |at| at + 1));
    let ended = text.get(line..end).is_some_and(|before| before.trim_matches(' ').is_empty());
    let mut at = if ended { line } else { rest.find('\n').map_or(text.len(), |feed| end + feed + 1) };
    while let Some(column) = column.filter(|_| at < text.len()) {
        let rest = text.get(at..).unwrap_or_default();
        let line = rest.split_inclusive('\n').next().unwrap_or_default();
        let content = line.trim_start_matches(' ');
        if !content.starts_with('#') || line.len() - content.len() < column.max(1) {
            break;
        }
        at += line.len();
    }
    let mut new = String::new();
    if at == text.len() && !text.ends_with('\n') {
        new.push_str(newline);
        new.push_str(&lines.join(newline));
    } else {
        for line in lines {
            new.push_str(line);
            new.push_str(newline);
        }
    }
    Patch { span: at..at, text: new }
}

/// All patches at once; at the same place the deepest first, else in their order.
fn splice(text: &str, mut patches: Vec<(usize, Patch)>) -> Result<String, Unsafe> {
    patches.sort_by_key(|(depth, patch)| (patch.span.start, std::cmp::Reverse(*depth)));
    let mut edited = String::with_capacity(text.len() + 1024);
    let mut at = 0;
    for (_, patch) in patches {
        let Some(kept) = text.get(at..patch.span.start) else {
            return Err(Unsafe::Check("two changes overlap".to_owned()));
        };
        edited.push_str(kept);
        edited.push_str(&patch.text);
        at = patch.span.end;
    }
    edited.push_str(text.get(at..).unwrap_or_default());
    Ok(edited)
}

fn quoted(key: &str) -> String {
    serde_json::Value::String(key.to_owned()).to_string()
}

/// How the document is laid out: the first list below a key, and the first mapping below a key, tell.
fn layout(root: &Node) -> Layout {
    let (mut step, mut dash) = (None, None);
    look(root, &mut step, &mut dash);
    let step = step.unwrap_or(2);
    Layout { step, dash: dash.unwrap_or(step) }
}

fn look(node: &Node, step: &mut Option<usize>, dash: &mut Option<usize>) {
    if step.is_some() && dash.is_some() || node.borrowed {
        return;
    }
    for entry in node.entries().iter().filter(|entry| !entry.merged && !entry.value.borrowed) {
        let deeper = entry.value.column.checked_sub(entry.key_column);
        match (&entry.value.kind, deeper) {
            (Kind::Mapping { flow: false, .. }, Some(columns @ 1..=8)) => *step = step.or(Some(columns)),
            (Kind::Sequence { flow: false, .. }, Some(columns @ 0..=8)) => *dash = dash.or(Some(columns)),
            _ => {}
        }
        look(&entry.value, step, dash);
    }
    for item in node.items() {
        look(item, step, dash);
    }
}
