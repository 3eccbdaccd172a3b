use super::ranges::{Wanted, parse};

#[test]
fn ranges_are_read_as_rfc_9110_says() {
    let some = |list: &[(u64, u64)]| Wanted::Ranges(list.to_vec());
    for (value, expected) in [
        ("bytes=0-0", some(&[(0, 1)])),
        ("bytes=0-", some(&[(0, 10)])),
        ("bytes=5-100", some(&[(5, 5)])),
        ("bytes=-3", some(&[(7, 3)])),
        ("bytes=-30", some(&[(0, 10)])),
        ("bytes=0-1, 4-5", some(&[(0, 2), (4, 2)])),
        ("bytes=10-", Wanted::Nothing),
        ("bytes=20-30", Wanted::Nothing),
        ("bytes=-0", Wanted::Nothing),
        ("bytes=5-4", Wanted::All),
        ("bytes=a-b", Wanted::All),
        ("bytes=", Wanted::All),
        ("lines=1-2", Wanted::All),
        ("bytes=0-9, 0-9", Wanted::All),
        ("bytes=18446744073709551616-", Wanted::Nothing),
    ] {
        assert_eq!(parse(value, 10), expected, "{value}");
    }
    assert_eq!(parse("bytes=0-0", 0), Wanted::Nothing);
}

#[test]
fn ranges_never_panic_nor_reach_beyond_the_file() {
    proptest::proptest!(|(value in "bytes=[0-9,-]{0,30}", size in 0u64..100)| {
        if let Wanted::Ranges(list) = parse(&value, size) {
            for (at, length) in list {
                assert!(length > 0 && at + length <= size, "{value}");
            }
        }
    });
}
