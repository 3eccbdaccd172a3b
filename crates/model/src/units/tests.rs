use super::*;

#[test]
fn spans_are_read_as_nginx_reads_them() {
    for (text, ms) in
        [("10", 10_000), ("500ms", 500), ("1m30s", 90_000), ("1h 30m", 5_400_000), ("1M", 2_592_000_000)]
    {
        assert_eq!(text.parse::<Span>().unwrap().0, Duration::from_millis(ms), "{text}");
    }
    for text in ["", "s", "10x", "-1s", "1.5s", "99999999999999999999y"] {
        assert!(text.parse::<Span>().is_err(), "{text}");
    }
}

#[test]
fn sizes_are_powers_of_1024() {
    for (text, n) in [("0", 0), ("64k", 65_536), ("1M", 1 << 20), ("10MiB", 10 << 20), ("1g", 1 << 30)] {
        assert_eq!(text.parse::<Size>().unwrap().0, n, "{text}");
    }
    assert!(
        "1x".parse::<Size>().is_err()
            && "".parse::<Size>().is_err()
            && "99999999999999g".parse::<Size>().is_err()
    );
}

#[test]
fn amounts_are_written_as_they_are_read() {
    for text in ["0s", "10s", "500ms", "90s", "2d"] {
        assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
    }
    for text in ["0", "64k", "1m", "1023"] {
        assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
    }
}
