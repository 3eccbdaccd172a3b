//! Who may use a route: addresses, passwords, rates, numbers, sizes, methods, certificates.

use std::time::{Duration, Instant};

use model::peer::{Peer, Verification};
use serde_json::json;
use testkit::http_upstream::HttpUpstream;
use testkit::pki::{Authority, Pki};

use super::{FakeTls, Served, snapshot};

pub(super) fn ok(path: &str) -> serde_json::Value {
    json!({"path": path, "respond": {"status": 200, "body": "in"}})
}

fn with(path: &str, more: serde_json::Value) -> serde_json::Value {
    let mut route = json!({"path": path});
    for (key, value) in more.as_object().unwrap() {
        route[key] = value.clone();
    }
    route
}

#[test]
fn addresses_are_allowed_and_denied_in_order() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), "in").unwrap();
    let files = json!({"alias": folder.path().join("f")});
    let routes = json!([
        with("= /a", json!({"addresses": [{"allow": "127.0.0.0/8"}, {"deny": "all"}], "files": files})),
        with("= /b", json!({"addresses": [{"deny": "127.0.0.1"}, {"allow": "all"}], "files": files})),
        with("= /c", json!({"addresses": [{"allow": "10.0.0.0/8"}, {"deny": "all"}], "files": files})),
        with("= /d", json!({"addresses": [{"allow": "10.0.0.0/8"}], "files": files})),
    ]);
    let mut snapshot = snapshot(routes, &[]);
    snapshot["access_log"] = json!({"to": "off"});
    let served = Served::plain(snapshot);
    for (path, status) in [("/a", 200), ("/b", 403), ("/c", 403), ("/d", 200)] {
        assert_eq!(served.get(path).status, status, "{path}");
    }
    assert!(served.metrics.text().contains("reason=\"address_denied\"} 2"), "{}", served.metrics.text());
}

#[test]
fn a_password_opens_the_route() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("htpasswd");
    std::fs::write(&users, "bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    std::fs::write(folder.path().join("f"), "in").unwrap();
    let route = with(
        "= /f",
        json!({
        "basic_auth": {"realm": "my \"realm\"", "users": users},
        "files": {"alias": folder.path().join("f")}}),
    );
    let served = Served::plain(snapshot(json!([route]), &[]));
    let none = served.get("/f");
    assert_eq!(
        (none.status, none.header("www-authenticate")),
        (401, Some("Basic realm=\"my \\\"realm\\\"\""))
    );
    // bob:secret and bob:wrong
    assert_eq!(served.ask("GET", "/f", &[("Authorization", "Basic Ym9iOnNlY3JldA==")], "").status, 200);
    assert_eq!(served.ask("GET", "/f", &[("Authorization", "Basic Ym9iOndyb25n")], "").status, 401);
    assert!(served.metrics.text().contains("reason=\"credentials_denied\"} 1"));
    assert!(served.log(2).iter().any(|line| line.contains("\"user\":\"bob\"")));
}

#[test]
fn a_rate_is_kept_and_bursts_are_delayed() {
    let app = HttpUpstream::start();
    let limit = |burst: u32, nodelay: bool, zone: &str| json!([{"zone": zone, "key": "$remote_addr", "milli_per_second": 10_000, "burst": burst, "nodelay": nodelay, "status": 429}]);
    let routes = json!([
        {"path": "/strict", "rate_limits": limit(0, false, "rate-a"), "proxy": {"service": "app"}},
        {"path": "/burst", "rate_limits": limit(3, false, "rate-b"), "proxy": {"service": "app"}},
    ]);
    let served = Served::plain(snapshot(routes, &[app.addr()]));
    assert_eq!(served.get("/strict").status, 200);
    assert_eq!(served.get("/strict").status, 429);
    let started = Instant::now();
    let statuses: Vec<u16> = (0..3).map(|_| served.get("/burst").status).collect();
    assert_eq!(statuses, [200, 200, 200]);
    assert!(started.elapsed() > Duration::from_millis(150), "{:?}", started.elapsed());
}

