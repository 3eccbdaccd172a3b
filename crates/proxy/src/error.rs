//! Why something could not be started, loaded or reloaded. What happens to one connection is told by
//! [`crate::refusal`] and [`crate::upstream::UpstreamError`].

use std::fmt;
use std::path::Path;

use model::codes::{Code, Coded};

/// One clear error: a stable code, one sentence about this very case, and the facts.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    code: &'static Code,
    what: String,
    evidence: Vec<(&'static str, String)>,
    fix: Option<String>,
}

impl Error {
    /// An error with a code and one sentence.
    pub fn new(code: &'static Code, what: impl fmt::Display) -> Self {
        Self { code, what: what.to_string(), evidence: Vec::new(), fix: None }
    }

    /// A file that could not be read, with the operating system's reason.
    pub fn reading(path: &Path, error: &std::io::Error) -> Self {
        Self::new(&model::codes::usage::FILE_NOT_READ, format!("cannot read {}: {error}", path.display()))
    }

    /// Carries another crate's error over, with the place it is about in front.
    pub fn from_coded(place: impl fmt::Display, error: &dyn Coded) -> Self {
        Self {
            code: error.code(),
            what: format!("{place}: {error}"),
            evidence: error.evidence(),
            fix: error.fix(),
        }
    }

    /// Adds a fact that lets a person check the claim.
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.evidence.push((name, value.to_string()));
        self
    }

    /// A fix for this very case.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        self.code
    }

    fn evidence(&self) -> Vec<(&'static str, String)> {
        self.evidence.clone()
    }

    fn fix(&self) -> Option<String> {
        self.fix.clone()
    }
}
