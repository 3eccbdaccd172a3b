//! Files: names, types, conditions, ranges, compression, folders, and no way out of the root.

use std::path::Path;

use serde_json::{Value, json};
use testkit::http_upstream::pattern;

use super::{Served, snapshot};

fn site(files: Value) -> (Served, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("sub/deep")).unwrap();
    std::fs::create_dir_all(root.join("empty")).unwrap();
    std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    std::fs::write(root.join("index.html"), "<p>index</p>").unwrap();
    std::fs::write(root.join("sub/index.html"), "<p>sub</p>").unwrap();
    std::fs::write(root.join("a.txt"), "0123456789").unwrap();
    std::fs::write(root.join("sp ace & é.bin"), "odd").unwrap();
    std::fs::write(root.join("large.css"), pattern(400_000)).unwrap();
    std::fs::write(root.join("pre.js"), "plain js").unwrap();
    std::fs::write(root.join("pre.js.gz"), "gzipped js").unwrap();
    std::fs::write(root.join("pre.js.br"), "brotli js").unwrap();
    std::os::unix::fs::symlink("../secret.txt", root.join("out.txt")).unwrap();
    std::os::unix::fs::symlink("a.txt", root.join("in.txt")).unwrap();
    let mut value = json!({"root": root});
    for (key, item) in files.as_object().unwrap() {
        value[key] = item.clone();
    }
    let routes = json!([
        {"path": "/", "files": value},
        {"path": "/img", "files": {"alias": format!("{}/sub/", root.display())}},
        {"path": "= /one", "files": {"alias": root.join("a.txt")}},
        {"path": "~ ^/re/(.*)$", "files": {"alias": format!("{}/$1", root.display())}},
        {"path": "@fallback", "respond": {"status": 202, "body": "fallback for $uri"}},
    ]);
    (Served::plain(snapshot(routes, &[])), folder)
}

#[test]
fn a_file_comes_with_its_type_length_and_validators() {
    let (served, _folder) = site(json!({}));
    let answer = served.get("/a.txt");
    assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(answer.header("content-length"), Some("10"));
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    assert!(answer.header("last-modified").unwrap().ends_with(" GMT"));
    assert!(answer.header("etag").unwrap().ends_with("-a\""));
    assert_eq!(served.get("/large.css").body, pattern(400_000));
    assert_eq!(
        served.get("/sp%20ace%20%26%20%C3%A9.bin").header("content-type"),
        Some("application/octet-stream")
    );
    let head = served.ask("HEAD", "/large.css", &[], "");
    assert_eq!((head.header("content-length"), head.body.len()), (Some("400000"), 0));
    assert_eq!(served.ask("POST", "/a.txt", &[], "x").status, 405);
    assert_eq!(served.get("/none").status, 404);
}

#[test]
fn conditions_are_decided_in_their_order() {
    let (served, _folder) = site(json!({}));
    let first = served.get("/a.txt");
    let (etag, date) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (headers, status) in [
        (vec![("If-None-Match", etag)], 304),
        (vec![("If-None-Match", "\"x\", W/\"y\"")], 200),
        (vec![("If-None-Match", "*")], 304),
        (vec![("If-Modified-Since", date)], 304),
        (vec![("If-Modified-Since", old)], 200),
        (vec![("If-None-Match", "\"x\""), ("If-Modified-Since", date)], 200),
        (vec![("If-Match", etag)], 200),
        (vec![("If-Match", "\"x\"")], 412),
        (vec![("If-Unmodified-Since", old)], 412),
        (vec![("If-Unmodified-Since", date)], 200),
    ] {
        let answer = served.ask("GET", "/a.txt", &headers, "");
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 304 {
            assert_eq!((answer.header("etag"), answer.body.len()), (Some(etag), 0));
        }
    }
}

