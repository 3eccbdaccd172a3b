//! The model's types read from a tree with places. The type decides what a scalar is, never its look: `yes`,
//! `1.10` and `0123` stay text where text is wanted. An error carries the place and the way to it, so that
//! the caller can take the culprit out and look for more.

use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::tree::{Entry, Kind, Node};
use crate::suggest;

/// Why a value was not understood.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) help: String,
    pub(crate) what: What,
    pub(crate) span: Option<Range<usize>>,
    /// Indexes from the innermost collection out.
    pub(crate) path: Vec<usize>,
}

/// The kinds of error, as far as looking for more errors needs them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Value,
    UnknownKey,
    MissingKey(&'static str),
}

impl Wrong {
    fn new(message: impl fmt::Display, help: String, what: What) -> Self {
        Self { message: message.to_string(), help, what, span: None, path: Vec::new() }
    }

    fn at(mut self, span: &Range<usize>) -> Self {
        self.span.get_or_insert_with(|| span.clone());
        self
    }

    fn within(mut self, index: usize) -> Self {
        self.path.push(index);
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message, String::new(), What::Value)
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Unit => "nothing".to_owned(),
            de::Unexpected::Map => "a mapping".to_owned(),
            de::Unexpected::Seq => "a list".to_owned(),
            de::Unexpected::Str(text) => format!("{text:?}"),
            other => other.to_string(),
        };
        Self::new(format!("expected {}, found {found}", plain(expected)), String::new(), What::Value)
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let help = suggest::help(field, expected.iter().copied());
        Self::new(format!("unknown key `{field}`"), help, What::UnknownKey)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let help = suggest::help(variant, expected.iter().copied());
        Self::new(format!("unknown choice `{variant}`"), help, What::Value)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the key `{field}` is missing"), String::new(), What::MissingKey(field))
    }
}

/// serde's words for types, in a person's.
fn plain(expected: &dyn de::Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a sequence" => "a list".to_owned(),
        "u16" | "u32" | "u64" | "u8" | "usize" | "i64" => "a whole number in range".to_owned(),
        _ => match text.strip_prefix("struct ").or(text.strip_prefix("enum ")) {
            Some(name) => format!("a mapping ({name})"),
            None => text,
        },
    }
}

impl Node {
    fn number(&self) -> Option<i128> {
        match &self.kind {
            Kind::Scalar { text, plain: true } => text.parse().ok(),
            _ => None,
        }
    }

    fn unexpected(&self) -> de::Unexpected<'_> {
        match &self.kind {
            _ if self.is_null() => de::Unexpected::Unit,
            Kind::Scalar { text, .. } => de::Unexpected::Str(text),
            Kind::Sequence(_) => de::Unexpected::Seq,
            Kind::Mapping { .. } => de::Unexpected::Map,
        }
    }

    fn visit_number<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Wrong> {
        let Some(number) = self.number() else {
            return Err(de::Error::invalid_type(self.unexpected(), &visitor));
        };
        if let Ok(number) = u64::try_from(number) {
            visitor.visit_u64(number)
        } else if let Ok(number) = i64::try_from(number) {
            visitor.visit_i64(number)
        } else {
            Err(de::Error::invalid_type(self.unexpected(), &visitor))
        }
    }

    fn visit<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.kind {
            _ if self.is_null() => visitor.visit_unit(),
            Kind::Scalar { text, .. } => visitor.visit_str(text),
            Kind::Sequence(items) => {
                let mut access = Items { items, next: 0 };
                let value = visitor.visit_seq(&mut access)?;
                // A pair would otherwise swallow a third element.
                match items.get(access.next) {
                    Some(extra) => Err(Wrong::new(
                        format!("expected {} elements, found {}", access.next, items.len()),
                        String::new(),
                        What::Value,
                    )
                    .at(&extra.span)),
                    None => Ok(value),
                }
            }
            Kind::Mapping { entries, .. } => visitor.visit_map(Entries { entries, next: 0 }),
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            self.visit_number(visitor).map_err(|wrong| wrong.at(&self.span))
        })*
    };
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = Wrong;

    numbers! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8 deserialize_i16
    deserialize_i32 deserialize_i64 }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.visit(visitor).map_err(|wrong| wrong.at(&self.span))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.kind {
            Kind::Scalar { text, plain: true } if text == "true" => visitor.visit_bool(true),
            Kind::Scalar { text, plain: true } if text == "false" => visitor.visit_bool(false),
            _ => Err(Wrong::new("expected true or false", String::new(), What::Value).at(&self.span)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        // A derived visitor would also take a list of the fields' values; nobody means that.
        if matches!(self.kind, Kind::Sequence(_)) {
            return Err(
                Wrong::new("expected a mapping, found a list", String::new(), What::Value).at(&self.span)
            );
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let choice = match &self.kind {
            Kind::Scalar { text, .. } => Choice { name: text, name_span: &self.span, value: None },
            Kind::Mapping { entries, .. } if entries.len() == 1 => match entries.first() {
                Some(entry) => {
                    Choice { name: &entry.key, name_span: &entry.key_span, value: Some(&entry.value) }
                }
                None => return Err(de::Error::custom("empty")),
            },
            _ => {
                let help = format!("choices: {}", variants.join(", "));
                return Err(Wrong::new("expected exactly one choice", help, What::Value).at(&self.span));
            }
        };
        visitor.visit_enum(choice).map_err(|wrong| wrong.at(&self.span))
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

struct Items<'de> {
    items: &'de [Node],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(item).map(Some).map_err(|wrong| wrong.at(&item.span).within(index))
    }
}

struct Entries<'de> {
    entries: &'de [Entry],
    next: usize,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let Some(entry) = self.entries.get(self.next) else { return Ok(None) };
        seed.deserialize(entry.key.as_str().into_deserializer())
            .map(Some)
            .map_err(|wrong: Wrong| wrong.at(&entry.key_span).within(self.next))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let index = self.next;
        self.next += 1;
        let Some(entry) = self.entries.get(index) else { return Err(de::Error::custom("no value")) };
        seed.deserialize(&entry.value).map_err(|wrong| wrong.at(&entry.value.span).within(index))
    }
}

struct Choice<'de> {
    name: &'de str,
    name_span: &'de Range<usize>,
    value: Option<&'de Node>,
}

impl<'de> de::EnumAccess<'de> for Choice<'de> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Wrong> {
        let variant = seed
            .deserialize(self.name.into_deserializer())
            .map_err(|wrong: Wrong| wrong.at(self.name_span))?;
        Ok((variant, self))
    }
}

impl<'de> Choice<'de> {
    fn needed(&self) -> Result<&'de Node, Wrong> {
        self.value.ok_or_else(|| {
            let help = format!("write `{}: VALUE`", self.name);
            Wrong::new(format!("`{}` needs a value", self.name), help, What::Value).at(self.name_span)
        })
    }
}

impl<'de> de::VariantAccess<'de> for Choice<'de> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        match self.value {
            Some(value) if !value.is_null() => {
                Err(Wrong::new(format!("`{}` takes no value", self.name), String::new(), What::Value)
                    .at(&value.span))
            }
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(self.needed()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Wrong> {
        de::Deserializer::deserialize_any(self.needed()?, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        de::Deserializer::deserialize_any(self.needed()?, visitor)
    }
}
