use super::*;

const TEN: Duration = Duration::from_secs(10);

#[test]
fn an_endpoint_is_left_out_after_max_fails_within_the_time() {
    let health = Health::default();
    assert!(!health.failed(1_000, 2, TEN));
    assert!(health.is_usable(1_000));
    assert!(health.failed(2_000, 2, TEN), "the second failure leaves it out");
    assert!(!health.is_usable(11_999));
    assert!(health.is_usable(12_000), "for fail_timeout");
}

#[test]
fn failures_that_are_far_apart_do_not_add_up() {
    let health = Health::default();
    assert!(!health.failed(1_000, 2, TEN));
    assert!(!health.failed(20_000, 2, TEN));
    assert!(health.is_usable(20_000));
}

#[test]
fn success_forgets_failures_and_zero_never_leaves_out() {
    let health = Health::default();
    health.failed(1_000, 2, TEN);
    health.succeeded(1_500);
    assert!(!health.failed(2_000, 2, TEN));
    for _ in 0..100 {
        assert!(!health.failed(3_000, 0, TEN));
    }
}

#[test]
fn active_checks_need_rise_and_fall_in_a_row() {
    let health = Health::default();
    assert!(!health.checked(false, 2, 3));
    assert!(!health.checked(false, 2, 3));
    assert!(!health.checked(true, 2, 3), "a good one in between starts over");
    assert!(!health.checked(false, 2, 3));
    assert!(!health.checked(false, 2, 3));
    assert!(health.checked(false, 2, 3));
    assert!(!health.is_usable(1));
    assert!(!health.checked(true, 2, 3));
    assert!(health.checked(true, 2, 3));
    assert!(health.is_usable(1));
}

#[test]
fn latency_rises_at_once_and_falls_slowly() {
    let health = Health::default();
    health.observe(Duration::from_millis(10), 1);
    health.observe(Duration::from_millis(100), 2);
    assert_eq!(health.latency_us(), 100_000);
    health.observe(Duration::from_millis(10), 3);
    let falling = health.latency_us();
    assert!((90_000..100_000).contains(&falling), "{falling}");
    health.observe(Duration::from_millis(10), 20_000);
    assert_eq!(health.latency_us(), 10_000, "after ten seconds nothing is left of it");
}
