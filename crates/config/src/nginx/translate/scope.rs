//! Levels of blocks, and what is in force at one: nginx's inheritance. A directive of an inner level replaces
//! the outer one's; directives that make a list replace the whole list.

use std::collections::HashMap;
use std::rc::Rc;

use crate::nginx::parser::Directive;

/// A block with the blocks around it, the innermost last.
#[derive(Clone)]
pub(super) struct Level<'a> {
    chain: Vec<Rc<Block<'a>>>,
}

/// A block and its directives by name, since a large file asks for the same names very often.
struct Block<'a> {
    directives: &'a [Directive],
    by_name: HashMap<&'a str, Vec<(usize, &'a Directive)>>,
}

impl<'a> Block<'a> {
    fn new(directives: &'a [Directive]) -> Rc<Self> {
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for (position, directive) in directives.iter().enumerate() {
            by_name.entry(directive.name.text.as_str()).or_default().push((position, directive));
        }
        Rc::new(Self { directives, by_name })
    }

    fn named(&self, name: &str) -> &[(usize, &'a Directive)] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }
}

impl<'a> Level<'a> {
    /// The outermost level.
    pub(super) fn new(directives: &'a [Directive]) -> Self {
        Self { chain: vec![Block::new(directives)] }
    }

    /// A level within this one.
    pub(super) fn inner(&self, directives: &'a [Directive]) -> Self {
        let mut chain = self.chain.clone();
        chain.push(Block::new(directives));
        Self { chain }
    }

    /// The directives of this very level, in order.
    pub(super) fn directives(&self) -> &'a [Directive] {
        self.chain.last().map_or(&[], |block| block.directives)
    }

    /// The directives of this name at this very level.
    pub(super) fn own(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a Directive> + use<'a> {
        let own: Vec<_> = self.chain.last().map_or_else(Vec::new, |block| block.named(name).to_vec());
        own.into_iter().map(|(_, directive)| directive)
    }

    /// The directive that is in force.
    pub(super) fn find(&self, name: &str) -> Option<&'a Directive> {
        self.chain.iter().rev().find_map(|block| block.named(name).last()).map(|(_, directive)| *directive)
    }

    /// The list that is in force: of the innermost level that has one of these names.
    pub(super) fn list(&self, names: &[&str]) -> Vec<&'a Directive> {
        for block in self.chain.iter().rev() {
            let mut list: Vec<_> = names.iter().flat_map(|name| block.named(name)).copied().collect();
            if !list.is_empty() {
                list.sort_by_key(|(position, _)| *position);
                return list.into_iter().map(|(_, directive)| directive).collect();
            }
        }
        Vec::new()
    }
}
