//! What a step of a rotation is called, for the audit log and for Events. The mark of the last step that was
//! recorded lies beside the revocation lists, so that a step taken while no controller led is recorded by the next.

use super::state::{State, Step};

#[cfg(test)]
mod tests;

/// Stands for where the authority is: the same mark, the same step.
pub fn mark(state: &State) -> String {
    match &state.rotation {
        Some(rotation) => {
            format!(
                "{}/{}/{}/{}",
                rotation.subject.as_str(),
                rotation.step.as_str(),
                rotation.old,
                rotation.new
            )
        }
        None => format!("none/{}", active(state)),
    }
}

/// The step that leads from the mark before to this state, as a word in CamelCase and a sentence. `None` when it is
/// the same, or the first that is ever seen of an authority in rest.
pub fn told(before: Option<&str>, state: &State) -> Option<(&'static str, String)> {
    if before == Some(mark(state).as_str()) {
        return None;
    }
    if let Some(rotation) = &state.rotation {
        let (subject, old, new) = (rotation.subject.as_str(), &rotation.old, &rotation.new);
        return Some(match rotation.step {
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
        });
    }
    let before = before?;
    let parts: Vec<&str> = before.split('/').collect();
    let active = active(state);
    Some(match parts.as_slice() {
        [_, _, old, new] if *old == active => {
            ("RotationAborted", format!("the rotation was aborted: {new} was dropped, {old} issues"))
        }
        [_, _, old, _] | [_, old] => {
            ("RotationRetired", format!("the rotation is done: {old} is trusted no longer, {active} issues"))
        }
        _ => ("RotationRetired", format!("no rotation goes on, {active} issues")),
    })
}

fn active(state: &State) -> String {
    state.active().map(|(member, _)| member.name.clone()).unwrap_or_default()
}
