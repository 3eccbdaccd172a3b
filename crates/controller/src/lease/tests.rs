use super::*;

fn spec(holder: &str, renewed: i64, lasts: i32) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        renew_time: Timestamp::from_second(renewed).ok().map(MicroTime),
        lease_duration_seconds: Some(lasts),
        ..LeaseSpec::default()
    }
}

#[test]
fn a_lease_is_judged_by_our_own_clock_alone() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    // The other's clock is years behind: that means nothing.
    let seen = Seen::next(None, Some(&spec("other", 1000, 15)), start);
    assert_eq!(seen.what_now("me", after(0)), Move::Wait);
    assert_eq!(seen.what_now("me", after(15)), Move::Wait);
    assert_eq!(seen.what_now("me", after(16)), Move::Take);
    // It was renewed in between.
    let again = Seen::next(Some(&seen), Some(&spec("other", 1002, 15)), after(10));
    assert_eq!(again.what_now("me", after(20)), Move::Wait);
    // It was seen again, unchanged.
    let again = Seen::next(Some(&seen), Some(&spec("other", 1000, 15)), after(10));
    assert_eq!(again.what_now("me", after(16)), Move::Take);
}

#[test]
fn a_free_or_own_lease_is_taken_at_once() {
    let now = Instant::now();
    for spec in [None, Some(LeaseSpec::default()), Some(spec("", 5, 15)), Some(spec("me", 5, 15))] {
        assert_eq!(Seen::next(None, spec.as_ref(), now).what_now("me", now), Move::Take);
    }
}

#[test]
fn a_lease_of_a_year_does_not_stop_everybody() {
    let now = Instant::now();
    let seen = Seen::next(None, Some(&spec("other", 1000, i32::MAX)), now);
    assert_eq!(seen.what_now("me", now + Duration::from_secs(61)), Move::Take);
}
