use super::*;

fn index(hosts: &[&[&str]], default: Option<usize>) -> HostIndex {
    let hosts: Vec<Host> = hosts
        .iter()
        .enumerate()
        .map(|(n, names)| Host {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            default: default == Some(n),
            ..Host::default()
        })
        .collect();
    HostIndex::new(&hosts)
}

fn found(index: &HostIndex, name: &str) -> usize {
    index.find(name).unwrap().host
}

#[test]
fn a_host_is_chosen_in_nginx_order() {
    let index = index(
        &[
            &["default.example"],
            &["~^www\\d*\\."],
            &["www.*"],
            &["*.example.com"],
            &["*.a.example.com"],
            &["www.example.com"],
            &[".dotted.example"],
            &["mail.www.*"],
            &["~^late"],
        ],
        None,
    );
    assert_eq!(found(&index, "www.example.com"), 5, "exact first");
    assert_eq!(found(&index, "x.a.example.com"), 4, "longest suffix");
    assert_eq!(found(&index, "x.y.a.example.com"), 4, "any depth");
    assert_eq!(found(&index, "b.example.com"), 3);
    assert_eq!(found(&index, "www.other.net"), 2, "a prefix before regular expressions");
    assert_eq!(found(&index, "mail.www.net"), 7, "longest prefix");
    assert_eq!(found(&index, "www7.net"), 1, "then the first regular expression");
    assert_eq!(found(&index, "late.net"), 8);
    assert_eq!(found(&index, "dotted.example"), 6);
    assert_eq!(found(&index, "x.dotted.example"), 6);
    assert_eq!(index.find("nobody.net"), Some(Found { host: 0, by_name: false }), "the first is the default");
    assert_eq!(found(&index, "example.com"), 0, "*.example.com is not example.com");
}

#[test]
fn a_marked_default_takes_what_no_host_has() {
    let index = index(&[&["a.example"], &["b.example"]], Some(1));
    assert_eq!(index.find("c.example"), Some(Found { host: 1, by_name: false }));
    assert_eq!(HostIndex::new(&[]).find("x"), None);
}

#[test]
fn the_first_host_keeps_a_name_that_two_have() {
    assert_eq!(found(&index(&[&["x"], &["a.example"], &["a.example"]], None), "a.example"), 1);
}

#[test]
fn an_authority_is_split_lower_cased_and_checked() {
    for (text, host, port) in [
        ("Example.COM", "example.com", None),
        ("example.com.", "example.com", None),
        ("example.com:8443", "example.com", Some(8443)),
        ("example.com:", "example.com", None),
        ("[::1]:443", "[::1]", Some(443)),
        ("127.0.0.1", "127.0.0.1", None),
        ("", "", None),
    ] {
        assert_eq!(split_authority(text), Ok((host.into(), port)), "{text}");
    }
    for text in [
        "a b",
        "user@host",
        "host/path",
        "a..b",
        ".a",
        "a:b",
        "a:99999",
        "[::1",
        "[::1]x",
        "a\0",
        "a\u{e9}",
        "a:1:2",
        "a,b",
        "[x]",
        "a?b",
        "a#b",
    ] {
        assert_eq!(split_authority(text), Err(HostError), "{text:?}");
    }
}
