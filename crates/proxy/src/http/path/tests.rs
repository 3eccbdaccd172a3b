use super::*;

fn path(raw: &str) -> String {
    shown(&normalize(raw).unwrap().path).into_owned()
}

#[test]
fn a_plain_path_is_borrowed_as_it_is() {
    let normalized = normalize("/a/b.c/d").unwrap();
    assert!(matches!(normalized.path, Cow::Borrowed("/a/b.c/d")));
    assert!(!normalized.dotted);
}

#[test]
fn slashes_merge_and_dots_resolve_as_nginx_does() {
    for (raw, expected) in [
        ("/", "/"),
        ("//", "/"),
        ("/a//b", "/a/b"),
        ("/a///", "/a/"),
        ("/./a", "/a"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/../b", "/b"),
        ("/a/b/../../c/", "/c/"),
        ("/%61", "/a"),
        ("/a%2Fb", "/a/b"),
        ("/a%2fb", "/a/b"),
        ("/a%2F%2e%2E%2Fb", "/b"),
        ("/a/%2e%2e/b", "/b"),
        ("/..a/.b", "/..a/.b"),
        ("/a%20b", "/a b"),
        ("/caf%C3%A9", "/café"),
        ("/x%FFy", "/x%FFy"),
        ("/%252e%252e/a", "/%2e%2e/a"),
        ("/...", "/..."),
    ] {
        assert_eq!(path(raw), expected, "{raw}");
    }
}

#[test]
fn a_path_that_leaves_the_root_or_is_ambiguous_is_refused() {
    for (raw, why) in [
        ("/..", PathError::Escapes),
        ("/a/../..", PathError::Escapes),
        ("/%2e%2e/etc/passwd", PathError::Escapes),
        ("/..%2f..%2fetc", PathError::Escapes),
        ("/a/..//../..", PathError::Escapes),
        ("/%", PathError::Escape),
        ("/%2", PathError::Escape),
        ("/%zz", PathError::Escape),
        ("/%+1", PathError::Escape),
        ("/a%00.txt", PathError::Nul),
        ("a", PathError::Relative),
        ("", PathError::Relative),
        ("/open/..;/admin", PathError::Ambiguous),
        ("/open/..%3b/admin", PathError::Ambiguous),
        ("/open/..%5cadmin", PathError::Ambiguous),
        ("/open/x%5c..%5cadmin", PathError::Ambiguous),
    ] {
        assert_eq!(normalize(raw), Err(why), "{raw}");
    }
}

#[test]
fn dot_segments_are_reported_so_that_the_raw_path_never_goes_upstream() {
    assert!(normalize("/admin%2F..%2Fopen").unwrap().dotted);
    assert!(normalize("/a/./b").unwrap().dotted);
    assert!(!normalize("/group%2Fproject").unwrap().dotted);
    assert!(!normalize("//a").unwrap().dotted);
}

#[test]
fn a_normalized_path_is_a_fixed_point_once_encoded() {
    proptest::proptest!(|(raw in "/[a-z./%;~]{0,20}")| {
        if let Ok(normalized) = normalize(&raw) {
            assert!(normalized.path.starts_with('/'));
            assert!(!normalized.path.split('/').any(|s| s == ".."), "{raw} -> {}", normalized.path);
            let encoded = encode(&normalized.path).into_owned();
            assert_eq!(normalize(&encoded).unwrap().path, normalized.path);
        }
    });
}

#[test]
fn encoding_keeps_the_meaning_of_a_path() {
    assert_eq!(encode("/a b/?#%é"), "/a%20b/%3F%23%25%C3%A9");
    assert_eq!(encode_location("https://x/a b\r\nSet-Cookie: x"), "https://x/a%20b%0D%0ASet-Cookie:%20x");
    assert_eq!(encode_component("-----BEGIN C\n+/="), "-----BEGIN%20C%0A%2B%2F%3D");
}

#[test]
fn bytes_that_are_not_text_go_through_unchanged_and_are_nobody_elses_path() {
    let of = |raw: &str| normalize(raw).unwrap().path.into_owned();
    let latin = of("/n/%e9");
    assert_eq!((encode(&latin).as_ref(), shown(&latin).as_ref()), ("/n/%E9", "/n/%E9"));
    assert_eq!(&*bytes(&latin), b"/n/\xe9");
    assert_eq!(encode_location(&latin), "/n/%E9");
    // Neither the escape as text nor the character that stands for the byte is the same path.
    assert_ne!(of("/n/%25E9"), latin);
    assert_eq!(encode(&of("/n/%25E9")), "/n/%25E9");
    for written in ["/n/%F4%8F%BF%A9", "/n/\u{10FFE9}"] {
        assert_ne!(of(written), latin);
        assert_eq!(encode(&of(written)), "/n/%F4%8F%BF%A9", "{written}");
        assert_eq!(&*bytes(&of(written)), "/n/\u{10FFE9}".as_bytes());
    }
    assert_eq!(encode(&of("/%F4%80%80%80")), "/%F4%80%80%80");
    assert_eq!(normalize_decoded(&format!("{latin}/../x")).unwrap(), "/n/x");
}
