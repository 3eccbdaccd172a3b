//! YAML text as a tree in which every key and value knows its place: the parser's events, put together
//! under bounds. Neighbours: [`super::deserialize`] reads the model's types from it, and the checks of
//! [`crate::validate`] find the place of what they refuse in it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle};

/// The deepest nesting.
const MAX_DEPTH: usize = 48;
/// The most keys and values, aliases written out.
const MAX_NODES: usize = 100_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Text; `plain` when it was written without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        removed: BTreeSet<String>,
    },
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

/// Why a text is not a tree.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) span: Range<usize>,
    pub(crate) help: &'static str,
}

impl Node {
    /// Whether it stands for nothing: empty, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The entry with this key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Mapping { entries, .. } => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::Sequence(items) => items.iter().map(Node::count).sum(),
            Kind::Mapping { entries, .. } => entries.iter().map(|entry| 1 + entry.value.count()).sum(),
        }
    }
}

/// A collection that is being read.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<(String, Range<usize>)>,
}

/// Reads one document. An empty text is an empty mapping.
pub(crate) fn parse(text: &str) -> Result<Node, Refused> {
    let options = granit_parser::options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut builder = Builder { text, stack: Vec::new(), anchors: HashMap::new(), root: None, nodes: 0 };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                let range = span.byte_range().unwrap_or(0..0);
                builder.event(event, range)?;
            }
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(text.len());
                return Err(Refused { message: error.info().to_owned(), span: at..at, help: "" });
            }
        }
    }
    Ok(builder.root.unwrap_or(Node {
        span: 0..0,
        kind: Kind::Mapping { entries: Vec::new(), removed: BTreeSet::new() },
    }))
}

struct Builder<'t> {
    text: &'t str,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), Refused> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(Refused {
                message: "there is a second document in this file".into(),
                span,
                help: "one file holds one configuration; remove the `---` and what follows",
            }),
            Event::Scalar(text, style, anchor, _) => {
                let kind = Kind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.finish(Node { span, kind }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(Node { span, kind: Kind::Sequence(Vec::new()) }, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let kind = Kind::Mapping { entries: Vec::new(), removed: BTreeSet::new() };
                self.open(Node { span, kind }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut open) = self.stack.pop() else { return Ok(()) };
                if let Some((_, key_span)) = open.key {
                    return Err(Refused {
                        message: "this key has no value".into(),
                        span: key_span,
                        help: "",
                    });
                }
                let end = span.end.max(open.node.span.start);
                let inner = self.text.get(open.node.span.start..end).unwrap_or_default();
                open.node.span.end = open.node.span.start + inner.trim_end().len();
                self.finish(open.node, open.anchor)
            }
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Refused { message: "an alias within its own anchor".into(), span, help: "" });
                };
                node.span = span;
                self.nodes += node.count();
                self.finish(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, node: Node, anchor: usize) -> Result<(), Refused> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(Refused { message: "nested too deeply".into(), span: node.span, help: "" });
        }
        self.stack.push(Open { node, anchor, key: None });
        Ok(())
    }

    /// Puts a finished node into the collection it stands in.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Refused> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Refused {
                message: format!("more than {MAX_NODES} keys and values, aliases written out"),
                span: node.span,
                help: "",
            });
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.kind {
            Kind::Sequence(items) => items.push(node),
            Kind::Mapping { entries, .. } => match open.key.take() {
                None => match node.kind {
                    Kind::Scalar { text, .. } => open.key = Some((text, node.span)),
                    _ => {
                        return Err(Refused {
                            message: "a key must be text".into(),
                            span: node.span,
                            help: "quote it if it begins with [ or {",
                        });
                    }
                },
                Some((key, key_span)) if key == "<<" => merge(entries, node, key_span)?,
                Some((key, key_span)) => {
                    if entries.iter().any(|entry| entry.key == key && !entry.merged()) {
                        return Err(Refused {
                            message: format!("the key `{key}` stands twice"),
                            span: key_span,
                            help: "remove one of the two",
                        });
                    }
                    entries.retain(|entry| entry.key != key);
                    entries.push(Entry { key, key_span, value: node });
                }
            },
            Kind::Scalar { .. } => {}
        }
        Ok(())
    }
}

impl Entry {
    /// Merged entries keep an empty key span, so that the mapping's own keys may replace them.
    fn merged(&self) -> bool {
        self.key_span.is_empty()
    }
}

/// `<<: *anchor`: the other mapping's keys, where this one has none of its own.
fn merge(entries: &mut Vec<Entry>, from: Node, key_span: Range<usize>) -> Result<(), Refused> {
    let all = match from.kind {
        Kind::Mapping { entries, .. } => entries,
        Kind::Sequence(items) => {
            for item in items {
                merge(entries, item, key_span.clone())?;
            }
            return Ok(());
        }
        Kind::Scalar { .. } => {
            return Err(Refused {
                message: "`<<` takes a mapping, as in `<<: *anchor`".into(),
                span: from.span,
                help: "",
            });
        }
    };
    for mut entry in all {
        if !entries.iter().any(|own| own.key == entry.key) {
            entry.key_span = key_span.start..key_span.start;
            entries.push(entry);
        }
    }
    Ok(())
}
