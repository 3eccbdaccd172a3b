//! The path of a route, written as nginx writes a location: `/images/` (prefix), `= /` (exact),
//! `^~ /static/` (prefix that stops the search), `~ \.php$` and `~* \.(gif|jpg)$` (regular expressions),
//! `@name` (reached from within only).

use std::fmt;
use std::str::FromStr;

/// Which paths a route is for. Order of choice, as in nginx: the exact path; else the longest prefix, when
/// it stops the search; else the first regular expression that matches; else the longest prefix.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// `= /path`: this path only.
    Exact(String),
    /// `/path`: all that begin with it.
    Prefix(String),
    /// `^~ /path`: as a prefix, and regular expressions are not looked at.
    PrefixStop(String),
    /// `~ expression`, or `~* expression` where case does not count.
    Regex {
        /// The compiled expression.
        regex: regex::Regex,
        /// The expression as it was written.
        source: String,
        /// Whether case counts (`~`) or not (`~*`).
        case: bool,
    },
    /// `@name`: only by an internal redirect.
    Named(String),
}

/// Why a path pattern was not understood.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PatternError {
    /// Nothing was written.
    #[error("the path is empty; write / for all paths")]
    Empty,
    /// A modifier without a path, or a path that does not begin with a slash.
    #[error("{0:?} is not a path: a path begins with /, or with one of = ^~ ~ ~* @ before it")]
    NotAPath(String),
    /// The regular expression does not compile.
    #[error("the regular expression is wrong: {0}")]
    Regex(#[from] regex::Error),
}

impl PathPattern {
    /// A regular expression pattern.
    pub fn regex(source: &str, case: bool) -> Result<Self, PatternError> {
        let regex = regex::RegexBuilder::new(source).case_insensitive(!case).size_limit(1 << 20).build()?;
        Ok(Self::Regex { regex, source: source.to_owned(), case })
    }
}

impl Default for PathPattern {
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        let path = |rest: &str| {
            let rest = rest.trim();
            if rest.starts_with('/') {
                Ok(rest.to_owned())
            } else {
                Err(PatternError::NotAPath(text.to_owned()))
            }
        };
        if text.is_empty() {
            Err(PatternError::Empty)
        } else if let Some(rest) = text.strip_prefix("~*") {
            Self::regex(rest.trim(), false)
        } else if let Some(rest) = text.strip_prefix('~') {
            Self::regex(rest.trim(), true)
        } else if let Some(rest) = text.strip_prefix("^~") {
            path(rest).map(Self::PrefixStop)
        } else if let Some(rest) = text.strip_prefix('=') {
            path(rest).map(Self::Exact)
        } else if let Some(name) = text.strip_prefix('@') {
            Ok(Self::Named(name.to_owned()))
        } else {
            path(text).map(Self::Prefix)
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "= {path}"),
            Self::Prefix(path) => f.write_str(path),
            Self::PrefixStop(path) => write!(f, "^~ {path}"),
            Self::Regex { source, case: true, .. } => write!(f, "~ {source}"),
            Self::Regex { source, case: false, .. } => write!(f, "~* {source}"),
            Self::Named(name) => write!(f, "@{name}"),
        }
    }
}

crate::text::text_form!(PathPattern, "a path: /prefix, = /exact, ^~ /prefix, ~ regex, ~* regex or @name");
