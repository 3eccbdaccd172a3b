//! The gate and what lies around it: nothing of a refused request reaches a service, inner routes are behind the
//! guards of outer ones, and a path's own policy takes the place of the host's.

use model::peer::Verification;
use serde_json::json;
use testkit::http_upstream::HttpUpstream;
use testkit::pki::Pki;

use super::access::{Trust, ok, peer};
use super::{FakeTls, Served, snapshot, to_app};

/// A snapshot whose host requires a certificate of this authority.
fn requiring(trust: &Trust, routes: serde_json::Value, apps: &[std::net::SocketAddr]) -> serde_json::Value {
    let site = Pki::new();
    let mut value = snapshot(routes, apps);
    value["listeners"][0]["tls"] = json!({
        "certificates": [{"chain": site.server.chain, "key": site.server.key}],
        "clients": {"ca": [trust.file()], "refuse": {"status": 403}},
    });
    // The files are read when the state is made, which is before this folder goes.
    std::mem::forget(site);
    value
}

fn known(trust: &Trust) -> FakeTls {
    FakeTls { peer: Some(peer(Verification::Verified, trust.chain.clone())), ..FakeTls::default() }
}

#[test]
fn a_page_about_a_refusal_never_comes_from_a_service() {
    let (app, trust) = (HttpUpstream::start(), Trust::new("one"));
    let mut value = requiring(&trust, to_app(), &[app.addr()]);
    value["listeners"][0]["hosts"][0]["error_pages"] =
        json!([{"statuses": [403, 421, 495, 496, 497], "to": "/error.html"}]);
    let anonymous = Served::tls(value.clone(), FakeTls::default());
    let answer = anonymous.ask("GET", "/", &[("Cookie", "secret=1")], "");
    assert_eq!(answer.status, 403, "{}", answer.text());
    let stranger = Served::tls(value.clone(), known(&Trust::new("other")));
    assert_eq!(stranger.get("/").status, 403);
    // Plain HTTP on the TLS port asks no policy at all.
    assert_eq!(Served::plain(value.clone()).get("/").status, 400);
    assert_eq!(app.asked().len(), 0, "zero bytes upstream");
    assert_eq!(Served::tls(value, known(&trust)).get("/").status, 200);
    assert_eq!(app.asked().len(), 1);
}

#[test]
fn an_inner_route_is_behind_the_guards_of_the_outer_one() {
    let trust = Trust::new("one");
    let routes = json!([
        {"path": "/adm/", "clients": {"ca": [trust.file()], "refuse": {"status": 403}}, "respond": {"status": 200},
         "routes": [ok("/adm/inner/")]},
        {"path": "/inside/", "addresses": [{"deny": "all"}], "respond": {"status": 200},
         "routes": [ok("/inside/inner/"),
            {"path": "/inside/open/", "addresses": [{"allow": "all"}], "respond": {"status": 200, "body": "open"}}]},
    ]);
    let anonymous = Served::tls(snapshot(routes.clone(), &[]), FakeTls::default());
    assert_eq!(anonymous.get("/adm/inner/x").status, 403);
    assert_eq!(anonymous.get("/inside/inner/x").status, 403);
    assert_eq!(anonymous.get("/inside/open/x").status, 200);
    let known = Served::tls(snapshot(routes, &[]), known(&trust));
    assert_eq!(known.get("/adm/inner/x").status, 200);
}

#[test]
fn a_path_with_its_own_authority_takes_the_place_of_the_hosts_policy() {
    let (people, machines) = (Trust::new("people"), Trust::new("machines"));
    let routes = json!([
        ok("/"),
        {"path": "/machines/", "clients": {"ca": [machines.file()], "refuse": {"status": 403}},
         "respond": {"status": 200, "body": "machine"}},
        {"path": "= /moved", "respond": {"status": 301, "body": "/"}},
    ]);
    let value = requiring(&people, routes, &[]);
    let status = |tls: FakeTls, path: &str| Served::tls(value.clone(), tls).get(path).status;
    assert_eq!(status(known(&people), "/"), 200);
    assert_eq!(status(known(&people), "/machines/1"), 403);
    assert_eq!(status(known(&machines), "/machines/1"), 200);
    assert_eq!(status(known(&machines), "/"), 403);
    assert_eq!(status(known(&machines), "/moved"), 403);
    assert_eq!(status(FakeTls::default(), "/machines/1"), 403);
    assert_eq!(
        status(FakeTls::default(), "/nowhere"),
        403,
        "what does not exist is behind the host's policy"
    );
}

#[test]
fn a_request_that_cannot_be_sent_says_nothing_of_the_endpoints() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr(), app.addr()]));
    // Not in its one form, so that it is written anew, each ^ as three bytes: longer than a target may be.
    let long = format!("/./two{}", "^".repeat(22_500));
    for _ in 0..4 {
        assert_eq!(served.get(&long).status, 400);
    }
    assert_eq!(served.get("/").status, 200);
}
