//! The meaning of a YAML tree, without places: what two texts are compared by, what changes are made of, and
//! JSON as kubectl would make it of the text (YAML 1.1, as all of Kubernetes reads it). Neighbours: [`super::tree`]
//! has the places, [`super::render`] writes values.

use serde_json::{Map, Number};

use super::tree::{Kind, Node};

/// A value without its place. Scalars keep their text: nothing is rounded or reformatted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, and whether it is bare, so that it may be a number, a truth value or nothing.
    Scalar(String, bool),
    /// A list.
    Sequence(Vec<Value>),
    /// Keys with values, in order.
    Mapping(Vec<(String, Value)>),
}

/// A step from a collection to one of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Of a mapping.
    Key(String),
    /// Of a sequence.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl Value {
    /// Text.
    pub fn string(text: impl Into<String>) -> Self {
        Self::Scalar(text.into(), false)
    }

    /// A number.
    pub fn number(number: i64) -> Self {
        Self::Scalar(number.to_string(), true)
    }

    /// A truth value.
    pub fn truth(truth: bool) -> Self {
        Self::Scalar(truth.to_string(), true)
    }

    /// Keys with values.
    pub fn mapping<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self::Mapping(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// What a tree means.
    pub fn of(node: &Node) -> Self {
        match &node.kind {
            Kind::Scalar { text, plain, tag } => {
                let bare = *plain && tag.is_none();
                // Quoted text and bare text that is nothing but text mean the same.
                let scalar = Self::Scalar(text.clone(), bare);
                if bare && scalar.to_json().is_string() { Self::string(text.clone()) } else { scalar }
            }
            Kind::Sequence { items, .. } => Self::Sequence(items.iter().map(Self::of).collect()),
            Kind::Mapping { entries, .. } => Self::Mapping(
                entries.iter().map(|entry| (entry.key.clone(), Self::of(&entry.value))).collect(),
            ),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Mapping(entries) => entries.iter().find(|(own, _)| own == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether nothing is there: null, or an empty collection.
    pub fn is_vacant(&self) -> bool {
        match self {
            Self::Scalar(..) => self.to_json().is_null(),
            Self::Sequence(items) => items.is_empty(),
            Self::Mapping(entries) => entries.is_empty(),
        }
    }

    /// The value behind some steps.
    pub fn follow(&mut self, path: &[Step]) -> Option<&mut Value> {
        path.iter().try_fold(self, |value, step| match (value, step) {
            (Self::Mapping(entries), Step::Key(key)) => {
                entries.iter_mut().find(|(own, _)| own == key).map(|(_, value)| value)
            }
            (Self::Sequence(items), Step::Index(index)) => items.get_mut(*index),
            _ => None,
        })
    }

    /// As JSON, with bare scalars read as kubectl reads them.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Scalar(text, false) => serde_json::Value::String(text.clone()),
            Self::Scalar(text, true) => bare(text),
            Self::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Self::Mapping(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }
}

/// A bare scalar: YAML 1.1, so 0400 is octal and `yes` is true.
fn bare(text: &str) -> serde_json::Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return serde_json::Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return true.into(),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return false.into(),
        _ => {}
    }
    if let Some(number) = integer(text) {
        return number.into();
    }
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    match numeric.then(|| text.parse::<f64>().ok().and_then(Number::from_f64)).flatten() {
        Some(number) => number.into(),
        None => text.into(),
    }
}

fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let digits = digits.replace('_', "");
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits.as_str()),
    };
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}
