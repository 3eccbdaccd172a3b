//! A virtual host: its names, its own TLS, its routes.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HeaderRule, Route, ServerTls, Step};
use crate::template::Template;
use crate::units::Size;

/// A virtual host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Host {
    /// Names it answers to; empty for a host that only takes what no other has.
    pub names: Vec<NamePattern>,
    /// Takes the names that no host has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// TLS of this host, refining the listener's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// Steps before a route is chosen (nginx: `rewrite`, `return`, `if` of the server).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Size of a request's body, `0` for no limit; the listener's where not given. Routes may set their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<Size>,
    /// The routes; see [`PathPattern`](crate::pattern::PathPattern) for which is chosen.
    pub routes: Vec<Route>,
    /// Headers added to answers that these steps make, and to errors found before a route is chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<HeaderRule>,
    /// Strict-Transport-Security with this age, on answers over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<crate::units::Span>,
    /// Answers every plain-text request with a redirect to https.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub redirect_to_https: bool,
    /// Pages for errors of this host (a route's own replace them all).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub error_pages: Vec<ErrorPage>,
    /// The access log of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// A name of a virtual host. Order of choice, as in nginx: exact, longest `*.x`, longest `x.*`, first regex.
#[derive(Clone, Debug)]
pub enum NamePattern {
    /// `example.com`, lower case.
    Exact(String),
    /// `*.example.com`: any depth of subdomains. Holds `example.com`.
    Suffix(String),
    /// `.example.com`: the name itself and its subdomains. Holds `example.com`.
    SuffixOrSelf(String),
    /// `www.*`. Holds `www`.
    Prefix(String),
    /// `~^www\d+\.example\.com$`; named captures become variables.
    Regex(regex::Regex),
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// Why a host name was not understood.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NameError {
    /// Not one of the forms.
    #[error("{0:?} is not a host name: write example.com, *.example.com, .example.com, www.* or ~regex")]
    Form(String),
    /// The regular expression does not compile.
    #[error("the regular expression is wrong: {0}")]
    Regex(#[from] regex::Error),
}

impl FromStr for NamePattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Some(expression) = text.strip_prefix('~') {
            let regex =
                regex::RegexBuilder::new(expression).case_insensitive(true).size_limit(1 << 20).build()?;
            return Ok(Self::Regex(regex));
        }
        let wrong = || NameError::Form(text.to_owned());
        let name = text.to_ascii_lowercase();
        let plain = |name: &str| !name.contains('*') && !name.contains(char::is_whitespace);
        if let Some(rest) = name.strip_prefix("*.") {
            if plain(rest) && !rest.is_empty() { Ok(Self::Suffix(rest.to_owned())) } else { Err(wrong()) }
        } else if let Some(rest) = name.strip_prefix('.') {
            if plain(rest) && !rest.is_empty() {
                Ok(Self::SuffixOrSelf(rest.to_owned()))
            } else {
                Err(wrong())
            }
        } else if let Some(rest) = name.strip_suffix(".*") {
            if plain(rest) && !rest.is_empty() { Ok(Self::Prefix(rest.to_owned())) } else { Err(wrong()) }
        } else if plain(&name) {
            Ok(Self::Exact(name))
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(name) => write!(f, "*.{name}"),
            Self::SuffixOrSelf(name) => write!(f, ".{name}"),
            Self::Prefix(name) => write!(f, "{name}.*"),
            Self::Regex(regex) => write!(f, "~{}", regex.as_str()),
        }
    }
}

crate::text::text_form!(NamePattern, "example.com, *.example.com, .example.com, www.* or ~regex");

/// What is shown instead of an error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorPage {
    /// Statuses that it is for; 495 (bad client certificate), 496 (none), 497 (plain HTTP on the TLS port) too.
    pub statuses: Vec<u16>,
    /// Where: a path (internal redirect), `@name`, or a URL (redirect with 302).
    pub to: Template,
    /// The status that is answered: none keeps the first, `0` takes the page's own, else this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// Where and how requests are logged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// The form of a line.
    pub format: LogFormat,
    /// Where lines go.
    pub to: LogTarget,
}

/// The form of an access log line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One JSON object.
    #[default]
    Json,
    /// Columns for people.
    Text,
    /// nginx's `log_format`: values are escaped as `\xXX` where they hold quotes, backslashes or control bytes.
    Template(Template),
    /// nginx's `log_format … escape=json`: values are escaped as in a JSON string.
    JsonTemplate(Template),
}

/// Where access log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogTarget {
    /// Standard error.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
    /// Nowhere. Refusals are logged all the same (invariant 2).
    Off,
    /// A file, opened again on SIGHUP.
    File(PathBuf),
}

impl LogTarget {
    /// A short name for messages.
    pub fn label(&self) -> Cow<'_, str> {
        match self {
            Self::Stderr => "stderr".into(),
            Self::Stdout => "stdout".into(),
            Self::Off => "off".into(),
            Self::File(path) => path.to_string_lossy(),
        }
    }
}
