//! Steps that change or answer a request before its action: nginx's rewrite phase (`rewrite`, `return`, `if`,
//! `set`, `break`).

use model::snapshot::{Condition, RewriteEnd, Step};

use super::exchange::Exchange;
use super::path;
use super::site::{Compile, RespondSite};
use super::text::Text;
use crate::error::Error;

#[cfg(test)]
mod tests;

/// One step, compiled.
#[derive(Debug)]
pub enum StepSite {
    /// Replaces the path where the expression matches.
    Rewrite {
        /// The expression over the path.
        regex: regex::Regex,
        /// Its named captures.
        named: Vec<(usize, u16)>,
        /// The replacement.
        to: Text,
        /// The replacement ends in `?`: the old query is dropped.
        drop_query: bool,
        /// What follows.
        then: RewriteEnd,
    },
    /// Answers.
    Respond(RespondSite),
    /// Carries out steps where the condition holds.
    If(ConditionSite, Vec<StepSite>),
    /// No more steps.
    Break,
    /// Sets a variable.
    Set(u16, Text),
}

/// A condition, compiled.
#[derive(Debug)]
pub enum ConditionSite {
    /// True unless empty or `0`.
    IsSet(Text),
    /// Equal, or (false) not.
    Equals(Text, Text, bool),
    /// Matches, or (false) not.
    Matches(Text, regex::Regex, Vec<(usize, u16)>, bool),
}

/// How a list of steps ended.
#[derive(Debug)]
pub enum Outcome {
    /// All were carried out, and the path did not change.
    Continue,
    /// The path changed: routes are chosen anew.
    Changed,
    /// The path may have changed, and this route goes on all the same.
    Stay,
    /// An answer.
    Respond(RespondSite),
    /// A redirect with this status to this place.
    Redirect(u16, String),
    /// A path that leaves the root was made.
    Invalid,
}

impl StepSite {
    /// Compiles a list of steps.
    pub fn compile(steps: &[Step], compile: &mut Compile<'_, '_>) -> Result<Vec<Self>, Error> {
        steps.iter().map(|step| Self::new(step, compile)).collect()
    }

    fn new(step: &Step, compile: &mut Compile<'_, '_>) -> Result<Self, Error> {
        Ok(match step {
            Step::Rewrite { regex, to, then } => {
                let written = to.to_string();
                let (to, drop_query) = match written.strip_suffix('?') {
                    Some(rest) => (rest.parse().unwrap_or_default(), true),
                    None => (to.clone(), false),
                };
                let regex = compile.regex(regex, true)?;
                let named = compile.names.captures(&regex);
                Self::Rewrite { regex, named, to: compile.text(&to), drop_query, then: *then }
            }
            Step::Respond(respond) => Self::Respond(compile.respond(respond)?),
            Step::If { condition, then } => {
                let condition = match condition {
                    Condition::IsSet(text) => ConditionSite::IsSet(compile.text(text)),
                    Condition::Equals(a, b) => ConditionSite::Equals(compile.text(a), compile.text(b), true),
                    Condition::Differs(a, b) => {
                        ConditionSite::Equals(compile.text(a), compile.text(b), false)
                    }
                    Condition::Matches { value, regex, case, not } => {
                        let regex = compile.regex(regex, *case)?;
                        let named = compile.names.captures(&regex);
                        ConditionSite::Matches(compile.text(value), regex, named, !not)
                    }
                };
                Self::If(condition, Self::compile(then, compile)?)
            }
            Step::Break => Self::Break,
            Step::Set { variable, value } => {
                Self::Set(compile.names.define_slot(variable), compile.text(value))
            }
        })
    }
}

impl ConditionSite {
    fn holds(&self, x: &mut Exchange) -> bool {
        match self {
            Self::IsSet(text) => !matches!(&*text.expand(x), "" | "0"),
            Self::Equals(a, b, wanted) => (a.expand(x) == b.expand(x)) == *wanted,
            Self::Matches(value, regex, named, wanted) => {
                let value = value.expand(x).into_owned();
                match regex.captures(&value) {
                    Some(captures) => {
                        x.capture(&captures, named);
                        *wanted
                    }
                    None => !*wanted,
                }
            }
        }
    }
}

/// Carries out steps.
pub fn run(steps: &[StepSite], x: &mut Exchange) -> Outcome {
    let mut changed = false;
    match run_list(steps, x, &mut changed) {
        Some(outcome) => outcome,
        None if changed => Outcome::Changed,
        None => Outcome::Continue,
    }
}

fn run_list(steps: &[StepSite], x: &mut Exchange, changed: &mut bool) -> Option<Outcome> {
    for step in steps {
        match step {
            StepSite::Break => return Some(Outcome::Stay),
            StepSite::Set(slot, value) => {
                let value = value.expand(x).into_owned();
                x.set_variable(*slot, value);
            }
            StepSite::Respond(respond) => return Some(Outcome::Respond(respond.clone())),
            StepSite::If(condition, then) => {
                if condition.holds(x)
                    && let Some(outcome) = run_list(then, x, changed)
                {
                    return Some(outcome);
                }
            }
            StepSite::Rewrite { regex, named, to, drop_query, then } => {
                let path = x.path().to_owned();
                let Some(captures) = regex.captures(&path) else { continue };
                x.capture(&captures, named);
                let target = to.expand(x).into_owned();
                let target = with_old_query(&target, x.query(), *drop_query);
                let elsewhere = target.starts_with("http://") || target.starts_with("https://");
                match then {
                    RewriteEnd::Permanent => return Some(Outcome::Redirect(301, target)),
                    RewriteEnd::Redirect => return Some(Outcome::Redirect(302, target)),
                    _ if elsewhere => return Some(Outcome::Redirect(302, target)),
                    _ => {}
                }
                let (new_path, query) = target.split_once('?').unwrap_or((&target, ""));
                let rooted =
                    if new_path.starts_with('/') { new_path.to_owned() } else { format!("/{new_path}") };
                let Ok(new_path) = path::normalize_decoded(&rooted) else { return Some(Outcome::Invalid) };
                x.set_path(new_path);
                x.query = Some(query.to_owned());
                *changed = true;
                match then {
                    RewriteEnd::Last => return Some(Outcome::Changed),
                    RewriteEnd::Break => return Some(Outcome::Stay),
                    _ => {}
                }
            }
        }
    }
    None
}

/// A replacement with the query as it was: behind its own, unless that is dropped.
fn with_old_query(target: &str, old: &str, drop: bool) -> String {
    if drop || old.is_empty() {
        return target.to_owned();
    }
    let joint = if target.contains('?') { '&' } else { '?' };
    format!("{target}{joint}{old}")
}
