//! New values as text: in block style at an indentation, or as JSON where the text around it is in flow style.

use super::value::Value;

/// How a document is laid out, so that what is added looks like the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Columns between a key and the keys below it.
    pub step: usize,
    /// Columns between a key and the dashes of its list.
    pub dash: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Self { step: 2, dash: 2 }
    }
}

/// Lines of `key: value` at a column.
pub fn entry(lines: &mut Vec<String>, column: usize, key: &str, value: &Value, layout: Layout) {
    below(lines, &format!("{}{}:", " ".repeat(column), scalar(key)), column, value, layout);
}

/// Lines of `- value` at a column.
pub fn item(lines: &mut Vec<String>, column: usize, value: &Value, layout: Layout) {
    let start = lines.len();
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                entry(lines, column + 2, key, value, layout);
            }
            if let Some(first) = lines.get_mut(start) {
                first.replace_range(column..column + 1, "-");
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            lines.push(format!("{}- {}", " ".repeat(column), json(value)))
        }
        value => lines.push(format!("{}- {}", " ".repeat(column), short(value))),
    }
}

/// Lines of a whole document.
pub fn document(value: &Value) -> String {
    let mut lines = Vec::new();
    if let Value::Mapping(entries) = value {
        for (key, value) in entries {
            entry(&mut lines, 0, key, value, Layout { step: 2, dash: 0 });
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// `opening` is the line with the key, to which a scalar is added; a collection follows below it.
pub fn below(lines: &mut Vec<String>, opening: &str, column: usize, value: &Value, layout: Layout) {
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            lines.push(opening.to_owned());
            for (key, value) in entries {
                entry(lines, column + layout.step, key, value, layout);
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            lines.push(opening.to_owned());
            for value in items {
                item(lines, column + layout.dash, value, layout);
            }
        }
        // A mode is written in decimal, which all versions of YAML read alike; people think in octal.
        Value::Scalar(text, true) if opening.trim_end().ends_with("defaultMode:") => {
            let octal = text.parse::<u32>().map(|mode| format!(" # {mode:04o}")).unwrap_or_default();
            lines.push(format!("{opening} {text}{octal}"));
        }
        value => lines.push(format!("{opening} {}", short(value))),
    }
}

/// A value on one line in flow style, which is JSON.
pub fn json(value: &Value) -> String {
    match value {
        Value::Scalar(text, true) => text.clone(),
        Value::Scalar(text, false) => serde_json::Value::String(text.clone()).to_string(),
        Value::Sequence(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        Value::Mapping(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", serde_json::Value::String(key.clone()), json(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::Scalar(text, false) => scalar(text),
        value => json(value),
    }
}

/// Text, with quotes where bare it could be read as something else.
fn scalar(text: &str) -> String {
    let harmless = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && Value::Scalar(text.to_owned(), true).to_json().is_string()
        // YAML 1.1 has these too.
        && !matches!(text, "y" | "Y" | "n" | "N");
    if harmless { text.to_owned() } else { serde_json::Value::String(text.to_owned()).to_string() }
}
