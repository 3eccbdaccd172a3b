//! Manifests and the objects in them, whichever way they are written: one to a document, or within a `List`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use config::Finding;
use config::source::{Place, Source};
use model::codes::manifests as codes;

use crate::error::Error;
use crate::yaml::{Change, Document, Node, Step, Unsafe, Value, edit, tree};

/// The largest manifest that is read, in bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// A manifest as it was read.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its text and name.
    pub source: Arc<Source>,
    /// Its documents that have content.
    pub documents: Vec<Document>,
}

/// Whether a text may hold private keys, so that no line of it is shown that need not be.
pub fn has_secrets(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
        || text.contains("Secret\n")
        || text.contains("Secret\r\n")
        || text.contains("\"Secret\"")
}

/// Where an object stands: number of the manifest, number of the document, steps within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Of the manifests that were given.
    pub manifest: usize,
    /// Of the documents with content.
    pub document: usize,
    /// Empty, or `items` and a number.
    pub path: Vec<Step>,
}

/// An object.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Its content.
    pub node: &'a Node,
    /// As in `Deployment`.
    pub kind: &'a str,
    /// Its name; of a `generateName` the part that is fixed.
    pub name: &'a str,
    /// As it is written; `None` means what the caller's default is.
    pub namespace: Option<&'a str>,
}

impl Manifest {
    /// Reads a text.
    ///
    /// # Errors
    ///
    /// Where it is no YAML, with the place.
    pub fn parse(name: &str, text: impl Into<String>) -> Result<Self, Error> {
        let source = Source::new(name, text);
        if source.text.len() > MAX_BYTES {
            let finding =
                Finding::new(&codes::MANIFEST_SYNTAX, format!("{name} is larger than {MAX_BYTES} bytes"));
            return Err(finding.into());
        }
        match tree::parse(&source.text) {
            Ok(documents) => Ok(Self { source, documents }),
            Err(refused) => {
                let finding =
                    Finding::new(&codes::MANIFEST_SYNTAX, refused.message).at(source.place(refused.span));
                let template = source.text.contains("{{");
                let help = "this looks like a template; render it first: helm template CHART";
                Err(finding.help(if template { help } else { "" }).into())
            }
        }
    }

    /// The text with changes, checked.
    ///
    /// # Errors
    ///
    /// Where the text has no safe place for a change.
    pub fn edit(&self, changes: &[(usize, Change)]) -> Result<String, Error> {
        edit::apply(&self.source.text, &self.documents, changes).map_err(|why| {
            match why {
                Unsafe::Form { message, span } => {
                    Finding::new(&codes::MANIFEST_NOT_EDITABLE, message).at(self.source.place(span))
                }
                Unsafe::Check(message) => {
                    Finding::new(&codes::MANIFEST_CHECK, format!("{}: {message}", self.source.name.display()))
                }
            }
            .into()
        })
    }

    /// The objects of all documents as JSON, those of Lists one by one, as kubectl would send them.
    pub fn to_json(&self) -> Vec<serde_json::Value> {
        let mut all = Vec::new();
        for document in &self.documents {
            for (_, node) in within(&document.root) {
                all.push(Value::of(node).to_json());
            }
        }
        all
    }
}

/// The objects of a document: itself, or the items of a list.
fn within(root: &Node) -> Vec<(Vec<Step>, &Node)> {
    match (root.text_at(&["kind"]), root.get("items")) {
        (Some(kind), Some(items)) if kind.ends_with("List") => items
            .items()
            .iter()
            .enumerate()
            .flat_map(|(index, item)| {
                within(item).into_iter().map(move |(path, node)| {
                    ([Step::from("items"), index.into()].into_iter().chain(path).collect(), node)
                })
            })
            .collect(),
        _ => vec![(Vec::new(), root)],
    }
}

/// The objects of several manifests.
///
/// # Errors
///
/// An object without kind or name, and one that stands twice.
pub fn objects(manifests: &[Manifest]) -> Result<Vec<(Position, Object<'_>)>, Error> {
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    let mut seen: HashMap<(String, String, String), Place> = HashMap::new();
    for (number, manifest) in manifests.iter().enumerate() {
        for (document, tree) in manifest.documents.iter().enumerate() {
            for (path, node) in within(&tree.root) {
                let place = || manifest.source.place(first_line(node));
                let Some(kind) = node.text_at(&["kind"]) else {
                    let finding = Finding::new(&codes::MANIFEST_SHAPE, "this object has no `kind`");
                    wrong.push(finding.at(place()));
                    continue;
                };
                let name = node.text_at(&["metadata", "name"]).or_else(|| {
                    node.text_at(&["metadata", "generateName"]).map(|name| name.trim_end_matches('-'))
                });
                let namespace = node.text_at(&["metadata", "namespace"]);
                // A kustomization and the like has no name; it is left as it is.
                if let Some(name) = name.filter(|_| node.get("apiVersion").is_some()) {
                    let group =
                        node.text_at(&["apiVersion"]).and_then(|v| v.split_once('/')).map_or("", |v| v.0);
                    let key =
                        (format!("{group}/{kind}"), namespace.unwrap_or_default().into(), name.to_owned());
                    if let Some(first) = seen.insert(key, place()) {
                        let message = format!("{kind} {name} stands twice; the first is at {first}");
                        wrong.push(Finding::new(&codes::MANIFEST_TWICE, message).at(place()));
                    }
                } else if crate::workload::template_path(kind).is_some() {
                    let message = format!("this {kind} has no `metadata.name` or no `apiVersion`");
                    wrong.push(Finding::new(&codes::MANIFEST_SHAPE, message).at(place()));
                    continue;
                }
                let object = Object { manifest, node, kind, name: name.unwrap_or_default(), namespace };
                all.push((Position { manifest: number, document, path }, object));
            }
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(Error(wrong)) }
}

impl Object<'_> {
    /// The place of a part of it.
    pub fn place(&self, node: &Node) -> Place {
        self.manifest.source.place(first_line(node))
    }
}

fn first_line(node: &Node) -> Range<usize> {
    match node.entries().first() {
        Some(entry) => entry.key_span.start..entry.value.span.end,
        None => node.span.clone(),
    }
}
