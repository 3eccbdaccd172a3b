use super::*;

fn granted(budget: &RetryBudget, now: u64, tries: usize) -> usize {
    (0..tries).filter(|_| budget.retry(now, 20)).count()
}

#[test]
fn a_few_retries_are_always_granted() {
    let budget = RetryBudget::default();
    assert_eq!(granted(&budget, 5_000, 100), 30);
}

#[test]
fn more_are_granted_as_a_share_of_requests() {
    let budget = RetryBudget::default();
    for _ in 0..1_000 {
        budget.request(5_000);
    }
    assert_eq!(granted(&budget, 5_000, 1_000), 230);
}

#[test]
fn the_budget_comes_back_with_time() {
    let budget = RetryBudget::default();
    assert_eq!(granted(&budget, 5_000, 100), 30);
    assert_eq!(granted(&budget, 15_000, 100), 0, "the last window still counts");
    assert_eq!(granted(&budget, 45_000, 100), 30);
}

#[test]
fn only_methods_without_further_effect_are_idempotent() {
    for (method, expected) in
        [("GET", true), ("PUT", true), ("DELETE", true), ("POST", false), ("PATCH", false)]
    {
        assert_eq!(is_idempotent(&method.parse().unwrap()), expected, "{method}");
    }
}
