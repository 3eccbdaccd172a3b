use super::*;

#[test]
fn the_old_query_follows_the_new_one_unless_it_is_dropped() {
    for (target, old, drop, expected) in [
        ("/b", "", false, "/b"),
        ("/b", "x=1", false, "/b?x=1"),
        ("/b?y=2", "x=1", false, "/b?y=2&x=1"),
        ("/b?y=2", "x=1", true, "/b?y=2"),
        ("/b", "x=1", true, "/b"),
    ] {
        assert_eq!(with_old_query(target, old, drop), expected);
    }
}
