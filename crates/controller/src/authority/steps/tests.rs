use model::identity::TrustDomain;
use time::{Duration, OffsetDateTime};

use super::super::Subject;
use super::*;

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);

fn reasons<'a>(recorded: Option<&str>, state: &'a State) -> Vec<&'a str> {
    unrecorded(recorded, state).iter().map(|taken| taken.reason.as_str()).collect()
}

#[test]
fn each_step_is_told_once_and_one_that_was_missed_afterwards() {
    let at = |hours| NOW + Duration::hours(hours);
    let rest = State::new(TrustDomain::default(), NOW).unwrap();
    assert!(unrecorded(None, &rest).is_empty(), "nothing happened yet");
    assert!(unrecorded(Some(&mark(&rest)), &rest).is_empty());
    let started = rest.start(Subject::Root, at(1)).unwrap();
    let confirmed = started.confirm(at(2)).unwrap();
    let switched = confirmed.switch(at(3)).unwrap();
    let retired = switched.retire(&[], true, at(4)).unwrap();
    let all = ["RotationStarted", "RotationConfirmed", "RotationSwitched", "RotationRetired"];
    let steps = [&rest, &started, &confirmed, &switched, &retired];
    for (pair, reason) in steps.windows(2).zip(all) {
        assert_eq!(reasons(Some(&mark(pair[0])), pair[1]), [reason]);
        assert!(unrecorded(Some(&mark(pair[1])), pair[1]).is_empty());
    }
    let aborted = confirmed.abort(at(5)).unwrap();
    let told = unrecorded(Some(&mark(&confirmed)), &aborted);
    assert_eq!(told[0].reason, "RotationAborted");
    assert!(told[0].text.contains("intermediate-2 was dropped"), "{told:?}");
    // Nobody led in between: none is lost, and each has its own time.
    let told = unrecorded(Some(&mark(&rest)), &retired);
    assert_eq!(told.iter().map(|taken| taken.reason.as_str()).collect::<Vec<_>>(), all);
    assert_eq!(told.iter().map(|taken| taken.at).collect::<Vec<_>>(), [at(1), at(2), at(3), at(4)]);
    // A start and an abort between two looks, which leave the authority as it was.
    let undone = rest.start(Subject::Root, at(1)).unwrap().abort(at(2)).unwrap();
    assert_eq!(reasons(Some(&mark(&rest)), &undone), ["RotationStarted", "RotationAborted"]);
    // The mark is lost, or of a history that a backup has undone.
    assert_eq!(reasons(None, &switched), all[..3]);
    assert_eq!(reasons(Some(&mark(&aborted)), &switched), all[..3]);
}

#[test]
fn not_all_steps_are_kept_for_ever() {
    let mut state = State::new(TrustDomain::default(), NOW).unwrap();
    let before = mark(&state);
    for _ in 0..KEPT {
        state = state.start(Subject::Intermediate, NOW).unwrap().abort(NOW).unwrap();
        state.members.retain(|member| member.standing != super::super::Standing::Retired);
    }
    assert_eq!(state.taken.len(), KEPT);
    assert_eq!(state.taken.last().unwrap().number, 2 * KEPT as u64);
    assert_eq!(unrecorded(Some(&before), &state).len(), KEPT);
}
