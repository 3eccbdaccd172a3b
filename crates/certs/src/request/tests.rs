use proptest::prelude::*;

use super::*;

#[test]
fn dns_names_are_checked_and_lowered() {
    assert_eq!(AltName::dns("Web.Example.COM").unwrap(), AltName::Dns("web.example.com".into()));
    AltName::dns("*.example.com").unwrap();
    AltName::dns("localhost").unwrap();
    let long = "a".repeat(64);
    for bad in [
        "",
        "*",
        "*.com",
        "a..b",
        "a.",
        ".a",
        "-a.b",
        "a-.b",
        "a b",
        "ü.de",
        "a.*.b",
        "1.2.3.4",
        "a/b",
        long.as_str(),
    ] {
        assert!(AltName::dns(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn other_names_are_checked() {
    AltName::uri("https://example.com/x").unwrap();
    AltName::uri("spiffe://cluster.local/ns/a/sa/b").unwrap();
    AltName::email("a.b+c@example.com").unwrap();
    for bad in ["spiffe://X/y", "spiffe:x", "nothing", "http:", "1x://y", "a b://c", "urn:\u{7f}"] {
        assert!(AltName::uri(bad).is_err(), "{bad:?}");
    }
    for bad in ["@x.de", "a@", "a@*.de", "a b@c.de", "a@b@c.de"] {
        assert!(AltName::email(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_request_without_names_or_with_two_identities_is_refused() {
    assert!(Request::new("web").check().is_err());
    let two = Request::new("web")
        .with(AltName::uri("spiffe://a/b").unwrap())
        .with(AltName::uri("spiffe://a/c").unwrap());
    assert!(two.check().is_err());
    let short = Request::new("web").with(AltName::dns("web").unwrap()).lifetime(Duration::seconds(59));
    assert!(short.check().is_err());
}

#[test]
fn usage_follows_from_the_names() {
    let of = |text: &str| Usage::of_names(&[AltName::guess(text).unwrap()]);
    assert_eq!(of("spiffe://a/b"), Usage::Both);
    assert_eq!(of("web.test"), Usage::Server);
    assert_eq!(of("::1"), Usage::Server);
    assert_eq!(of("me@web.test"), Usage::Client);
}

#[test]
fn a_name_never_leads_out_of_its_folder() {
    for bad in ["", "..", "../x", "a/b", ".hidden", "-rf", "a\0b", "a b", "a\nb"] {
        assert!(check_file_name(bad).is_err(), "{bad:?}");
    }
    check_file_name("web.example.com").unwrap();
}

proptest! {
    #[test]
    fn every_accepted_name_is_written_and_read_back(text in "\\PC{0,40}") {
        if let Ok(name) = AltName::guess(&text) {
            prop_assert_eq!(name.to_string().parse::<AltName>().unwrap(), name);
        }
    }
}
