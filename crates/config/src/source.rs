//! A file as it was read, and places in it. Every finding points at a place, so both dialects keep these
//! through all steps.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest configuration file that is read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// A file as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as it is shown to people.
    pub name: PathBuf,
    /// The whole text.
    pub text: String,
}

/// A range of bytes in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub source: Arc<Source>,
    /// The bytes, which lie on character boundaries within the text.
    pub span: Range<usize>,
}

impl Source {
    /// A source from text at hand.
    pub fn new(name: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into() })
    }

    /// The place of a range, cut to what the text has.
    pub fn place(self: &Arc<Self>, span: Range<usize>) -> Place {
        let floor = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(span.start);
        Place { source: self.clone(), span: start..floor(span.end).max(start) }
    }
}

impl Place {
    /// The file's name.
    pub fn file(&self) -> &Path {
        &self.source.name
    }

    /// Line, counted from 1.
    pub fn line(&self) -> usize {
        self.before().bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    /// Column in characters, counted from 1.
    pub fn column(&self) -> usize {
        let before = self.before();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        before.get(start..).unwrap_or_default().chars().count() + 1
    }

    fn before(&self) -> &str {
        self.source.text.get(..self.span.start).unwrap_or_default()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file().display(), self.line(), self.column())
    }
}
