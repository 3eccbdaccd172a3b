//! Text with variables: `https://$host$request_uri`. The variables' names are nginx's (see docs/variables.md),
//! in handfast.yaml as well, so that there is one dialect.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// A parsed text with variables. `$name` and `${name}` are variables, `$1` to `$9` captures; a `$` that no
/// name follows is itself, and so is `${}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Text that stands for itself.
    Text(String),
    /// The name of a variable, without `$`.
    Variable(String),
}

/// Where a template takes the values of its variables from.
pub trait Variables {
    /// The value of a variable, or `None` where it has none (it then counts as empty).
    fn value(&self, name: &str) -> Option<Cow<'_, str>>;
}

/// Why a template was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variable name that starts at character {at} of {text:?} has no closing brace")]
pub struct TemplateError {
    text: String,
    at: usize,
}

impl Template {
    /// The pieces, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The whole text, where the template has no variable.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The names of the variables, in order, repeated as they repeat.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with its variables filled in. A template without variables is borrowed, not copied.
    pub fn expand<'a>(&'a self, variables: &'a dyn Variables) -> Cow<'a, str> {
        match self.parts.as_slice() {
            [] => Cow::Borrowed(""),
            [Part::Text(text)] => Cow::Borrowed(text),
            [Part::Variable(name)] => variables.value(name).unwrap_or_default(),
            parts => {
                let mut out = String::new();
                for part in parts {
                    match part {
                        Part::Text(text) => out.push_str(text),
                        Part::Variable(name) => out.push_str(&variables.value(name).unwrap_or_default()),
                    }
                }
                Cow::Owned(out)
            }
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            plain.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            let (name, tail) = if let Some(braced) = after.strip_prefix('{') {
                let end = braced
                    .find('}')
                    .ok_or_else(|| TemplateError { text: text.to_owned(), at: text.len() - after.len() })?;
                (&braced[..end], &braced[end + 1..])
            } else if after.starts_with(|c: char| c.is_ascii_digit()) {
                // A capture is one digit, as in nginx: $10 is $1 followed by 0.
                after.split_at(1)
            } else {
                let length = after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
                after.split_at(length)
            };
            if name.is_empty() {
                plain.push('$');
            } else {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Variable(name.to_owned()));
            }
            rest = tail;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    let mut rest = text.as_str();
                    // A dollar that a name could follow would be read as a variable: it is written `${}`.
                    while let Some(at) = rest.find('$') {
                        f.write_str(&rest[..at])?;
                        rest = &rest[at + 1..];
                        let named =
                            rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '{');
                        f.write_str(if named { "${}" } else { "$" })?;
                    }
                    f.write_str(rest)?;
                }
                Part::Variable(name) => write!(f, "${{{name}}}")?,
            }
        }
        Ok(())
    }
}

crate::text::text_form!(Template, "text with variables, such as https://$host$request_uri");