#[test]
fn requests_at_one_time_are_limited_until_they_end() {
    let app = HttpUpstream::start();
    let limits = json!([{"zone": "conn-a", "key": "$server_name", "most": 1, "status": 503}]);
    let routes = json!([{"path": "/", "connection_limits": limits, "proxy": {"service": "app"}}]);
    let served = Served::plain(snapshot(routes, &[app.addr()]));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| served.get("/slow/500").status);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(served.get("/").status, 503);
        assert_eq!(slow.join().unwrap(), 200);
    });
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(served.get("/").status, 200);
}

#[test]
fn a_body_that_is_too_large_is_413_announced_or_not() {
    let app = HttpUpstream::start();
    let routes = json!([
        {"path": "/body", "body_bytes": "1k", "proxy": {"service": "app"}},
        {"path": "/free", "body_bytes": 0, "proxy": {"service": "app", "rewrite": {"prefix": "/body"}}},
    ]);
    let served = Served::plain(snapshot(routes, &[app.addr()]));
    assert_eq!(served.ask("POST", "/body", &[], &"a".repeat(1024)).status, 200);
    assert_eq!(served.ask("POST", "/body", &[], &"a".repeat(1025)).status, 413);
    let chunk = format!("400\r\n{}\r\n", "a".repeat(1024));
    let chunked = format!(
        "POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    assert!(served.raw(&chunked).starts_with("HTTP/1.1 413"), "{}", served.raw(&chunked));
    assert_eq!(served.ask("POST", "/free", &[], &"a".repeat(2_000_000)).body.len(), 2_000_000);
    assert_eq!(
        app.asked().iter().filter(|asked| asked.path == "/body" && asked.body_bytes > 1024).count(),
        1
    );
}

#[test]
fn other_methods_are_405() {
    let served = Served::plain(snapshot(
        json!([{"path": "/", "methods": ["GET", "HEAD"], "respond": {"status": 200, "body": "in"}}]),
        &[],
    ));
    assert_eq!(served.get("/").status, 200);
    assert_eq!(served.ask("DELETE", "/", &[], "").status, 405);
}

pub(super) fn peer(verification: Verification, chain: Vec<Vec<u8>>) -> Peer {
    Peer {
        verification,
        subject: "CN=bob".into(),
        issuer: "CN=ca".into(),
        serial: "01".into(),
        dns: vec!["bob.example".into()],
        uris: vec![],
        emails: vec![],
        sha256: "00".repeat(32),
        sha1: "00".repeat(20),
        not_before: 0,
        not_after: 4_000_000_000,
        chain: chain.into(),
    }
}

/// An authority: its file, and the chain of a client of it.
pub(super) struct Trust {
    folder: tempfile::TempDir,
    pub(super) chain: Vec<Vec<u8>>,
}

impl Trust {
    pub(super) fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Authority::root(name);
        std::fs::write(folder.path().join("ca.pem"), root.pem()).unwrap();
        Self { folder, chain: root.client("bob", "bob", |_| {}).chain }
    }

    pub(super) fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }
}

#[test]
fn each_path_may_trust_another_authority() {
    let (pki, other) = (Trust::new("one"), Trust::new("two"));
    let app = HttpUpstream::start();
    let refused = |status: u16| json!({"status": status});
    let routes = json!([
        ok("= /open"),
        {"path": "/one", "clients": {"ca": [pki.file()]}, "proxy": {"service": "app", "identity": "xfcc"}},
        {"path": "/two", "clients": {"ca": [other.file()], "refuse": refused(418)}, "proxy": {"service": "app"}},
        {"path": "/optional", "clients": {"ca": [other.file()], "mode": "optional-no-ca"},
            "proxy": {"service": "app", "identity": "nginx"}},
    ]);
    let chain = pki.chain.clone();
    let known = FakeTls { peer: Some(peer(Verification::Unverified, chain)), ..FakeTls::default() };
    let served = Served::tls(snapshot(routes.clone(), &[app.addr()]), known);
    assert_eq!(served.get("/open").status, 200);
    let seen = served.get("/one").seen();
    assert!(seen.header("x-forwarded-client-cert")[0].contains("DNS=bob.test"), "{seen:?}");
    assert_eq!(served.get("/two").status, 418, "another path's authority is not this one's");
    assert_eq!(
        served.get("/one/..%2Ftwo").status,
        418,
        "the path that is served is the path that is asked about"
    );
    let seen = served.get("/optional").seen();
    assert!(seen.header("x-ssl-client-verify")[0].starts_with("FAILED:"), "{seen:?}");
    let anonymous = Served::tls(snapshot(routes, &[app.addr()]), FakeTls::default());
    let before = app.asked().len();
    assert_eq!(anonymous.get("/one").status, 403);
    assert_eq!(anonymous.get("/two").status, 418);
    assert_eq!(app.asked().len(), before, "zero bytes upstream");
    assert_eq!(anonymous.get("/optional").seen().header("x-ssl-client-verify"), ["NONE"]);
}

