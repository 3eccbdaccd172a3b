use time::Duration;

use super::*;
use crate::authority::Subject;

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);
const DUE: &str = "handfast_rotation_due_timestamp_seconds{subject=\"root\",step=";

#[test]
fn a_rotation_is_told_of_while_it_goes_on_and_when_its_next_step_is_due() {
    let metrics = Metrics::default();
    let state = State::new("cluster.local".parse().unwrap(), NOW).unwrap();
    metrics.set_authority(&state);
    assert!(metrics.text().contains("handfast_authority_expiration_timestamp_seconds{authority=\"root-1\"}"));
    assert!(!metrics.text().contains(DUE));

    let state = state.start(Subject::Root, NOW).unwrap();
    metrics.set_authority(&state);
    let due = format!("{DUE}\"distributing\"}} {}\n", NOW.unix_timestamp());
    assert!(metrics.text().contains(&due), "{}", metrics.text());
    assert!(metrics.text().contains("{authority=\"root-2\"}"));

    // Once the new one issues, the old leaves have to end first.
    let later = NOW + Duration::HOUR;
    let state = state.confirm(later).unwrap().switch(later).unwrap();
    metrics.set_authority(&state);
    let due = format!("{DUE}\"switched\"}} {}\n", (later + state.longest_leaf).unix_timestamp());
    assert!(metrics.text().contains(&due) && !metrics.text().contains("distributing"), "{}", metrics.text());

    metrics.set_authority_damaged(true);
    assert!(metrics.text().contains("handfast_authority_damaged 1\n"));
    metrics.forget_all();
    assert!(metrics.text().contains("handfast_authority_damaged 0\n"));
    assert!(!metrics.text().contains(DUE) && !metrics.text().contains("root-1"), "{}", metrics.text());
}
