//! Templates made ready for requests: variable names are resolved once, when a snapshot is compiled, so that
//! no name is compared per request.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use model::template::{Part, Template};

use super::exchange::Exchange;
use super::variables::Variable;

/// The variables that one snapshot defines by itself: `set` and named captures have slots, maps have numbers.
#[derive(Debug, Default)]
pub struct Names {
    slots: HashMap<String, u16>,
    captured: HashSet<String>,
    assigned: HashSet<String>,
    maps: HashMap<String, usize>,
}

impl Names {
    /// The slot of a variable that steps set; made when it is new.
    pub fn define_slot(&mut self, name: &str) -> u16 {
        self.assigned.insert(name.to_owned());
        self.new_slot(name)
    }

    fn new_slot(&mut self, name: &str) -> u16 {
        let next = u16::try_from(self.slots.len()).unwrap_or(u16::MAX);
        *self.slots.entry(name.to_owned()).or_insert(next)
    }

    /// Declares the map with this number.
    pub fn define_map(&mut self, name: &str, number: usize) {
        self.maps.insert(name.to_owned(), number);
    }

    /// The slots of a regular expression's named captures, with their group numbers.
    pub fn define_captures(&mut self, regex: &regex::Regex) {
        for name in regex.capture_names().flatten() {
            self.captured.insert(name.to_owned());
            self.new_slot(name);
        }
    }

    /// Named captures of a regular expression: group number and slot.
    pub fn captures(&self, regex: &regex::Regex) -> Vec<(usize, u16)> {
        regex
            .capture_names()
            .enumerate()
            .filter_map(|(group, name)| Some((group, *self.slots.get(name?)?)))
            .collect()
    }

    /// Whether a name is that of captures and of nothing else.
    pub fn is_capture(&self, name: &str) -> bool {
        self.captured.contains(name) && !self.assigned.contains(name)
    }

    /// The slot of a name.
    pub fn slot(&self, name: &str) -> Option<u16> {
        self.slots.get(name).copied()
    }

    /// The number of a map.
    pub fn map(&self, name: &str) -> Option<usize> {
        self.maps.get(name).copied()
    }
}

/// A template whose variables are resolved.
#[derive(Debug, Clone)]
pub enum Text {
    /// No variable.
    Fixed(Box<str>),
    /// One variable and nothing else.
    One(Variable),
    /// Several pieces.
    Many(Box<[Piece]>),
}

/// One piece of a text.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Stands for itself.
    Fixed(Box<str>),
    /// A variable.
    Variable(Variable),
}

impl Default for Text {
    fn default() -> Self {
        Self::Fixed("".into())
    }
}

impl Text {
    /// Resolves a template's variables. An unknown name is always empty (`config` refuses them earlier).
    pub fn new(template: &Template, names: &Names) -> Self {
        match template.parts() {
            [] => Self::default(),
            [Part::Text(text)] => Self::Fixed(text.as_str().into()),
            [Part::Variable(name)] => Self::One(Variable::new(name, names)),
            parts => Self::Many(
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => Piece::Fixed(text.as_str().into()),
                        Part::Variable(name) => Piece::Variable(Variable::new(name, names)),
                    })
                    .collect(),
            ),
        }
    }

    /// The whole text, where it has no variable.
    pub fn fixed(&self) -> Option<&str> {
        match self {
            Self::Fixed(text) => Some(text),
            _ => None,
        }
    }

    /// The variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let (one, many) = match self {
            Self::Fixed(_) => (None, &[][..]),
            Self::One(variable) => (Some(variable), &[][..]),
            Self::Many(pieces) => (None, &pieces[..]),
        };
        one.into_iter().chain(many.iter().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(variable),
            Piece::Fixed(_) => None,
        }))
    }

    /// The text for a request.
    pub fn expand<'a>(&'a self, exchange: &'a Exchange) -> Cow<'a, str> {
        self.fill(|variable| variable.value(exchange))
    }

    /// The text as a part of a path, whose bytes need not be UTF-8 (see [`path`](super::path)).
    pub fn expand_path<'a>(&'a self, exchange: &'a Exchange) -> Cow<'a, str> {
        self.fill(|variable| variable.path_value(exchange))
    }

    /// The text with each variable's value as `value` gives it.
    pub fn fill<'a>(&'a self, value: impl Fn(&'a Variable) -> Cow<'a, str>) -> Cow<'a, str> {
        match self {
            Self::Fixed(text) => Cow::Borrowed(text),
            Self::One(variable) => value(variable),
            Self::Many(pieces) => {
                let mut out = String::with_capacity(64);
                for piece in pieces {
                    match piece {
                        Piece::Fixed(text) => out.push_str(text),
                        Piece::Variable(variable) => out.push_str(&value(variable)),
                    }
                }
                Cow::Owned(out)
            }
        }
    }

    /// As [`expand`](Self::expand), each variable's value going through `escape` first (log formats).
    pub fn expand_with(&self, exchange: &Exchange, out: &mut String, escape: impl Fn(&str, &mut String)) {
        let mut one = |variable: &Variable| escape(&variable.value(exchange), out);
        match self {
            Self::Fixed(text) => out.push_str(text),
            Self::One(variable) => one(variable),
            Self::Many(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Fixed(text) => out.push_str(text),
                        Piece::Variable(variable) => escape(&variable.value(exchange), out),
                    }
                }
            }
        }
    }
}
