//! Which endpoint is asked, and what happens when it fails.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::http_upstream::HttpUpstream;

use super::application::{answers, resets, with};
use super::{Served, snapshot, to_app};

/// An address on which nobody listens.
fn closed() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn with_service(endpoints: &[SocketAddr], more: Value) -> Served {
    let mut value = snapshot(to_app(), endpoints);
    for (key, item) in more.as_object().unwrap() {
        value["services"]["app"][key] = item.clone();
    }
    Served::plain(value)
}

#[test]
fn requests_go_round_by_weight() {
    let apps = [HttpUpstream::start(), HttpUpstream::start()];
    let mut value = snapshot(to_app(), &[apps[0].addr(), apps[1].addr()]);
    value["services"]["app"]["endpoints"][0]["weight"] = json!(3);
    let served = Served::plain(value);
    for _ in 0..8 {
        served.get("/");
    }
    assert_eq!(apps.each_ref().map(|app| app.asked().len()), [6, 2]);
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_passed_over_for_any_method() {
    let app = HttpUpstream::start();
    let served = with_service(&[closed(), app.addr()], json!({}));
    for n in 0..4 {
        assert_eq!(served.ask("POST", "/body", &[], "data").text(), "data", "{n}");
    }
    assert_eq!(app.asked().len(), 4);
}

#[test]
fn a_request_that_may_have_had_its_effect_is_not_sent_twice() {
    let (broken, app) = (resets(), HttpUpstream::start());
    let served = with_service(&[broken.addr, app.addr()], json!({"passive_health": {"max_fails": 0}}));
    let statuses: Vec<u16> = (0..2).map(|_| served.ask("POST", "/", &[], "data").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 1, "{statuses:?}");
    assert_eq!(broken.requests.load(SeqCst), 1, "sent once");
    // GET may be.
    let statuses: Vec<u16> = (0..4).map(|_| served.get("/").status).collect();
    assert_eq!(statuses, [200; 4]);
}

#[test]
fn an_endpoint_that_fails_is_left_out_for_a_while() {
    let (broken, app) = (resets(), HttpUpstream::start());
    let served = with_service(
        &[broken.addr, app.addr()],
        json!({"passive_health": {"max_fails": 1, "fail_timeout": "1s"}}),
    );
    for _ in 0..6 {
        assert_eq!(served.get("/").status, 200);
    }
    assert_eq!(broken.requests.load(SeqCst), 1);
    std::thread::sleep(Duration::from_millis(1100));
    for _ in 0..2 {
        assert_eq!(served.get("/").status, 200);
    }
    assert_eq!(broken.requests.load(SeqCst), 2, "then it is tried again");
}

#[test]
fn statuses_are_retried_where_that_is_wanted() {
    let busy =
        answers(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy");
    let app = HttpUpstream::start();
    let served = with_service(
        &[busy.addr, app.addr()],
        json!({"retries": {"attempts": 1, "on": ["connect", {"status": 503}]}}),
    );
    for _ in 0..4 {
        assert_eq!(served.get("/").status, 200);
    }
    let served = with_service(&[busy.addr], json!({"retries": {"attempts": 1, "on": [{"status": 503}]}}));
    assert_eq!(served.get("/").text(), "busy", "the last answer is the answer");
}

#[test]
fn a_budget_bounds_retries() {
    let (one, two) = (resets(), resets());
    let served = with_service(
        &[one.addr, two.addr],
        json!({"passive_health": {"max_fails": 0}, "retries": {"attempts": 3, "budget_percent": 0}}),
    );
    for _ in 0..30 {
        assert_eq!(served.get("/").status, 502);
    }
    let asked = one.requests.load(SeqCst) + two.requests.load(SeqCst);
    assert!((30..=61).contains(&asked), "{asked}");
}

#[test]
fn no_endpoint_is_502_and_no_answer_in_time_is_504() {
    assert_eq!(with_service(&[], json!({})).get("/").status, 502);
    assert_eq!(with_service(&[closed()], json!({})).get("/").status, 502);
    let silent = with(|mut socket, _| {
        super::application::read_head(&mut socket);
        std::thread::sleep(Duration::from_secs(5));
    });
    let served = with_service(&[silent.addr], json!({"timeouts": {"read": "300ms"}}));
    let started = Instant::now();
    assert_eq!(served.get("/").status, 504);
    assert!(started.elapsed() < Duration::from_secs(2));
    let log = served.log(1);
    assert!(log[0].contains("HF4011"), "{log:?}");
}

#[test]
fn an_answer_that_is_no_http_is_502() {
    let served = with_service(&[answers(b"SSH-2.0-OpenSSH_9\r\n").addr], json!({}));
    assert_eq!(served.get("/").status, 502);
    assert!(served.log(1)[0].contains("HF4015"));
}

#[test]
fn an_answer_that_stalls_cuts_the_client_off() {
    let stalls = with(|mut socket, _| {
        super::application::read_head(&mut socket);
        let _ = std::io::Write::write_all(&mut socket, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        std::thread::sleep(Duration::from_secs(5));
    });
    let served = with_service(&[stalls.addr], json!({"timeouts": {"read": "300ms"}}));
    let started = Instant::now();
    let answer = served.get("/");
    assert_eq!(answer.text(), "half");
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
}

#[test]
fn a_backup_serves_when_all_others_are_out() {
    let (app, backup) = (resets(), HttpUpstream::start());
    let mut value = snapshot(to_app(), &[app.addr, backup.addr()]);
    value["services"]["app"]["endpoints"][1]["backup"] = json!(true);
    let served = Served::plain(value);
    for _ in 0..3 {
        assert_eq!(served.get("/").status, 200);
    }
    assert_eq!(app.requests.load(SeqCst), 1);
}

#[test]
fn an_application_that_speaks_http_1_0_gets_a_body_with_a_length() {
    let app = HttpUpstream::start();
    let served = with_service(&[app.addr()], json!({"protocol": "http10"}));
    let chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let text = served.raw(chunked);
    let seen: testkit::http_upstream::Asked =
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((seen.version.as_str(), seen.body_bytes), ("HTTP/1.0", 3));
    assert_eq!(seen.header("content-length"), ["3"]);
    served.get("/");
    assert_eq!(app.counters().connections(), 2, "one request per connection");
}
