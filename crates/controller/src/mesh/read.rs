//! Reads JSON strictly, and knows where it is. Serde would say neither the path of what is wrong, nor tell a misspelt
//! field from one that is known and cannot be had.

use std::collections::BTreeMap;

use model::codes::{Code, mesh as codes};
use serde_json::Value;

use super::Path;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) path: Path,
    pub(super) code: &'static Code,
    pub(super) message: String,
}

pub(super) type Result<T> = std::result::Result<T, Wrong>;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Json<'a> {
    pub(super) value: &'a Value,
    pub(super) path: Path,
}

impl<'a> Json<'a> {
    pub(super) fn new(value: &'a Value, path: Path) -> Self {
        Self { value, path }
    }

    pub(super) fn wrong<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Wrong { path: self.path.clone(), code: &codes::MESH_OBJECT, message: message.into() })
    }

    /// Something that Istio's proxies can do, and a decision about a connection cannot.
    pub(super) fn beyond<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(Wrong { path: self.path.clone(), code: &codes::POLICY_NEEDS_HTTP, message: message.into() })
    }

    /// A mapping with no other fields than these; those of `beyond` are known, and cannot be had.
    pub(super) fn fields(&self, known: &[&str], beyond: &[&str]) -> Result<()> {
        match self.value {
            Value::Null => Ok(()),
            Value::Object(entries) => {
                for key in entries.keys() {
                    let field = Self { value: self.value, path: self.path.key(key) };
                    if beyond.contains(&key.as_str()) {
                        return field.beyond(format!("`{key}` is not known of a connection"));
                    }
                    if !known.contains(&key.as_str()) {
                        return field.wrong(format!("no such field; there are {}", known.join(", ")));
                    }
                }
                Ok(())
            }
            _ => self.wrong("this must be a mapping"),
        }
    }

    /// The value of a field; `null` is as good as none.
    pub(super) fn get(&self, key: &str) -> Option<Json<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Json { value, path: self.path.key(key) })
    }

    pub(super) fn text(&self) -> Result<&'a str> {
        match self.value.as_str() {
            Some(text) => Ok(text),
            None => self.wrong("this must be text, in quotes where it would be a number"),
        }
    }

    pub(super) fn items(&self) -> Result<Vec<Json<'a>>> {
        let Some(items) = self.value.as_array() else { return self.wrong("this must be a list") };
        let numbered = items.iter().enumerate();
        Ok(numbered.map(|(index, value)| Json { value, path: self.path.index(index) }).collect())
    }

    /// The items of a field; none where it is not there, and it has to have some where it is.
    pub(super) fn some_items(&self, key: &str) -> Result<Vec<Json<'a>>> {
        let Some(list) = self.get(key) else { return Ok(Vec::new()) };
        let items = list.items()?;
        if items.is_empty() {
            return list.wrong("an empty list would say nothing; leave the field out, or fill it");
        }
        Ok(items)
    }

    pub(super) fn texts_of(&self) -> Result<BTreeMap<String, String>> {
        let Some(entries) = self.value.as_object() else { return self.wrong("this must be a mapping") };
        let mut all = BTreeMap::new();
        for (key, value) in entries {
            let text = Json { value, path: self.path.key(key) }.text()?;
            all.insert(key.clone(), text.to_owned());
        }
        Ok(all)
    }
}
