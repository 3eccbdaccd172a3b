//! Hosts, steps, fixed answers, error pages, headers, variables, logs.

use serde_json::json;
use testkit::http_upstream::HttpUpstream;

use super::{Served, snapshot};

#[test]
fn the_host_is_chosen_by_name() {
    let host = |name: &str, body: &str| json!({"names": [name], "routes": [{"path": "/", "respond": {"status": 200, "body": body}}]});
    let served = Served::plain(json!({"listeners": [{"hosts": [
        host("one.example", "one"), host("*.example", "any"), host("~^(?<who>.+)\\.regex$", "regex $who")]}]}));
    let ask = |name: &str| served.ask("GET", "/", &[("Host", name)], "").text();
    assert_eq!(ask("one.example"), "one");
    assert_eq!(ask("ONE.example.:80"), "one");
    assert_eq!(ask("two.example"), "any");
    assert_eq!(ask("bob.regex"), "regex bob");
    assert_eq!(ask("else"), "one");
}

#[test]
fn steps_rewrite_return_set_and_decide() {
    let app = HttpUpstream::start();
    let route = |path: &str, steps: serde_json::Value| json!({"path": path, "steps": steps, "proxy": {"service": "app"}});
    let rewrite =
        |regex: &str, to: &str, then: &str| json!({"rewrite": {"regex": regex, "to": to, "then": then}});
    let routes = json!([
        route("/last", json!([rewrite("^/last/(.*)$", "/found/$1", "last")])),
        route("/break", json!([rewrite("^/break/(.*)$", "/found/$1?new=1", "break")])),
        route("/drop", json!([rewrite("^/drop", "/dropped?", "break")])),
        route("/moved", json!([rewrite("^/moved/(.*)$", "/there/$1", "permanent")])),
        route("/away", json!([rewrite("^/away$", "http://other.example/$http_x", "next")])),
        route("/loop", json!([rewrite("^", "/loop", "last")])),
        route("/climb", json!([rewrite("^/climb(.*)$", "/x/$1", "break")])),
        route("/if", json!([
            {"set": {"variable": "kind", "value": "plain"}},
            {"if": {"condition": {"equals": ["$request_method", "POST"]}, "then": [{"set": {"variable": "kind", "value": "post"}}]}},
            {"if": {"condition": {"matches": {"value": "$http_user_agent", "regex": "curl/(?<v>\\d+)", "case": false, "not": false}},
                "then": [{"respond": {"status": 403, "body": "no curl $v$1"}}]}},
            {"respond": {"status": 200, "body": "$kind"}},
        ])),
        {"path": "/found", "respond": {"status": 200, "body": "found $uri $request_uri"}},
    ]);
    let served = Served::plain(snapshot(routes, &[app.addr()]));
    assert_eq!(served.get("/last/a%20b?q=1").text(), "found /found/a b /last/a%20b?q=1");
    assert_eq!(served.get("/break/x?q=1").seen().path, "/found/x?new=1&q=1");
    assert_eq!(served.get("/drop?q=1").seen().path, "/dropped");
    let moved = served.get("/moved/a?q=1");
    assert_eq!(moved.status, 301);
    assert!(moved.header("location").unwrap().ends_with("/there/a?q=1"), "{moved:?}");
    let away = served.ask("GET", "/away", &[("X", "a b")], "");
    assert_eq!((away.status, away.header("location")), (302, Some("http://other.example/a%20b")));
    assert_eq!(served.get("/loop").status, 500, "at most ten times");
    assert_eq!(served.get("/climb../../../etc/passwd").status, 400);
    assert_eq!(served.get("/if").text(), "plain");
    assert_eq!(served.ask("POST", "/if", &[], "x").text(), "post");
    let refused = served.ask("GET", "/if", &[("User-Agent", "Curl/8")], "");
    assert_eq!((refused.status, refused.text().as_str()), (403, "no curl 88"));
}

