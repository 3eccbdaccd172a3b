//! Many requests at once over HTTP/2 and TLS, from a load generator that is not ours: none may fail.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::process::Command;
use std::time::Duration;

use testkit::handfast::Handfast;
use testkit::http_upstream::HttpUpstream;
use testkit::pki::Pki;
use testkit::program::Program;
use testkit::{find_program, free_port, skipped};

#[test]
fn every_request_of_h2load_succeeds_over_h2() {
    let Some(h2load) = find_program("h2load") else {
        return skipped("h2load (nghttp2-client) is not installed");
    };
    let (pki, app, port) = (Pki::new(), HttpUpstream::start(), free_port());
    let dir = pki.dir().display();
    let site = Handfast::serve(
        testkit::binary!(),
        &format!(
            "version: 1
admin: ADMIN
listeners:
- bind: ['127.0.0.1:{port}']
  name: site
  tls: {{certificates: [{{chain: {dir}/server.crt, key: {dir}/server.key}}]}}
  hosts: [{{names: [localhost], default: true, routes: [{{proxy: {{service: app}}}}]}}]
services:
  app: {{endpoints: [{{address: '{}'}}]}}
",
            app.addr()
        ),
    );
    let mut command = Command::new(h2load);
    // 2,000 requests on 20 connections with 10 streams each.
    command.args(["-n", "2000", "-c", "20", "-m", "10", "-t", "1", "--npn-list=h2"]);
    command.arg(format!("https://localhost:{port}/"));
    let done = Program::run(&mut command, b"", Duration::from_secs(60));
    let text = done.all();
    assert_eq!(done.code, Some(0), "{text}");
    assert!(text.contains("Application protocol: h2") && text.contains("TLS Protocol: TLSv1.3"), "{text}");
    let wanted =
        "requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(text.contains(wanted), "{text}\n{}", site.program.output());
    assert!(text.contains("status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{text}");
    assert_eq!(app.asked().len(), 2000, "each reached the application once");
}
