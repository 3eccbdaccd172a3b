use super::*;

fn limited() -> Constraints {
    Constraints::permit_only(&["example.com".into()], &["10.0.0.0/8".parse().unwrap()]).unwrap()
}

#[test]
fn only_what_is_permitted_passes() {
    for good in ["example.com", "a.example.com", "*.example.com", "10.1.2.3"] {
        limited().check(&[AltName::guess(good).unwrap()], None, "CA").unwrap();
    }
    for bad in ["badexample.com", "example.com.org", "example.org", "11.0.0.1", "::1", "me@example.com"] {
        assert!(limited().check(&[AltName::guess(bad).unwrap()], None, "CA").is_err(), "{bad}");
    }
}

#[test]
fn a_kind_of_which_nothing_is_permitted_is_excluded() {
    let dns_only = Constraints::permit_only(&["example.com".into()], &[]).unwrap();
    assert!(dns_only.check(&[AltName::ip("10.0.0.1").unwrap()], None, "CA").is_err());
    let ip_only = Constraints::permit_only(&[], &["10.0.0.0/8".parse().unwrap()]).unwrap();
    assert!(ip_only.check(&[AltName::dns("example.com").unwrap()], None, "CA").is_err());
    assert!(Constraints::permit_only(&[], &[]).unwrap().is_empty());
}

#[test]
fn networks_are_checked() {
    for bad in ["10.0.0.1/8", "10.0.0.0/33", "x/8", "10.0.0.0/", "::1/64", "1.2.3.4/0"] {
        assert!(bad.parse::<Network>().is_err(), "{bad}");
    }
    for good in ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3", "fd00::/8", "::/0", "::1"] {
        good.parse::<Network>().unwrap();
    }
}

#[test]
fn a_common_name_that_looks_like_a_host_must_be_permitted_too() {
    let names = [AltName::dns("a.example.com").unwrap()];
    for good in [None, Some("a.example.com"), Some("web"), Some("The Web Server")] {
        limited().check(&names, good, "CA").unwrap();
    }
    for bad in ["bank.example.org", "11.0.0.1", "me@example.com"] {
        assert!(limited().check(&names, Some(bad), "CA").is_err(), "{bad}");
    }
}
