//! Steps that change or answer a request before its action: nginx's rewrite phase (`rewrite`, `return`, `if`,
//! `set`, `break`).

use model::snapshot::{Condition, RewriteEnd, Step};

use super::exchange::{Exchange, with_query};
use super::path;
use super::site::{Compile, RespondSite};
use super::text::Text;
use crate::error::Error;

/// One step, compiled.
#[derive(Debug)]
pub enum StepSite {
    /// Replaces the path where the expression matches.
    Rewrite {
        /// The expression over the path.
        regex: regex::Regex,
        /// Its named captures.
        named: Vec<(usize, u16)>,
        /// The replacement, up to its `?`.
        to: Text,
        /// The query of the replacement, where it has one.
        args: Option<Text>,
        /// The replacement ends in `?`: the old query is dropped.
        drop_query: bool,
        /// The replacement is a URL.
        elsewhere: bool,
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
                let (rest, drop_query) = match written.strip_suffix('?') {
                    Some(rest) => (rest, true),
                    None => (written.as_str(), false),
                };
                // What is written here begins a query; what a request brings never does.
                let (path, args) = match rest.split_once('?') {
                    Some((path, args)) => (path, Some(args)),
                    None => (rest, None),
                };
                let elsewhere = ["http://", "https://", "${scheme}"].iter().any(|s| path.starts_with(s));
                let mut text = |part: &str| compile.text(&part.parse().unwrap_or_default());
                let (to, args) = (text(path), args.map(&mut text));
                let regex = compile.regex(regex, true)?;
                let named = compile.names.captures(&regex);
                Self::Rewrite { regex, named, to, args, drop_query, elsewhere, then: *then }
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
    x.whole = false;
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
                let value = value.expand_path(x).into_owned();
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
            StepSite::Rewrite { regex, named, to, args, drop_query, elsewhere, then } => {
                let path = x.path().to_owned();
                let Some(captures) = regex.captures(&path) else { continue };
                x.capture(&captures, named);
                let status = match then {
                    RewriteEnd::Permanent => Some(301),
                    RewriteEnd::Redirect => Some(302),
                    _ => elsewhere.then_some(302),
                };
                let query = new_query(args.as_ref(), *drop_query, x);
                if let Some(status) = status {
                    // What was decoded to be matched is encoded again: it must not begin a query or a fragment.
                    let place = to.fill(|v| match v.is_captured() {
                        true => path::encode(&v.path_value(x)).into_owned().into(),
                        false => v.value(x),
                    });
                    return Some(Outcome::Redirect(status, with_query(&place, &query)));
                }
                let new_path = to.expand_path(x);
                let rooted = if new_path.starts_with('/') { new_path } else { format!("/{new_path}").into() };
                let Ok(new_path) = path::normalize_decoded(&rooted) else { return Some(Outcome::Invalid) };
                x.set_path(new_path);
                x.query = Some(query);
                x.whole = *then == RewriteEnd::Break;
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

/// The query of a replacement, and behind it the one that the request has, unless that is dropped.
fn new_query(args: Option<&Text>, drop: bool, x: &Exchange) -> String {
    let old = if drop { "" } else { x.query() };
    let Some(args) = args else { return old.to_owned() };
    // As in nginx: what is captured from a path that came with escapes is escaped for a query.
    let escaped = x.request.uri.path().contains(['%', '+']);
    let own = args.fill(|v| match v.is_captured() && escaped {
        true => path::encode_argument(&v.path_value(x)).into_owned().into(),
        false => v.value(x),
    });
    if old.is_empty() { own.into_owned() } else { format!("{own}&{old}") }
}