#[test]
fn a_refusal_may_be_a_page_and_grpc_is_told_in_its_way() {
    let pki = Trust::new("one");
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("no.html");
    std::fs::write(&page, "<h1>bring a certificate</h1>").unwrap();
    let routes = json!([{"path": "/", "clients": {"ca": [pki.file()], "refuse": {"page": {"status": 403, "file": page}}},
        "respond": {"status": 200, "body": "in"}}]);
    let served = Served::tls(snapshot(routes, &[]), FakeTls::default());
    let answer = served.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (403, "<h1>bring a certificate</h1>"));
    let answer = served.ask("POST", "/x.Y/Z", &[("Content-Type", "application/grpc+proto")], "");
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("7")));
}

#[test]
fn error_pages_take_the_place_of_certificate_errors() {
    let pki = Trust::new("one");
    let routes = json!([
        {"path": "/", "clients": {"ca": [pki.file()], "refuse": {"status": 400}}, "respond": {"status": 200, "body": "in"}},
        {"path": "= /none.html", "respond": {"status": 200, "body": "no certificate: $ssl_client_verify"}},
        {"path": "= /bad.html", "respond": {"status": 200, "body": "bad: $ssl_client_verify"}},
    ]);
    let mut snapshot = snapshot(routes, &[]);
    snapshot["listeners"][0]["hosts"][0]["error_pages"] = json!([{"statuses": [496], "to": "/none.html"}, {"statuses": [495], "to": "/bad.html", "status": 200}]);
    let served = Served::tls(snapshot.clone(), FakeTls::default());
    let answer = served.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (400, "no certificate: NONE"));
    let bad = peer(Verification::Unverified, Trust::new("other").chain.clone());
    let served = Served::tls(snapshot, FakeTls { peer: Some(bad), ..FakeTls::default() });
    let answer = served.get("/");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "bad: FAILED:unable to verify the first certificate")
    );
}

#[test]
fn a_host_under_another_policy_is_421() {
    let (pki, server) = (Trust::new("one"), Pki::new());
    let (chain, key) = (&server.server.chain, &server.server.key);
    let tls = |clients: serde_json::Value| json!({"certificates": [{"chain": chain, "key": key}], "clients": clients});
    let routes = json!([ok("/")]);
    let value = json!({"listeners": [{
    "tls": {"certificates": [{"chain": chain, "key": key}]},
    "hosts": [
        {"names": ["open.example"], "routes": routes},
        {"names": ["closed.example"], "tls": tls(json!({"ca": [pki.file()]})), "routes": routes},
        {"names": ["also-open.example"], "routes": routes},
    ]}]});
    let served = Served::tls(value, FakeTls::default());
    let ask = |host| served.ask("GET", "/", &[("Host", host)], "").status;
    assert_eq!(ask("open.example"), 200);
    assert_eq!(ask("also-open.example"), 200);
    assert_eq!(ask("closed.example"), 421);
    assert_eq!(ask("CLOSED.example."), 421);
    assert_eq!(ask("unknown.example"), 200);
    assert!(served.metrics.text().contains("reason=\"misdirected_request\""));
}
