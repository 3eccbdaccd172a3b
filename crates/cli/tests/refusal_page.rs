//! The page that a site shows instead of an alert, in a real browser: a person without a certificate reads why.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::process::Command;
use std::time::Duration;

use testkit::handfast::Handfast;
use testkit::http_upstream::HttpUpstream;
use testkit::pki::Pki;
use testkit::program::Program;
use testkit::{find_program, free_port, skipped};

#[test]
fn chromium_shows_the_sites_own_page_to_a_client_without_a_certificate() {
    let Some(chromium) = find_program("chromium") else { return skipped("chromium is not installed") };
    let (pki, app, port) = (Pki::new(), HttpUpstream::start(), free_port());
    let dir = pki.dir().display();
    let page = "<!doctype html><title>Sorry</title><h1 id=\"why\">Ask the helpdesk for a certificate</h1>";
    pki.save("sorry.html", page);
    let site = Handfast::serve(
        testkit::binary!(),
        &format!(
            "version: 1
admin: ADMIN
listeners:
- bind: ['127.0.0.1:{port}']
  name: site
  tls:
    certificates: [{{chain: {dir}/server.crt, key: {dir}/server.key}}]
    clients: {{mode: required, ca: [{dir}/clients.pem], refuse: {{page: {{status: 403, file: {dir}/sorry.html}}}}}}
  hosts: [{{names: [localhost], default: true, routes: [{{proxy: {{service: app}}}}]}}]
services:
  app: {{endpoints: [{{address: '{}'}}]}}
",
            app.addr()
        ),
    );
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(chromium);
    command.args([
        "--headless",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        // Its sandbox does not start as root; the page is our own.
        "--no-sandbox",
        // The server's certificate is another test's subject.
        "--ignore-certificate-errors",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.args(["--dump-dom", &format!("https://localhost:{port}/secret")]);
    let done = Program::run(&mut command, b"", Duration::from_secs(60));
    assert!(
        done.out().contains("Ask the helpdesk for a certificate"),
        "{}\n{}",
        done.all(),
        site.program.output()
    );
    assert_eq!(app.counters().bytes(), 0, "nothing reached the application");
    let refused = testkit::handfast::eventually(Duration::from_secs(3), || {
        site.log().iter().any(|line| line["code"] == "HF3001")
    });
    assert!(refused, "{}", site.program.output());
}
