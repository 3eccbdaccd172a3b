//! YAML text as a tree that knows the place and the style of everything, for lossless edits: all documents of a
//! stream, anchors and aliases marked. Neighbours: [`super::edit`] inserts into it, [`super::value`] is its
//! meaning without places.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};

/// The deepest nesting.
const MAX_DEPTH: usize = 96;
/// The most keys and values, aliases written out.
const MAX_NODES: usize = 500_000;

/// A document of a stream.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its content.
    pub root: Node,
    /// Anchors of this document to which an alias refers.
    pub shared: HashSet<usize>,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its bytes, up to the end of its last value.
    pub span: Range<usize>,
    /// Column of its first character, from 0.
    pub column: usize,
    /// Number of its anchor, 0 without one.
    pub anchor: usize,
    /// Whether it was written as `*alias`, or came by a merge key: it is not here that it can be changed.
    pub borrowed: bool,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Text.
    Scalar {
        /// Without quotes and escapes.
        text: String,
        /// Written without quotes, so that it may be a number, a truth value or nothing.
        plain: bool,
        /// Its tag, where it has one.
        tag: Option<String>,
    },
    /// A list.
    Sequence {
        /// Its items.
        items: Vec<Node>,
        /// Written as `[a, b]`.
        flow: bool,
    },
    /// Keys with values.
    Mapping {
        /// In the order of the text; merged ones last.
        entries: Vec<Entry>,
        /// Written as `{a: b}`.
        flow: bool,
    },
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its bytes.
    pub key_span: Range<usize>,
    /// Its column.
    pub key_column: usize,
    /// Its value.
    pub value: Node,
    /// Whether it came from `<<: *anchor`.
    pub merged: bool,
}

/// Why a text is no stream of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// In one sentence.
    pub message: String,
    /// Where.
    pub span: Range<usize>,
}

impl Node {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value at the end of several keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The entries of a mapping; of all else none.
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Mapping { entries, .. } => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; of all else none.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Sequence { items, .. } => items,
            _ => &[],
        }
    }

    /// The text of a scalar that is not nothing.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// The text of the scalar at the end of several keys.
    pub fn text_at(&self, keys: &[&str]) -> Option<&str> {
        self.at(keys).and_then(Node::text)
    }

    /// Whether it stands for nothing: empty, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true, tag: None }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Whether it is a collection without content.
    pub fn is_empty_collection(&self) -> bool {
        match &self.kind {
            Kind::Scalar { .. } => false,
            Kind::Sequence { items, .. } => items.is_empty(),
            Kind::Mapping { entries, .. } => entries.is_empty(),
        }
    }

    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::Sequence { items, .. } => items.iter().map(Node::count).sum(),
            Kind::Mapping { entries, .. } => entries.iter().map(|entry| 1 + entry.value.count()).sum(),
        }
    }
}

/// Reads a stream. Documents without content are left out.
pub fn parse(text: &str) -> Result<Vec<Document>, Refused> {
    let options = granit_parser::options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut builder = Builder {
        text,
        stack: Vec::new(),
        anchors: HashMap::new(),
        shared: HashSet::new(),
        nodes: 0,
        root: None,
        documents: Vec::new(),
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                let range = span.byte_range().unwrap_or(0..0);
                builder.event(event, range)?;
            }
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(text.len());
                return Err(Refused { message: error.info().to_owned(), span: at..at });
            }
        }
    }
    Ok(builder.documents)
}

/// A collection that is being read.
struct Open {
    node: Node,
    key: Option<(String, Range<usize>)>,
}

