//! Levels of blocks, and what is in force at one: nginx's inheritance. A directive of an inner level replaces
//! the outer one's; directives that make a list replace the whole list.

use crate::nginx::parser::Directive;

/// A block with the blocks around it, the innermost last.
#[derive(Clone)]
pub(super) struct Level<'a> {
    chain: Vec<&'a [Directive]>,
}

impl<'a> Level<'a> {
    /// The outermost level.
    pub(super) fn new(directives: &'a [Directive]) -> Self {
        Self { chain: vec![directives] }
    }

    /// A level within this one.
    pub(super) fn inner(&self, directives: &'a [Directive]) -> Self {
        let mut chain = self.chain.clone();
        chain.push(directives);
        Self { chain }
    }

    /// The directives of this very level, in order.
    pub(super) fn directives(&self) -> &'a [Directive] {
        self.chain.last().copied().unwrap_or_default()
    }

    /// The directives of this name at this very level.
    pub(super) fn own<'n>(
        &self,
        name: &'n str,
    ) -> impl DoubleEndedIterator<Item = &'a Directive> + use<'a, 'n> {
        self.directives().iter().filter(move |directive| directive.is(name))
    }

    /// The directive that is in force.
    pub(super) fn find(&self, name: &str) -> Option<&'a Directive> {
        self.chain.iter().rev().find_map(|directives| directives.iter().rfind(|directive| directive.is(name)))
    }

    /// The list that is in force: of the innermost level that has one of these names.
    pub(super) fn list(&self, names: &[&str]) -> Vec<&'a Directive> {
        let of = |directives: &&'a [Directive]| -> Option<Vec<&'a Directive>> {
            let list: Vec<_> =
                directives.iter().filter(|directive| names.contains(&directive.name.text.as_str())).collect();
            (!list.is_empty()).then_some(list)
        };
        self.chain.iter().rev().find_map(of).unwrap_or_default()
    }
}
