use super::*;

#[test]
fn times_are_read_as_people_write_them() {
    for (text, seconds) in [
        ("90d", 90 * 86_400),
        ("90", 90 * 86_400),
        ("1d12h", 129_600),
        ("10y", 315_360_000),
        ("30m", 1800),
        ("5s", 5),
    ] {
        assert_eq!(text.parse::<Lifetime>().unwrap().0.whole_seconds(), seconds, "{text}");
    }
    for text in ["", "d", "9x", "-1d", "0", "1.5d", "99999999999y", "9223372036854775807y", "90 d"] {
        assert!(text.parse::<Lifetime>().is_err(), "{text}");
    }
}