#[test]
fn ranges_are_served_one_many_and_none() {
    let (served, _folder) = site(json!({}));
    let range = |value: &str| served.ask("GET", "/a.txt", &[("Range", value)], "");
    let one = range("bytes=2-4");
    assert_eq!((one.status, one.text().as_str()), (206, "234"));
    assert_eq!(
        (one.header("content-range"), one.header("content-length")),
        (Some("bytes 2-4/10"), Some("3"))
    );
    assert_eq!(range("bytes=-2").text(), "89");
    let none = range("bytes=10-");
    assert_eq!((none.status, none.header("content-range")), (416, Some("bytes */10")));
    let many = range("bytes=0-1,8-9");
    assert_eq!(many.status, 206);
    assert!(many.header("content-type").unwrap().starts_with("multipart/byteranges; boundary="));
    assert_eq!(many.header("content-length").unwrap(), many.body.len().to_string());
    let text = many.text();
    assert!(text.contains("Content-Range: bytes 0-1/10\r\n\r\n01\r\n"), "{text}");
    assert!(text.contains("Content-Range: bytes 8-9/10\r\n\r\n89\r\n--"), "{text}");
    assert_eq!(range("bytes=0-9,0-9").status, 200, "more than the whole is the whole");
    let etag = served.get("/a.txt").header("etag").unwrap().to_owned();
    for (if_range, status) in [(etag.as_str(), 206), ("\"old\"", 200), ("Sun, 06 Nov 1994 08:49:37 GMT", 200)]
    {
        let answer = served.ask("GET", "/a.txt", &[("Range", "bytes=0-0"), ("If-Range", if_range)], "");
        assert_eq!(answer.status, status, "{if_range}");
    }
}

#[test]
fn no_path_leads_out_of_the_root() {
    let (served, _folder) = site(json!({}));
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub/../../secret.txt",
        "/sub/..%2f..%2fsecret.txt",
        "/img../secret.txt",
        "/img../../secret.txt",
        "/img..%2f..%2fsecret.txt",
        "/a.txt%00.html",
        "/re/..%2fsecret.txt",
        "//../secret.txt",
        "/....//secret.txt",
    ] {
        let answer = served.get(path);
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.status);
        assert!(!answer.text().contains("secret"), "{path}");
    }
}

#[test]
fn links_out_of_the_root_are_followed_only_where_that_is_allowed() {
    let (served, _folder) = site(json!({}));
    assert_eq!(served.get("/out.txt").text(), "secret");
    let (served, _folder) = site(json!({"follow_links": false}));
    assert_eq!(served.get("/out.txt").status, 403);
    assert_eq!(served.get("/in.txt").text(), "0123456789", "links within are fine");
    assert_eq!(served.get("/sub/").text(), "<p>sub</p>");
}

