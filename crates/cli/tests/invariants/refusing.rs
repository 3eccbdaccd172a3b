//! Invariants 1, 2 and 5: what a refusal sends, what it leaves behind, and what is not known.

use std::time::Duration;

use testkit::clients::{Attempt, CLIENTS, Version};
use testkit::echo::Echo;
use testkit::free_port;
use testkit::handfast::{Handfast, eventually};
use testkit::pki::Pki;

use crate::site::{PLAIN, Plan, Site};

#[test]
fn invariant_1_a_refused_connection_sends_zero_bytes_upstream_not_even_a_proxy_header() {
    let (pki, echo, port) = (Pki::new(), Echo::start(), free_port());
    let dir = pki.dir().display();
    // Raw TCP, where the upstream connection is made first thing, and a header that is sent before any data.
    let yaml = format!(
        "version: 1
admin: ADMIN
listeners:
- name: raw
  bind: ['127.0.0.1:{port}']
  tls:
    certificates: [{{chain: {dir}/server.crt, key: {dir}/server.key}}]
    clients: {{mode: required, ca: [{dir}/clients.pem], allow: [{{dns: client.test}}]}}
  tcp: {{proxy_protocol: v2, routes: [{{service: echo}}]}}
services:
  echo: {{endpoints: [{{address: '{}'}}], proxy_protocol: v1}}
",
        echo.addr()
    );
    let handfast = Handfast::serve(testkit::binary!(), &yaml);
    for credential in [None, Some(&pki.other_ca), Some(&pki.expired), Some(&pki.stranger)] {
        for client in CLIENTS {
            for version in [Version::Tls12, Version::Tls13] {
                let attempt = Attempt::new(([127, 0, 0, 1], port).into(), version).credential(credential);
                client.connect(&attempt);
            }
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    let counters = echo.counters();
    assert_eq!((counters.connections(), counters.bytes()), (0, 0), "{}", handfast.program.output());
    // The witness works: the good client's bytes arrive.
    let mut attempt = Attempt::new(([127, 0, 0, 1], port).into(), Version::Tls13).credential(Some(&pki.good));
    attempt.enough = 1;
    testkit::clients::Client::OpenSsl.connect(&attempt);
    assert!(counters.reached(attempt.send.len(), Duration::from_secs(3)), "{}", handfast.program.output());
}

#[test]
fn invariant_2_every_refused_request_has_one_line_one_metric_and_one_code() {
    let site = Site::start(Plan {
        routes: "- {path: /address, addresses: [{deny: all}], proxy: {service: app}}
    - {path: /small, body_bytes: 10, proxy: {service: app}}
    - {path: /get, methods: [GET], proxy: {service: app}}
    - {path: /mine, clients: {mode: required, ca: [DIR/clients.pem], allow: [{dns: other.test}]}, proxy: {service: app}}",
        ..PLAIN
    });
    let long = format!("GET / HTTP/1.1\r\nX-Long: {}", "x".repeat(40_000));
    let smuggled = "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked";
    let cases = [
        ("GET /address HTTP/1.1", 403, "HF3034", "address_denied"),
        ("POST /small HTTP/1.1\r\nContent-Length: 100", 413, "HF3039", "body_too_large"),
        ("GET /mine HTTP/1.1", 403, "HF3007", "identity_not_allowed"),
        (&*long, 431, "HF3038", "headers_too_large"),
        (smuggled, 400, "HF3040", "request_invalid"),
    ];
    for (head, status, code, reason) in cases {
        let count = || {
            let label = format!("reason=\"{reason}\"");
            site.handfast.metric("handfast_refusals_total", &[&label])
        };
        // The access log, which repeats the code in the request's line, is apart.
        let refusal = |line: &serde_json::Value| line["code"] == code && line.get("message").is_some();
        let lines = || site.handfast.log().into_iter().filter(refusal).count();
        let (metric, logged) = (count(), lines());
        let seen = site.request(Some(&site.pki.good), head);
        let short = &head[..head.len().min(60)];
        assert_eq!(seen.status(), Some(status), "{short}: {}\n{}", seen.text, site.log());
        assert!(eventually(Duration::from_secs(2), || lines() > logged), "no {code}: {}", site.log());
        assert_eq!(lines() - logged, 1, "{short}: lines with {code}: {}", site.log());
        assert_eq!(count() - metric, 1.0, "{short}: {}", site.handfast.metrics());
        // The peer learns the status only.
        assert!(!seen.read.contains(code) && !seen.read.contains(reason), "{}", seen.read);
    }
    assert_eq!(site.app.counters().bytes(), 0, "{:?}", site.app.asked());
}

#[test]
fn invariant_5_a_policy_whose_authority_is_not_there_lets_nobody_in() {
    // At the start: nothing is served.
    let (pki, port) = (Pki::new(), free_port());
    let yaml = crate::site::yaml(&pki, ([127, 0, 0, 1], 9).into(), port, PLAIN);
    std::fs::remove_file(pki.file("clients.pem")).unwrap();
    let handfast = Handfast::launch(testkit::binary!(), "handfast.yaml", &yaml);
    let finished = handfast.program.finish(Duration::from_secs(10));
    assert_eq!(finished.code, Some(2), "{}", finished.all());
    assert!(finished.err().contains("clients.pem"), "the file is named: {}", finished.all());
    // While it runs: the last good one stays, and a stranger stays out.
    let site = Site::start(PLAIN);
    std::fs::remove_file(site.pki.file("clients.pem")).unwrap();
    site.handfast.program.signal("HUP");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(site.status(None), None, "{}", site.log());
    assert_eq!(site.status(Some(&site.pki.other_ca)), None, "{}", site.log());
    assert_eq!(site.status(Some(&site.pki.good)), Some(200), "{}", site.log());
}