#[test]
fn fixed_answers_and_redirects() {
    let routes = json!([
        {"path": "= /text", "respond": {"status": 200, "body": "hello $arg_name", "content_type": "text/html"}},
        {"path": "= /to", "respond": {"status": 308, "body": "https://$host$request_uri"}},
        {"path": "= /split", "respond": {"status": 302, "body": "https://x/$uri"}},
        {"path": "~ ^/crlf", "respond": {"status": 302, "body": "https://x$uri"}},
        {"path": "= /cut", "respond": {"status": 444}},
        {"path": "= /gone", "respond": {"status": 410}},
    ]);
    let served = Served::plain(snapshot(routes, &[]));
    let text = served.get("/text?name=bob");
    assert_eq!((text.text().as_str(), text.header("content-type")), ("hello bob", Some("text/html")));
    let to = served.get("/to?x");
    assert_eq!((to.status, to.header("location")), (308, Some("https://localhost/to?x")));
    let crlf = served.get("/crlf%0d%0aSet-Cookie:%20a=b");
    assert_eq!(crlf.header("location"), Some("https://x/crlf%0D%0ASet-Cookie:%20a=b"));
    assert_eq!(crlf.header("set-cookie"), None);
    assert_eq!(served.raw("GET /cut HTTP/1.1\r\nHost: localhost\r\n\r\n"), "");
    assert!(served.get("/gone").text().contains("<h1>410 Gone</h1>"));
}

#[test]
fn plain_text_is_redirected_to_https_and_hsts_is_sent_over_tls() {
    let value = json!({"listeners": [{"hosts": [{"names": ["localhost"], "redirect_to_https": true, "hsts": "1y",
        "routes": [{"path": "/", "respond": {"status": 200, "body": "in"}}]}]}]});
    let served = Served::plain(value.clone());
    let answer = served.get("/a?b");
    assert_eq!((answer.status, answer.header("location")), (301, Some("https://localhost/a?b")));
    assert_eq!(answer.header("strict-transport-security"), None);
    let served = Served::tls(value, Default::default());
    let answer = served.get("/a?b");
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, Some("max-age=31536000")));
}

#[test]
fn headers_are_added_on_good_answers_and_with_always_on_errors() {
    let app = HttpUpstream::start();
    let headers = json!([{"name": "X-Good", "value": "$status"}, {"name": "X-Always", "value": "1", "always": true}, {"name": "X-Empty", "value": "$arg_none"}]);
    let routes = json!([{"path": "/", "response_headers": headers, "proxy": {"service": "app", "hide_headers": ["X-Hidden"]}}]);
    let served = Served::plain(snapshot(routes, &[app.addr()]));
    let good = served.get("/status/201");
    assert!(
        good.header("x-good").is_some()
            && good.header("x-always").is_some()
            && good.header("x-empty").is_none()
    );
    let bad = served.get("/status/500");
    assert!(bad.header("x-good").is_none() && bad.header("x-always").is_some());
}

#[test]
fn errors_lead_to_their_pages() {
    let app = HttpUpstream::start();
    let page = |statuses: &[u16], to: &str, status: Option<u16>| json!({"statuses": statuses, "to": to, "status": status});
    let mut value = snapshot(
        json!([
            {"path": "= /404.html", "internal": true, "respond": {"status": 200, "body": "page for $request_uri"}},
            {"path": "= /missing", "respond": {"status": 404}},
            {"path": "= /ok", "respond": {"status": 403}},
            {"path": "= /away", "respond": {"status": 402}},
            {"path": "= /named", "respond": {"status": 405}},
            {"path": "= /again", "respond": {"status": 409}},
            {"path": "@other", "respond": {"status": 200, "body": "other $uri"}},
            {"path": "/status", "proxy": {"service": "app", "intercept_errors": true}},
            {"path": "/bytes", "proxy": {"service": "app"}},
        ]),
        &[app.addr()],
    );
    value["listeners"][0]["hosts"][0]["error_pages"] = json!([
        page(&[404], "/404.html", None),
        page(&[403], "/404.html", Some(200)),
        page(&[402], "https://other.example/", None),
        page(&[405], "@other", Some(0)),
        page(&[409], "/no-such-page", None),
    ]);
    let served = Served::plain(value);
    let answer = served.get("/missing");
    assert_eq!((answer.status, answer.text().as_str()), (404, "page for /missing"));
    assert_eq!(served.get("/nowhere").text(), "page for /nowhere");
    for path in ["/404.html", "/./404.html", "//404.html", "/%34%30%34.html"] {
        assert_eq!(served.get(path).text(), "page for ".to_owned() + path, "internal");
        assert_eq!(served.get(path).status, 404, "internal");
    }
    assert_eq!(served.get("/ok").status, 200);
    let away = served.get("/away");
    assert_eq!((away.status, away.header("location")), (302, Some("https://other.example/")));
    let named = served.get("/named");
    assert_eq!((named.status, named.text().as_str()), (200, "other /named"));
    assert_eq!(served.get("/again").status, 404, "a page that is missing shows its own error, once");
    assert_eq!(served.get("/status/404").text(), "page for /status/404");
    assert_eq!(served.get("/status/503").text(), "status 503\n", "no page for it");
}

