//! What is wrong with manifests: findings with their places, drawn with the file's lines and carets as
//! configuration's are.

use std::fmt;

use config::Finding;
use model::codes::{Code, Coded, manifests as codes};

/// Why manifests were refused: at least one finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Error(pub Vec<Finding>);

impl From<Finding> for Error {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Error {}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        self.0.first().map_or(&codes::MANIFEST_SYNTAX, |finding| finding.code)
    }

    fn fix(&self) -> Option<String> {
        self.0.first().map(|finding| finding.help.clone()).filter(|help| !help.is_empty())
    }

    fn drawn(&self, colours: bool) -> Option<String> {
        // The lines around an error could be those of a private key: then there is the place alone.
        let secret = |finding: &Finding| {
            finding.place.as_ref().is_some_and(|p| crate::object::has_secrets(&p.source.text))
        };
        if self.0.iter().any(secret) {
            return None;
        }
        Some(self.0.iter().map(|finding| finding.draw(colours)).collect())
    }

    fn is_usage(&self) -> bool {
        true
    }
}
