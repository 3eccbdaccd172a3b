//! YAML without loss: [`tree`] reads text with all its places, [`edit`] inserts into the text, [`value`] is the
//! meaning by which each edit is checked, [`render`] writes what is new.

pub mod edit;
pub mod render;
pub mod tree;
pub mod value;

#[cfg(test)]
mod tests;

pub use edit::{Change, Unsafe};
pub use tree::{Document, Node};
pub use value::{Step, Value};
