use super::*;

fn limit(milli_per_second: u64, burst: u64, nodelay: bool) -> RateLimit {
    RateLimit {
        key: Text::default(),
        zone: Arc::default(),
        milli_per_second,
        burst: burst * 1000,
        nodelay,
        status: 503,
    }
}

#[test]
fn a_rate_without_burst_refuses_what_comes_too_early() {
    let limit = limit(1000, 0, false);
    assert_eq!(limit.take_at("a", 1_000), Rate::Pass);
    assert_eq!(limit.take_at("a", 1_500), Rate::Refuse);
    assert_eq!(limit.take_at("b", 1_500), Rate::Pass, "each key has its own bucket");
    assert_eq!(limit.take_at("a", 2_000), Rate::Pass);
}

#[test]
fn a_burst_is_delayed_to_the_rate_or_passed_with_nodelay() {
    let delayed = limit(2000, 3, false);
    assert_eq!(delayed.take_at("a", 1_000), Rate::Pass);
    for delay in [500, 1_000, 1_500] {
        assert_eq!(delayed.take_at("a", 1_000), Rate::Delay(Duration::from_millis(delay)));
    }
    assert_eq!(delayed.take_at("a", 1_000), Rate::Refuse);
    let passed = limit(2000, 3, true);
    let taken: Vec<_> = (0..5).map(|_| passed.take_at("a", 1_000)).collect();
    assert_eq!(taken, [Rate::Pass, Rate::Pass, Rate::Pass, Rate::Pass, Rate::Refuse]);
}

#[test]
fn a_refused_request_does_not_fill_the_bucket_further() {
    let limit = limit(1000, 0, false);
    limit.take_at("a", 1_000);
    for _ in 0..100 {
        assert_eq!(limit.take_at("a", 1_001), Rate::Refuse);
    }
    assert_eq!(limit.take_at("a", 2_000), Rate::Pass);
}

#[test]
fn a_zone_forgets_keys_rather_than_growing_without_bound() {
    let limit = limit(1000, 0, false);
    for n in 0..(MOST_KEYS * 2) {
        limit.take_at(&format!("{n}"), 1_000);
    }
    let kept: usize = limit.zone.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
    assert!(kept <= MOST_KEYS, "{kept}");
}
