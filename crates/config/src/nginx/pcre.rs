//! PCRE expressions for an engine that runs in linear time. What that engine lacks is refused; what it would
//! read differently (possessive quantifiers) is refused too, rather than misread.

use model::codes::configuration as codes;

use crate::error::Finding;
use crate::validate;

/// Why an expression is refused, and the part of it that this is about, where that is known.
pub(crate) struct Refused {
    pub(crate) finding: Finding,
    pub(crate) part: Option<String>,
}

/// Compiles an expression.
pub(crate) fn compile(expression: &str) -> Result<regex::Regex, Box<Refused>> {
    if let Some((part, what)) = foreign(expression) {
        let finding = Finding::new(
            &codes::UNSUPPORTED_REGEX,
            format!("{what} `{part}` is not possible in the regular expression {expression:?}"),
        );
        return Err(Box::new(Refused { finding, part: Some(part) }));
    }
    validate::compile(expression).map_err(|finding| Box::new(Refused { finding, part: None }))
}

/// The first construct that the engine lacks.
fn foreign(expression: &str) -> Option<(String, &'static str)> {
    const GROUPS: [(&str, &str); 8] = [
        ("(?=", "look-ahead"),
        ("(?!", "negative look-ahead"),
        ("(?<=", "look-behind"),
        ("(?<!", "negative look-behind"),
        ("(?>", "an atomic group"),
        ("(?(", "a conditional group"),
        ("(?|", "a branch reset"),
        ("(?R", "recursion"),
    ];
    let bytes = expression.as_bytes();
    let (mut at, mut class) = (0, false);
    // Whether a quantifier has just ended, so that a `+` would make it possessive.
    let mut quantified = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => {
                if !class && bytes.get(at + 1).is_some_and(|next| matches!(next, b'1'..=b'9' | b'k' | b'g')) {
                    let part = expression.get(at..at + 2).unwrap_or("\\").to_owned();
                    return Some((part, "a back-reference"));
                }
                at += 2;
                quantified = false;
                continue;
            }
            b'[' if !class => {
                class = true;
                // A bracket that comes first belongs to the class.
                at += if bytes.get(at + 1) == Some(&b'^') { 2 } else { 1 };
                if bytes.get(at) == Some(&b']') {
                    at += 1;
                }
                quantified = false;
                continue;
            }
            b']' if class => class = false,
            _ if class => {}
            b'(' => {
                if let Some((group, what)) = GROUPS
                    .iter()
                    .find(|(group, _)| expression.get(at..).is_some_and(|rest| rest.starts_with(group)))
                {
                    return Some(((*group).to_owned(), what));
                }
            }
            b'+' if quantified => {
                let part = expression.get(at - 1..=at).unwrap_or("+").to_owned();
                return Some((part, "the possessive quantifier"));
            }
            _ => {}
        }
        // `?` after a quantifier makes it lazy, and after `(` begins an extension: neither quantifies.
        let extends = byte == b'?' && (quantified || bytes.get(at.wrapping_sub(1)) == Some(&b'('));
        quantified = !class && !extends && matches!(byte, b'*' | b'+' | b'?' | b'}');
        at += 1;
    }
    None
}
