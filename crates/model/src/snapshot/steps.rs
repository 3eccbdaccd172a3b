//! Steps that change or answer a request before its action: nginx's rewrite phase.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Respond;
use crate::template::Template;

/// One step, carried out in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Replaces the path where the expression matches.
    Rewrite {
        /// A regular expression over the normalised path.
        regex: String,
        /// The replacement; a query in it comes before the old one, and a `?` at its end drops that.
        to: Template,
        /// What follows.
        then: RewriteEnd,
    },
    /// Answers.
    Respond(Respond),
    /// Carries out steps where the condition holds.
    If {
        /// The condition.
        condition: Condition,
        /// The steps.
        then: Vec<Step>,
    },
    /// No more steps here; this route goes on (nginx: `break`).
    Break,
    /// Sets a variable.
    Set {
        /// Its name, without `$`.
        variable: String,
        /// Its value.
        value: Template,
    },
}

/// What follows a rewrite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RewriteEnd {
    /// The next step; after the last, routes are chosen anew where the path changed.
    #[default]
    Next,
    /// Routes are chosen anew at once (at most ten times, then 500).
    Last,
    /// No more steps; this route goes on.
    Break,
    /// 302 to the result.
    Redirect,
    /// 301 to the result.
    Permanent,
}

/// A condition over variables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    /// True unless empty or `0`.
    IsSet(Template),
    /// Equal.
    Equals(Template, Template),
    /// Not equal.
    Differs(Template, Template),
    /// A regular expression matches (its captures become `$1`…); `case` says whether case counts.
    Matches {
        /// What is looked at.
        value: Template,
        /// The expression.
        regex: String,
        /// Whether case counts.
        case: bool,
        /// Whether it must not match.
        not: bool,
    },
}
