use super::*;

fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut builder = http::Request::builder().method(method).uri(target).version(Version::HTTP_11);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn status(method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
    match check(&parts(method, target, headers), &Pulse::default(), 100) {
        Ok(_) => 200,
        Err(refused) => refused.status,
    }
}

#[test]
fn a_request_names_one_host() {
    for (headers, target, expected) in [
        (&[("host", "a.example")][..], "/", 200),
        (&[("host", "a.example"), ("host", "a.example")][..], "/", 400),
        (&[("host", "a.example"), ("host", "b.example")][..], "/", 400),
        (&[][..], "/", 400),
        (&[("host", "a b")][..], "/", 400),
        (&[("host", "user@a.example")][..], "/", 400),
        (&[("host", "a.example")][..], "http://a.example/", 200),
        (&[("host", "A.example:80")][..], "http://a.example:80/", 200),
        (&[("host", "b.example")][..], "http://a.example/", 400),
        (&[("host", "")][..], "http://a.example/", 400),
    ] {
        assert_eq!(status("GET", target, headers), expected, "{target} {headers:?}");
    }
}

#[test]
fn http_1_0_needs_no_host() {
    let mut parts = parts("GET", "/", &[]);
    parts.version = Version::HTTP_10;
    assert_eq!(check(&parts, &Pulse::default(), 100).unwrap().authority, "");
}

#[test]
fn transfer_codings_other_than_chunked_are_refused() {
    let host = ("host", "a");
    assert_eq!(status("POST", "/", &[host, ("transfer-encoding", "chunked")]), 200);
    assert_eq!(status("POST", "/", &[host, ("transfer-encoding", "Chunked")]), 200);
    for wrong in ["gzip, chunked", "chunked, chunked", "xchunked", "identity", "chunked;q=1", "\x0bchunked"] {
        let Ok(value) = http::HeaderValue::from_bytes(wrong.as_bytes()) else { continue };
        let mut parts = parts("POST", "/", &[host]);
        parts.headers.insert(header::TRANSFER_ENCODING, value);
        assert_eq!(check(&parts, &Pulse::default(), 100).unwrap_err().status, 501, "{wrong:?}");
    }
    let twice = [host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
    assert_eq!(status("POST", "/", &twice), 501);
    assert_eq!(status("POST", "/", &[host, ("transfer-encoding", "chunked"), ("content-length", "1")]), 400);
}

#[test]
fn a_length_that_the_parser_dropped_is_refused_all_the_same() {
    let pulse = Pulse::default();
    pulse.ambiguous.store(true, Relaxed);
    let parts = parts("POST", "/", &[("host", "a"), ("transfer-encoding", "chunked")]);
    assert_eq!(check(&parts, &pulse, 100).unwrap_err().status, 400);
}

#[test]
fn paths_come_out_in_their_one_form() {
    let accepted = |target| check(&parts("GET", target, &[("host", "a")]), &Pulse::default(), 100);
    assert_eq!(accepted("/a/b?c=../x").unwrap().path, None);
    let dotted = accepted("/a%2F..%2Fb").unwrap();
    assert_eq!((dotted.path.as_deref(), dotted.dotted), (Some("/b"), true));
    assert_eq!(accepted("/../etc").unwrap_err().status, 400);
    assert_eq!(accepted("/a%00b").unwrap_err().status, 400);
}

#[test]
fn connect_trace_and_too_many_headers_are_refused() {
    assert_eq!(status("CONNECT", "a.example:443", &[("host", "a.example:443")]), 405);
    assert_eq!(status("TRACE", "/", &[("host", "a")]), 405);
    let many: Vec<(String, String)> = (0..100).map(|n| (format!("x-{n}"), "1".to_owned())).collect();
    let mut headers: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    headers.push(("host", "a"));
    assert_eq!(status("GET", "/", &headers), 431);
}
