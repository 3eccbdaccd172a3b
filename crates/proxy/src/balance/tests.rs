use std::sync::Arc;
use std::time::Duration;

use model::snapshot::Endpoint;

use super::*;

fn endpoints(weights: &[u32]) -> Vec<Arc<EndpointState>> {
    weights
        .iter()
        .enumerate()
        .map(|(n, weight)| {
            let endpoint =
                Endpoint { address: format!("10.0.0.{}:80", n + 1), weight: *weight, ..Endpoint::default() };
            Arc::new(EndpointState::new(&endpoint, &Default::default()).unwrap())
        })
        .collect()
}

fn picks(method: &Balance, endpoints: &[Arc<EndpointState>], count: usize) -> Vec<usize> {
    let balancer = Balancer::new(method, endpoints);
    (0..count).map(|_| balancer.pick(endpoints, Key::default(), &[]).unwrap()).collect()
}

fn eject(endpoint: &EndpointState) {
    endpoint.health.failed(now_ms(), 1, Duration::from_secs(60));
}

#[test]
fn round_robin_is_smooth_by_weight_as_in_nginx() {
    assert_eq!(picks(&Balance::RoundRobin, &endpoints(&[5, 1, 1]), 7), [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(picks(&Balance::RoundRobin, &endpoints(&[1, 1]), 4), [0, 1, 0, 1]);
    assert_eq!(picks(&Balance::RoundRobin, &endpoints(&[10, 20]), 3), [1, 0, 1]);
}

#[test]
fn huge_weights_are_scaled_down() {
    let turns = smooth_turns(&[(0, 1_000_000), (1, 1)]);
    assert!(turns.len() <= 4098, "{}", turns.len());
    assert!(turns.contains(&1));
}

#[test]
fn an_endpoint_that_is_out_or_tried_is_passed_over() {
    let endpoints = endpoints(&[1, 1, 1]);
    eject(&endpoints[1]);
    let balancer = Balancer::new(&Balance::RoundRobin, &endpoints);
    for _ in 0..6 {
        assert_ne!(balancer.pick(&endpoints, Key::default(), &[]), Some(1));
        assert_eq!(balancer.pick(&endpoints, Key::default(), &[0]), Some(2));
        assert_eq!(balancer.pick(&endpoints, Key::default(), &[0, 2]), None);
    }
}

#[test]
fn an_only_endpoint_is_never_left_out() {
    let endpoints = endpoints(&[1]);
    eject(&endpoints[0]);
    assert_eq!(picks(&Balance::RoundRobin, &endpoints, 2), [0, 0]);
}

#[test]
fn backups_are_used_only_when_no_primary_is_left() {
    let mut endpoints = endpoints(&[1]);
    let backup = Endpoint { address: "10.9.9.9:80".into(), backup: true, ..Endpoint::default() };
    endpoints.push(Arc::new(EndpointState::new(&backup, &Default::default()).unwrap()));
    for method in [Balance::RoundRobin, Balance::LeastRequests, Balance::IpHash, Balance::P2cEwma] {
        let balancer = Balancer::new(&method, &endpoints);
        assert_eq!(balancer.pick(&endpoints, Key::default(), &[]), Some(0), "{method:?}");
        assert_eq!(balancer.pick(&endpoints, Key::default(), &[0]), Some(1), "{method:?}");
    }
}

#[test]
fn least_requests_counts_by_weight() {
    let endpoints = endpoints(&[1, 2]);
    let balancer = Balancer::new(&Balance::LeastRequests, &endpoints);
    let _one = endpoints[0].begin();
    let _two = endpoints[1].begin();
    assert_eq!(balancer.pick(&endpoints, Key::default(), &[]), Some(1), "1/1 against 1/2");
    let _three = endpoints[1].begin();
    let _four = endpoints[1].begin();
    assert_eq!(balancer.pick(&endpoints, Key::default(), &[]), Some(0), "1/1 against 3/2");
}

#[test]
fn p2c_prefers_the_faster_endpoint() {
    let endpoints = endpoints(&[1, 1]);
    endpoints[0].health.observe(Duration::from_millis(100), now_ms());
    endpoints[1].health.observe(Duration::from_millis(1), now_ms());
    assert!(picks(&Balance::P2cEwma, &endpoints, 50).iter().all(|n| *n == 1));
}

#[test]
fn a_key_keeps_its_endpoint_and_few_keys_move_when_one_leaves() {
    let method = Balance::Hash { key: Default::default(), consistent: true };
    let four = endpoints(&[1, 1, 1, 1]);
    let balancer = Balancer::new(&method, &four);
    let pick =
        |text: &str, tried: &[usize]| balancer.pick(&four, Key { address: None, text }, tried).unwrap();
    let mut moved = 0;
    let mut counts = [0; 4];
    for n in 0..1000 {
        let key = format!("key-{n}");
        let first = pick(&key, &[]);
        assert_eq!(first, pick(&key, &[]));
        counts[first] += 1;
        moved += usize::from(first != 3 && pick(&key, &[3]) != first);
    }
    assert_eq!(moved, 0, "only the keys of the endpoint that left move");
    assert!(counts.iter().all(|n| *n > 100), "{counts:?}");
}

#[test]
fn hash_and_ip_hash_stay_with_one_endpoint_and_find_another_when_it_is_out() {
    let four = endpoints(&[1, 1, 1, 1]);
    for method in [Balance::IpHash, Balance::Hash { key: Default::default(), consistent: false }] {
        let balancer = Balancer::new(&method, &four);
        let key = |last| Key { address: Some(IpAddr::from([192, 0, 2, last])), text: "user" };
        let first = balancer.pick(&four, key(1), &[]).unwrap();
        assert_eq!(balancer.pick(&four, key(200), &[]), Some(first), "the last octet does not count");
        assert_ne!(balancer.pick(&four, key(1), &[first]), Some(first));
    }
}
