//! Holds the tree of directives against the table: each is known, stands where it may, and has as many
//! arguments as it takes. What Handfast does not carry out is refused or noted, never skipped in silence.

use std::collections::BTreeMap;

use model::codes::configuration as codes;

use super::directives::{self as table, Use};
use super::parser::Directive;
use crate::error::{Finding, Note};
use crate::suggest;

/// The most findings of one run.
pub(crate) const MAX_FINDINGS: usize = 30;

/// What the check gives: what is wrong, and what a person should know.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) findings: Vec<Finding>,
    pub(crate) notes: Vec<Note>,
}

/// Checks the directives of the main level.
pub(crate) fn check(directives: &[Directive]) -> Checked {
    let mut checked = Checked::default();
    checked.block(directives, table::MAIN);
    checked
}

impl Checked {
    fn block(&mut self, directives: &[Directive], context: u16) {
        let mut seen: BTreeMap<&str, &Directive> = BTreeMap::new();
        for directive in directives {
            if self.findings.len() >= MAX_FINDINGS {
                return;
            }
            let name = directive.name.text.as_str();
            let Some(row) = table::find(name) else {
                self.unknown(directive, context);
                continue;
            };
            let fits = self.one(directive, row, context);
            let single = matches!(row.4, Use::Done | Use::Noted(_));
            if fits && single && seen.insert(name, directive).is_some() {
                self.findings.push(
                    Finding::new(&codes::DUPLICATE, format!("`{name}` stands twice in this block"))
                        .at(directive.place())
                        .help("remove one of the two"),
                );
            }
            if let (true, Some(inner)) = (fits, &directive.block)
                && row.4 == Use::Block
            {
                self.block(inner, inside(name, context));
            }
        }
    }

    /// Checks one directive and says whether it is worth looking into.
    fn one(&mut self, directive: &Directive, row: &table::Row, context: u16) -> bool {
        let (name, contexts, least, most, purpose) = *row;
        if contexts & context == 0 {
            self.findings.push(
                Finding::new(&codes::MISPLACED_DIRECTIVE, format!("`{name}` is not allowed here"))
                    .at(directive.name.place.clone())
                    .label(format!("in {}", table::block_names(context)))
                    .help(format!("it may stand in: {}", table::block_names(contexts))),
            );
            return false;
        }
        let refused = match purpose {
            Use::Refused(instead) => Some(instead),
            Use::Only(value, why) => {
                let [argument] = directive.args.as_slice() else { return true };
                (argument.text != value).then_some(why)
            }
            _ => None,
        };
        if let Some(instead) = refused {
            self.findings.push(
                Finding::new(
                    &codes::UNSUPPORTED_DIRECTIVE,
                    format!("`{name}` is not carried out by Handfast"),
                )
                .at(directive.name.place.clone())
                .label("not supported")
                .help(instead),
            );
            return false;
        }
        // `server` is a block in http and stream, but a line in an upstream.
        let is_block = match purpose {
            Use::Block if name == "server" => context & (table::U | table::SU) == 0,
            Use::Block | Use::Data => true,
            _ => false,
        };
        if is_block != directive.block.is_some() {
            let (message, help) = if is_block {
                (format!("`{name}` opens a block"), "write `{` after it")
            } else {
                (
                    format!("`{name}` does not open a block"),
                    "end it with a semicolon; a `;` may be missing before",
                )
            };
            let finding = Finding::new(&codes::NGINX_SYNTAX, message).at(directive.place()).help(help);
            self.findings.push(finding);
            return false;
        }
        let (least, most) = match (name, is_block) {
            ("server", true) => (0, 0),
            ("server", false) => (1, usize::MAX),
            _ => (least, most),
        };
        let count = directive.args.len();
        if count < least || count > most {
            let expected = match (least, most) {
                (0, 0) => "no argument".to_owned(),
                (1, 1) => "one argument".to_owned(),
                (least, most) if least == most => format!("{least} arguments"),
                (least, usize::MAX) => format!("at least {least} arguments"),
                (least, most) => format!("{least} to {most} arguments"),
            };
            self.findings.push(
                Finding::new(&codes::WRONG_ARGUMENTS, format!("`{name}` takes {expected}, not {count}"))
                    .at(directive.place())
                    .help(if count > most {
                        "a semicolon may be missing at the end of the line"
                    } else {
                        ""
                    }),
            );
            return false;
        }
        if let Use::Noted(why) | Use::ManyNoted(why) = purpose {
            self.notes.push(Note {
                warning: false,
                message: format!("`{name}` has no effect: {why}"),
                place: Some(directive.place()),
            });
        }
        true
    }

    fn unknown(&mut self, directive: &Directive, context: u16) {
        let name = &directive.name.text;
        let here = table::ROWS.iter().filter(|row| row.1 & context != 0).map(|row| row.0);
        let near = if name.len() > 100 {
            None
        } else {
            suggest::nearest(name, here)
                .or_else(|| suggest::nearest(name, table::ROWS.iter().map(|row| row.0)))
        };
        let help = near.map_or_else(String::new, |near| format!("did you mean `{near}`?"));
        self.findings.push(
            Finding::new(&codes::UNKNOWN_DIRECTIVE, format!("unknown directive `{name}`"))
                .at(directive.name.place.clone())
                .label("not known")
                .help(help),
        );
    }
}

/// The context inside of a block.
fn inside(name: &str, context: u16) -> u16 {
    match (name, context) {
        ("events", _) => table::EVENTS,
        ("http", _) => table::H,
        ("stream", _) => table::ST,
        ("server", table::ST) => table::SS,
        ("server", _) => table::S,
        ("upstream", table::ST) => table::SU,
        ("upstream", _) => table::U,
        ("if", table::S) => table::SIF,
        ("if", _) => table::LIF,
        ("location", _) => table::L,
        _ => context,
    }
}