struct Builder<'t> {
    text: &'t str,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    shared: HashSet<usize>,
    nodes: usize,
    root: Option<Node>,
    documents: Vec<Document>,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), Refused> {
        match event {
            Event::DocumentEnd => {
                let shared = std::mem::take(&mut self.shared);
                self.anchors.clear();
                if let Some(root) = self.root.take().filter(|root| !root.is_null()) {
                    self.documents.push(Document { root, shared });
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let kind = Kind::Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                    tag: tag.map(|tag| tag.to_string()),
                };
                let node = self.node(span, anchor, kind);
                self.finish(node)
            }
            Event::SequenceStart(style, anchor, _) => {
                let flow = style == StructureStyle::Flow;
                let node = self.node(span, anchor, Kind::Sequence { items: Vec::new(), flow });
                self.open(node)
            }
            Event::MappingStart(style, anchor, _) => {
                let flow = style == StructureStyle::Flow;
                let node = self.node(span, anchor, Kind::Mapping { entries: Vec::new(), flow });
                self.open(node)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut open) = self.stack.pop() else { return Ok(()) };
                if let Some((key, span)) = open.key {
                    return Err(Refused { message: format!("the key `{key}` has no value"), span });
                }
                let last = match &open.node.kind {
                    Kind::Sequence { items, flow: false } => items.last().map(|item| item.span.end),
                    Kind::Mapping { entries, flow: false } => {
                        entries.last().map(|entry| entry.value.span.end)
                    }
                    _ => Some(span.end),
                };
                open.node.span.end = last.unwrap_or(span.end).max(open.node.span.start);
                self.finish(open.node)
            }
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Refused { message: "an alias within its own anchor".into(), span });
                };
                self.shared.insert(anchor);
                self.nodes += node.count();
                node.span = span;
                node.borrowed = true;
                node.anchor = 0;
                self.finish(node)
            }
            _ => Ok(()),
        }
    }

    fn node(&self, span: Range<usize>, anchor: usize, kind: Kind) -> Node {
        Node { column: column(self.text, span.start), span, anchor, borrowed: false, kind }
    }

    fn open(&mut self, node: Node) -> Result<(), Refused> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(Refused { message: "nested too deeply".into(), span: node.span });
        }
        self.stack.push(Open { node, key: None });
        Ok(())
    }

    /// Puts a finished node into the collection it stands in.
    fn finish(&mut self, mut node: Node) -> Result<(), Refused> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} keys and values, aliases written out");
            return Err(Refused { message, span: node.span });
        }
        if node.anchor != 0 {
            self.anchors.insert(node.anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.kind {
            Kind::Sequence { items, .. } => items.push(node),
            Kind::Mapping { entries, .. } => match open.key.take() {
                None => match &node.kind {
                    Kind::Scalar { text, .. } => open.key = Some((text.clone(), node.span.clone())),
                    _ => return Err(Refused { message: "a key must be text".into(), span: node.span }),
                },
                Some((key, key_span)) => {
                    // The place of a value that is not there: behind the colon.
                    if node.is_null() && node.span.is_empty() {
                        let rest = self.text.get(key_span.end..).unwrap_or_default();
                        let colon = rest.find(':').map_or(key_span.end, |at| key_span.end + at + 1);
                        node.span = colon..colon;
                    }
                    // A list at the column of its key is said to begin behind its first dash.
                    if let Kind::Sequence { flow: false, .. } = node.kind
                        && !node.borrowed
                        && let Some(dash) = first_dash(self.text, key_span.end)
                    {
                        node.span.start = dash;
                        node.column = column(self.text, dash);
                    }
                    if key == "<<" {
                        merge(entries, &node, &key_span)?;
                    } else {
                        if entries.iter().any(|entry| entry.key == key && !entry.merged) {
                            let message = format!("the key `{key}` stands twice");
                            return Err(Refused { message, span: key_span });
                        }
                        entries.retain(|entry| entry.key != key);
                        let key_column = column(self.text, key_span.start);
                        entries.push(Entry { key, key_span, key_column, value: node, merged: false });
                    }
                }
            },
            Kind::Scalar { .. } => {}
        }
        Ok(())
    }
}

/// The first dash behind a key, past its colon, comments, an anchor and a tag.
fn first_dash(text: &str, key_end: usize) -> Option<usize> {
    let mut at = key_end + text.get(key_end..)?.find(':')? + 1;
    loop {
        let rest = text.get(at..)?;
        let content = rest.trim_start();
        at += rest.len() - content.len();
        at += match content.as_bytes().first()? {
            b'-' => return Some(at),
            b'#' => content.find('\n')?,
            b'&' | b'!' => content.find(char::is_whitespace)?,
            _ => return None,
        };
    }
}

/// Column of a byte, counted in characters from 0.
fn column(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let line = before.rfind('\n').map_or(0, |newline| newline + 1);
    before.get(line..).unwrap_or_default().trim_start_matches('\u{feff}').chars().count()
}

/// `<<: *anchor`: the other mapping's keys, where this one has none of its own.
fn merge(entries: &mut Vec<Entry>, from: &Node, key_span: &Range<usize>) -> Result<(), Refused> {
    match &from.kind {
        Kind::Mapping { entries: all, .. } => {
            for entry in all {
                if !entries.iter().any(|own| own.key == entry.key) {
                    let mut entry = entry.clone();
                    entry.key_span = key_span.clone();
                    entry.value.span = from.span.clone();
                    entry.value.borrowed = true;
                    entry.merged = true;
                    entries.push(entry);
                }
            }
            Ok(())
        }
        Kind::Sequence { items, .. } => items.iter().try_for_each(|item| merge(entries, item, key_span)),
        Kind::Scalar { .. } => Err(Refused {
            message: "`<<` takes a mapping, as in `<<: *anchor`".into(),
            span: from.span.clone(),
        }),
    }
}
