//! `rewrite`, `return`, `break`, `set` and `if`: the steps before an action.

use model::codes::configuration as codes;
use model::snapshot::{Condition, Respond, RewriteEnd, Step};

use super::Translation;
use super::content::Types;
use crate::error::Finding;
use crate::nginx::parser::{Directive, Word};

impl Translation<'_> {
    /// The steps of a level, in order. They are not inherited.
    pub(super) fn steps(&mut self, directives: &[Directive], types: &Types) -> Vec<Step> {
        directives.iter().filter_map(|directive| self.step(directive, types)).collect()
    }

    fn step(&mut self, directive: &Directive, types: &Types) -> Option<Step> {
        match directive.name.text.as_str() {
            "return" => self.respond(directive, types).map(Step::Respond),
            "rewrite" => self.rewrite(directive),
            "break" => Some(Step::Break),
            "set" => {
                let [variable, value] = directive.args.as_slice() else { return None };
                let name = self.variable_name(variable)?;
                if crate::variables::is_known(&name) {
                    let message = format!("${name} is one of the built-in variables and cannot be set");
                    self.unsupported(variable, message, "choose another name");
                    return None;
                }
                Some(Step::Set { variable: name, value: self.template(value) })
            }
            "if" => self.condition_block(directive, types),
            _ => None,
        }
    }

    /// `return CODE [TEXT]`, `return CODE URL` or `return URL`.
    pub(super) fn respond(&mut self, directive: &Directive, types: &Types) -> Option<Respond> {
        let (status, body) = match directive.args.as_slice() {
            [word] if word.text.bytes().all(|byte| byte.is_ascii_digit()) => {
                (self.status(word, 0..=999)?, None)
            }
            [url] => {
                if !["http://", "https://", "$scheme"].iter().any(|start| url.text.starts_with(start)) {
                    let message = format!("{:?} is neither a status nor a URL", url.text);
                    self.wrong(
                        url,
                        &codes::NGINX_VALUE,
                        message,
                        "write `return 200 TEXT;` or `return 301 URL;`",
                    );
                    return None;
                }
                (302, Some(url))
            }
            [status, body] => (self.status(status, 0..=999)?, Some(body)),
            _ => return None,
        };
        if status < 200 && status != 0 {
            self.wrong(directive.first(), &codes::NGINX_VALUE, format!("{status} cannot be answered"), "");
            return None;
        }
        let body = body.map(|word| self.template(word)).unwrap_or_default();
        let redirects = matches!(status, 301 | 302 | 303 | 307 | 308);
        let content_type = (!redirects && body.literal() != Some("")).then(|| types.default_type.clone());
        let (types, builtin_types) =
            if content_type.is_some() { types.compact() } else { Default::default() };
        Some(Respond { status, body, content_type, types, builtin_types })
    }

    fn rewrite(&mut self, directive: &Directive) -> Option<Step> {
        let (expression, to, flag) = match directive.args.as_slice() {
            [expression, to] => (expression, to, None),
            [expression, to, flag] => (expression, to, Some(flag)),
            _ => return None,
        };
        self.regex(expression, &expression.text)?;
        let absolute = ["http://", "https://", "$scheme"].iter().any(|start| to.text.starts_with(start));
        let then = match flag.map(|flag| flag.text.as_str()) {
            // nginx ends with a redirect where the replacement is a URL.
            None | Some("last" | "break") if absolute => RewriteEnd::Redirect,
            None => RewriteEnd::Next,
            Some("last") => RewriteEnd::Last,
            Some("break") => RewriteEnd::Break,
            Some("redirect") => RewriteEnd::Redirect,
            Some("permanent") => RewriteEnd::Permanent,
            Some(_) => {
                if let Some(flag) = flag {
                    let help = "flags are last, break, redirect and permanent";
                    self.wrong(flag, &codes::NGINX_VALUE, format!("{:?} is not a flag", flag.text), help);
                }
                return None;
            }
        };
        Some(Step::Rewrite { regex: expression.text.clone(), to: self.template(to), then })
    }

    fn condition_block(&mut self, directive: &Directive, types: &Types) -> Option<Step> {
        let condition = self.condition(directive)?;
        let mut refused = false;
        for inner in directive.inner() {
            if !matches!(inner.name.text.as_str(), "return" | "rewrite" | "break" | "set") {
                refused = true;
                self.findings.push(
                    Finding::new(
                        &codes::UNSUPPORTED_DIRECTIVE,
                        format!("`{}` within `if` is not carried out by Handfast", inner.name.text),
                    )
                    .at(inner.name.place.clone())
                    .label("not within `if`")
                    .help(
                        "`if` may return, rewrite, set and break; a map with a variable often does the rest",
                    ),
                );
            }
        }
        if refused {
            return None;
        }
        let then = self.steps(directive.inner(), types);
        Some(Step::If { condition, then })
    }

    /// The words of `if ( … )`. The parentheses may touch the first and the last word.
    fn condition(&mut self, directive: &Directive) -> Option<Condition> {
        let mut words: Vec<Word> = directive.args.clone();
        let wrong = |this: &mut Self| {
            this.wrong(
                directive.first(),
                &codes::NGINX_VALUE,
                "this condition is not understood",
                "write ($variable), ($variable = text), (… != …), (… ~ expression), (… !~* expression)",
            );
        };
        let opened = words.first_mut().is_some_and(|word| strip(word, '(', true));
        let closed = words.last_mut().is_some_and(|word| strip(word, ')', false));
        if !opened || !closed {
            wrong(self);
            return None;
        }
        words.retain(|word| !word.text.is_empty() || word.quoted);
        match words.as_slice() {
            [test, _] if matches!(test.text.trim_start_matches('!'), "-f" | "-d" | "-e" | "-x") => {
                self.unsupported(test, "files are not tested by `if`", "use try_files");
                None
            }
            [value] if value.text.starts_with('$') => Some(Condition::IsSet(self.template(value))),
            [value, operator, operand] if value.text.starts_with('$') => {
                let looked_at = self.template(value);
                match operator.text.as_str() {
                    "=" => Some(Condition::Equals(looked_at, self.template(operand))),
                    "!=" => Some(Condition::Differs(looked_at, self.template(operand))),
                    "~" | "~*" | "!~" | "!~*" => {
                        self.regex(operand, &operand.text)?;
                        Some(Condition::Matches {
                            value: looked_at,
                            regex: operand.text.clone(),
                            case: !operator.text.ends_with('*'),
                            not: operator.text.starts_with('!'),
                        })
                    }
                    _ => {
                        wrong(self);
                        None
                    }
                }
            }
            _ => {
                wrong(self);
                None
            }
        }
    }
}

/// Takes a parenthesis off a word; a quoted word has it outside of its quotes.
fn strip(word: &mut Word, parenthesis: char, front: bool) -> bool {
    if word.quoted {
        return false;
    }
    let stripped =
        if front { word.text.strip_prefix(parenthesis) } else { word.text.strip_suffix(parenthesis) };
    match stripped.map(str::to_owned) {
        Some(text) => {
            word.text = text;
            true
        }
        None => false,
    }
}