#[test]
fn a_pipe_is_not_opened_for_ever() {
    let (served, folder) = site(json!({}));
    let pipe = folder.path().join("root/pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(served.get("/pipe").status, 403);
}

#[test]
fn folders_have_an_index_a_redirect_or_a_listing() {
    let (served, _folder) = site(json!({}));
    assert_eq!(served.get("/").text(), "<p>index</p>");
    let redirect = served.get("/sub?x=1");
    let port = served.addr.port();
    assert_eq!(
        (redirect.status, redirect.header("location").unwrap()),
        (301, format!("http://localhost:{port}/sub/?x=1").as_str())
    );
    assert_eq!(served.get("/empty/").status, 403);
    assert_eq!(served.get("/nothing/").status, 404);
    let (served, folder) = site(json!({"listing": true, "index": []}));
    std::fs::write(Path::new(folder.path()).join("root/<b>&.txt"), "x").unwrap();
    std::fs::write(Path::new(folder.path()).join("root/.hidden"), "x").unwrap();
    let listing = served.get("/").text();
    assert!(listing.contains("<a href=\"%3Cb%3E&.txt\">&lt;b&gt;&amp;.txt</a>"), "{listing}");
    assert!(listing.contains("<a href=\"sub/\">sub/</a>") && !listing.contains("hidden"), "{listing}");
}

#[test]
fn an_alias_replaces_the_prefix() {
    let (served, _folder) = site(json!({}));
    assert_eq!(served.get("/one").text(), "0123456789");
    assert_eq!(served.get("/img/index.html").text(), "<p>sub</p>");
    assert_eq!(served.get("/re/a.txt").text(), "0123456789");
}

#[test]
fn try_files_takes_the_first_that_exists_else_the_last() {
    let (served, _folder) = site(json!({"try_files": ["$uri", "$uri.txt", "$uri/", "@fallback"]}));
    assert_eq!(served.get("/a.txt").text(), "0123456789");
    assert_eq!(served.get("/a").text(), "0123456789");
    assert_eq!(served.get("/sub/").text(), "<p>sub</p>");
    let answer = served.get("/zzz");
    assert_eq!((answer.status, answer.text().as_str()), (202, "fallback for /zzz"));
    let (served, _folder) = site(json!({"try_files": ["$uri", "=410"]}));
    assert_eq!(served.get("/zzz").status, 410);
    let (served, _folder) = site(json!({"try_files": ["$uri", "/index.html?$args"]}));
    assert_eq!(served.get("/app/route?x=1").text(), "<p>index</p>");
    let (served, _folder) = site(json!({"try_files": ["$arg_file", "=404"]}));
    assert_eq!(served.get("/?file=/../secret.txt").status, 404);
}

#[test]
fn copies_that_are_compressed_already_are_preferred() {
    let (served, _folder) = site(json!({"precompressed": true}));
    let ask = |accept: &str| served.ask("GET", "/pre.js", &[("Accept-Encoding", accept)], "");
    let br = ask("gzip, br");
    assert_eq!((br.text().as_str(), br.header("content-encoding")), ("brotli js", Some("br")));
    assert_eq!(
        (br.header("content-type"), br.header("vary")),
        (Some("application/javascript"), Some("Accept-Encoding"))
    );
    assert_eq!(ask("gzip").text(), "gzipped js");
    let plain = ask("identity");
    assert_eq!((plain.text().as_str(), plain.header("vary")), ("plain js", Some("Accept-Encoding")));
    assert_eq!(
        served.ask("GET", "/a.txt", &[("Accept-Encoding", "br")], "").header("content-encoding"),
        None
    );
}

#[test]
fn answers_are_compressed_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("large.css"), pattern(400_000)).unwrap();
    std::fs::write(folder.path().join("small.css"), "a{}").unwrap();
    std::fs::write(folder.path().join("photo.jpg"), pattern(4000)).unwrap();
    let route = json!({"path": "/", "files": {"root": folder.path()}, "compression": {}});
    let served = Served::plain(snapshot(json!([route]), &[]));
    let ask = |path: &str, accept: &str| served.ask("GET", path, &[("Accept-Encoding", accept)], "");
    let gzip = ask("/large.css", "gzip");
    assert_eq!((gzip.header("content-encoding"), gzip.header("content-length")), (Some("gzip"), None));
    assert!(gzip.header("etag").unwrap().starts_with("W/"));
    let mut back = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip.body[..]), &mut back).unwrap();
    assert_eq!(back, pattern(400_000));
    assert_eq!(ask("/large.css", "br, gzip").header("content-encoding"), Some("br"));
    let plain = ask("/large.css", "identity");
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("Accept-Encoding")));
    assert_eq!(ask("/small.css", "gzip").header("content-encoding"), None);
    assert_eq!(ask("/photo.jpg", "gzip").header("content-encoding"), None);
    let ranged = served.ask("GET", "/large.css", &[("Accept-Encoding", "gzip"), ("Range", "bytes=0-9")], "");
    assert_eq!((ranged.status, ranged.header("content-encoding")), (206, None));
}

#[test]
fn expires_and_own_types_are_set() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.odd"), "x").unwrap();
    std::fs::write(folder.path().join("b"), "x").unwrap();
    let route = |path: &str, expires: Value| {
        json!({"path": path, "expires": expires, "files": {"alias": format!("{}/", folder.path().display()),
            "types": {"odd": "text/odd"}, "default_type": "text/dull"}})
    };
    let routes = json!([
        route("/in/", json!({"in": "1h"})),
        route("/epoch/", json!("epoch")),
        route("/max/", json!("max")),
        route("/past/", json!({"past": "1s"})),
    ]);
    let served = Served::plain(snapshot(routes, &[]));
    let hour = served.get("/in/a.odd");
    assert_eq!(
        (hour.header("content-type"), hour.header("cache-control")),
        (Some("text/odd"), Some("max-age=3600"))
    );
    assert_eq!(served.get("/in/b").header("content-type"), Some("text/dull"));
    assert_eq!(served.get("/epoch/b").header("expires"), Some("Thu, 01 Jan 1970 00:00:01 GMT"));
    assert_eq!(served.get("/max/b").header("cache-control"), Some("max-age=315360000"));
    assert_eq!(served.get("/past/b").header("cache-control"), Some("no-cache"));
    assert_eq!(served.get("/in/none").header("expires"), None, "not on errors");
}
