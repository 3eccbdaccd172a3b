//! What a step of a rotation is called, for the audit log and for Events. The last steps lie in the authority's Secret, each
//! with its number and its time, so that one that is taken while no controller leads is recorded by the next. The mark of
//! the last one that was recorded lies beside the revocation lists.

use time::OffsetDateTime;

use super::state::{Rotation, State, Step, Taken, whole_second};

#[cfg(test)]
mod tests;

/// So many are kept: a rotation has four.
const KEPT: usize = 40;

impl State {
    /// Notes the step that the rotation has just reached.
    pub(super) fn note(&mut self, now: OffsetDateTime) {
        let Some(rotation) = &self.rotation else { return };
        let (subject, old, new) = (rotation.subject.as_str(), &rotation.old, &rotation.new);
        let (reason, text) = match rotation.step {
            Step::Distributing => (
                "RotationStarted",
                format!("rotation of the {subject}: {new} was made, verifiers are told of it; {old} issues"),
            ),
            Step::Confirmed => (
                "RotationConfirmed",
                format!("rotation of the {subject}: every verifier was found to know {new}; {old} issues"),
            ),
            Step::Switched => (
                "RotationSwitched",
                format!("rotation of the {subject}: {new} issues from now on; {old} is still trusted"),
            ),
        };
        self.push(reason, text, now);
    }

    /// Notes how a rotation ended.
    pub(super) fn note_end(&mut self, reason: &str, rotation: &Rotation, now: OffsetDateTime) {
        let Rotation { old, new, .. } = rotation;
        let text = match reason {
            "RotationAborted" => format!("the rotation was aborted: {new} was dropped, {old} issues"),
            _ => format!("the rotation is done: {old} is trusted no longer, {new} issues"),
        };
        self.push(reason, text, now);
    }

    fn push(&mut self, reason: &str, text: String, now: OffsetDateTime) {
        let number = self.taken.last().map_or(0, |last| last.number).saturating_add(1);
        let (reason, at) = (reason.to_owned(), whole_second(now));
        self.taken.push(Taken { number, at, reason, text });
        let over = self.taken.len().saturating_sub(KEPT);
        self.taken.drain(..over);
    }
}

/// Stands for the last step.
pub fn mark(state: &State) -> String {
    state.taken.last().map_or_else(|| "0".to_owned(), of)
}

/// The steps that were taken after the mark. All, where no step has it: rather one line twice than none.
pub fn unrecorded<'a>(recorded: Option<&str>, state: &'a State) -> &'a [Taken] {
    let last = state.taken.iter().rposition(|taken| recorded == Some(of(taken).as_str()));
    last.and_then(|last| state.taken.get(last + 1..)).unwrap_or(&state.taken)
}

/// The time too: after an older backup was put back, a number may come again.
fn of(taken: &Taken) -> String {
    format!("{}@{}", taken.number, taken.at.unix_timestamp())
}
