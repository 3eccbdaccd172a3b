use model::identity::TrustDomain;
use time::OffsetDateTime;

use super::super::Subject;
use super::*;

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);

#[test]
fn each_step_is_told_once_and_a_missed_one_by_where_it_led() {
    let rest = State::new(TrustDomain::default(), NOW).unwrap();
    assert!(told(None, &rest).is_none(), "nothing happened yet");
    assert!(told(Some(&mark(&rest)), &rest).is_none());
    let started = rest.start(Subject::Root, NOW).unwrap();
    let confirmed = started.confirm(NOW).unwrap();
    let switched = confirmed.switch(NOW).unwrap();
    let retired = switched.retire(&[], true, NOW).unwrap();
    let steps = [&rest, &started, &confirmed, &switched, &retired];
    let reasons: Vec<&str> =
        steps.windows(2).map(|pair| told(Some(&mark(pair[0])), pair[1]).unwrap().0).collect();
    assert_eq!(reasons, ["RotationStarted", "RotationConfirmed", "RotationSwitched", "RotationRetired"]);
    let aborted = confirmed.abort().unwrap();
    let (reason, text) = told(Some(&mark(&confirmed)), &aborted).unwrap();
    assert_eq!(reason, "RotationAborted");
    assert!(text.contains("intermediate-2 was dropped"), "{text}");
    // Nobody led in between.
    assert_eq!(told(Some(&mark(&rest)), &retired).unwrap().0, "RotationRetired");
    assert_eq!(told(None, &switched).unwrap().0, "RotationSwitched");
}