#[test]
fn maps_look_variables_up() {
    let mut value = snapshot(json!([{"path": "/", "respond": {"status": 200, "body": "$kind/$again"}}]), &[]);
    value["maps"] = json!([
        {"variable": "kind", "source": "$host", "hostnames": true, "default": "none",
            "entries": [["a.example", "exact"], ["*.example", "suffix"], ["www.*", "prefix"], ["~^(\\w+)\\.re$", "regex $1"]]},
        {"variable": "again", "source": "$kind", "entries": [["EXACT", "yes"]], "default": "no"},
    ]);
    let served = Served::plain(value);
    for (host, expected) in [
        ("a.example", "exact/yes"),
        ("b.c.example", "suffix/no"),
        ("www.x", "prefix/no"),
        ("bob.re", "regex bob/no"),
        ("z", "none/no"),
    ] {
        assert_eq!(served.ask("GET", "/", &[("Host", host)], "").text(), expected, "{host}");
    }
}

#[test]
fn a_service_may_be_chosen_by_a_variable_but_never_an_address() {
    let app = HttpUpstream::start();
    let routes = json!([{"path": "/", "proxy": {"service": "$arg_to"}}]);
    let served = Served::plain(snapshot(routes, &[app.addr()]));
    assert_eq!(served.get("/?to=app").status, 200);
    let before = app.counters().connections();
    assert_eq!(served.get(&format!("/?to={}", app.addr())).status, 502);
    assert_eq!(app.counters().connections(), before);
}

#[test]
fn every_request_has_one_log_line_in_the_form_that_was_asked_for() {
    let app = HttpUpstream::start();
    let folder = tempfile::tempdir().unwrap();
    let (nginx, jsons) = (folder.path().join("nginx.log"), folder.path().join("json.log"));
    let mut value = snapshot(
        json!([
            {"path": "/n", "proxy": {"service": "app", "rewrite": {"prefix": "/"}}, "access_log": {"format": {"template":
                "$remote_addr [$time_local] \"$request\" $status $body_bytes_sent \"$http_user_agent\" $upstream_status $sent_http_content_type"}, "to": {"file": nginx}}},
            {"path": "/", "proxy": {"service": "app"}, "access_log": {"to": {"file": jsons}}},
        ]),
        &[app.addr()],
    );
    value["access_log"] = json!({"to": "off"});
    let served = Served::plain(value);
    served.ask("GET", "/n", &[("User-Agent", "a\"b\\")], "");
    served.get("/bytes/7");
    std::thread::sleep(std::time::Duration::from_millis(200));
    let line = std::fs::read_to_string(nginx).unwrap();
    assert!(line.starts_with("127.0.0.1 [") && line.contains("\"GET /n HTTP/1.1\" 200 "), "{line}");
    assert!(line.contains("\"a\\x22b\\x5C\"") || line.contains("400"), "{line}");
    assert!(line.trim_end().ends_with("200 application/json"), "{line}");
    let text = std::fs::read_to_string(jsons).unwrap();
    let json: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(
        (json["status"].as_u64(), json["bytes"].as_u64(), json["path"].as_str()),
        (Some(200), Some(7), Some("/bytes/7"))
    );
    assert_eq!(json["upstream"].as_str(), Some(app.addr().to_string().as_str()));
    let metrics = served.metrics.text();
    assert!(
        metrics.contains("handfast_http_requests_total{listener=\"test\",service=\"app\",code=\"2xx\"} 2"),
        "{metrics}"
    );
}
