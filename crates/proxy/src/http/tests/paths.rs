//! Paths on their way: what they mean to files and routes, whatever bytes they are made of.

use std::os::unix::ffi::OsStrExt as _;

use serde_json::json;
use testkit::http_upstream::HttpUpstream;

use super::{Served, snapshot};

#[test]
fn a_file_whose_name_is_not_utf8_is_found() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.txt")), "latin").unwrap();
    std::fs::write(folder.path().join("caf%E9.txt"), "escape").unwrap();
    let routes = json!([
        {"path": "/", "files": {"root": folder.path(), "try_files": ["$uri", "=404"]}},
        {"path": "/re/", "steps": [{"rewrite": {"regex": "^/re/(.*)$", "to": "/$1", "then": "last"}}],
         "respond": {"status": 500}},
        {"path": "/shown/", "respond": {"status": 200, "body": "$uri"}},
    ]);
    let served = Served::plain(snapshot(routes, &[]));
    for path in ["/caf%e9.txt", "/caf%E9.txt", "/re/caf%e9.txt"] {
        let answer = served.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (200, "latin"), "{path}");
    }
    assert_eq!(served.get("/caf%25E9.txt").text(), "escape");
    assert_eq!(served.get("/shown/%e9").text(), "/shown/%E9");
}

#[test]
fn a_prefix_of_an_alias_ends_where_a_name_ends_unless_it_is_glued() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["www", "www-private"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("key"), name).unwrap();
    }
    let www = folder.path().join("www");
    let routes = json!([
        {"path": "/st", "files": {"alias": www}},
        {"path": "/sl/", "files": {"alias": www}},
        {"path": "/gl", "files": {"alias": www, "glued": true}},
    ]);
    let served = Served::plain(snapshot(routes, &[]));
    assert_eq!(served.get("/st/key").text(), "www");
    assert_eq!(served.get("/sl/key").text(), "www");
    assert_eq!(served.get("/gl-private/key").text(), "www-private");
    for path in ["/st-private/key", "/sl/-private/key", "/st/../st-private/key", "/st%2Dprivate/key"] {
        assert_eq!(served.get(path).status, 404, "{path}");
    }
}

#[test]
fn routes_of_one_path_answer_their_methods_with_their_own_guards() {
    let app = HttpUpstream::start();
    let routes = json!([
        {"path": "/x", "methods": ["GET"], "respond": {"status": 200, "body": "read"}},
        {"path": "/x", "methods": ["POST"], "addresses": [{"deny": "all"}], "proxy": {"service": "app"}},
        {"path": "/x", "methods": ["PUT"], "proxy": {"service": "app"}},
    ]);
    let served = Served::plain(snapshot(routes, &[app.addr()]));
    assert_eq!(served.get("/x").text(), "read");
    assert_eq!(served.ask("POST", "/x", &[], "a").status, 403);
    assert_eq!(served.ask("PUT", "/x", &[], "a").status, 200);
    assert_eq!(served.ask("DELETE", "/x", &[], "").status, 405);
    assert_eq!(app.asked().len(), 1);
}

#[test]
fn a_question_mark_that_a_request_brings_stays_in_its_path() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("a?b")).unwrap();
    std::fs::write(folder.path().join("a?b/index.html"), "asked").unwrap();
    let routes = json!([
        {"path": "/", "files": {"root": folder.path()}},
        {"path": "/try/", "files": {"root": folder.path(), "try_files": ["/none", "/shown$uri?own=$arg_x"]}},
        {"path": "/shown/", "respond": {"status": 200, "body": "$uri $args"}},
    ]);
    let served = Served::plain(snapshot(routes, &[]));
    assert_eq!(served.get("/a%3Fb/").text(), "asked");
    assert_eq!(served.get("/try/a%3Fx=2?x=1").text(), "/shown/try/a?x=2 own=1");
}
