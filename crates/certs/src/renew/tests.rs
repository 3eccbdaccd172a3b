use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn renewal_is_near_two_thirds_and_before_the_end(start in 0i64..4_000_000_000, life in 60i64..400_000_000, jitter: u8) {
        let issued = OffsetDateTime::from_unix_timestamp(start).unwrap();
        let end = issued + Duration::seconds(life);
        let due = renew_at(issued, end, jitter);
        prop_assert!(due > issued + Duration::seconds(life) * 6 / 10);
        prop_assert!(due < issued + Duration::seconds(life) * 7 / 10 + Duration::seconds(1));
        prop_assert!(due < end);
    }
}

#[test]
fn certificates_issued_together_are_not_renewed_together() {
    let issued = OffsetDateTime::UNIX_EPOCH;
    let end = issued + Duration::days(90);
    assert!(renew_at(issued, end, 255) - renew_at(issued, end, 0) > Duration::days(5));
}
