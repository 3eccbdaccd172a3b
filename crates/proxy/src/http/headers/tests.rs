use super::*;

fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().unwrap());
    }
    map
}

#[test]
fn what_is_about_the_services_connection_ends_here() {
    let mut headers = map(&[
        ("connection", "X-One, close"),
        ("connection", "x-two"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("keep-alive", "timeout=1"),
        ("transfer-encoding", "chunked"),
        ("x-kept", "3"),
        ("x-hidden", "4"),
    ]);
    from_service(&mut headers, &[HeaderName::from_static("x-hidden")]);
    assert_eq!(headers, map(&[("x-kept", "3")]));
}

#[test]
fn names_fold_as_cgi_folds_them() {
    let plain = HeaderName::from_static("x-real-ip");
    for (name, expected) in
        [("x-real-ip", true), ("x_real_ip", true), ("x-real_ip", true), ("x-realxip", false)]
    {
        assert_eq!(folds_to(&HeaderName::try_from(name).unwrap(), &plain), expected, "{name}");
    }
}

#[test]
fn tokens_are_found_in_lists_in_any_case() {
    let value = HeaderValue::from_static("keep-alive,  UPGRADE");
    assert!(has_token(&value, "upgrade"));
    assert!(!has_token(&value, "up"));
    assert!(!has_token(&HeaderValue::from_static(""), "upgrade"));
}

#[test]
fn a_line_break_never_gets_into_a_header() {
    assert_eq!(header_value("a\r\nSet-Cookie: x").unwrap(), "a  Set-Cookie: x");
}
