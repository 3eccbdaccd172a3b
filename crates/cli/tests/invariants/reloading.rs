//! Invariants 4 and 6: what is wrong never replaces what was right, and a resumed session meets the gate anew.

use std::net::TcpStream;
use std::time::Duration;

use testkit::clients::GoClient;
use testkit::free_port;
use testkit::handfast::eventually;
use testkit::program::Program;

use crate::site::{PLAIN, Plan, Site};

fn refused(site: &Site) -> f64 {
    site.handfast.metric("handfast_reloads_total", &["result=\"refused\""])
}

fn applied(site: &Site) -> f64 {
    site.handfast.metric("handfast_reloads_total", &["result=\"applied\""])
}

fn wait(site: &Site, what: &str, done: impl FnMut() -> bool) {
    assert!(
        eventually(Duration::from_secs(10), done),
        "{what}:\n{}\n{}",
        site.handfast.metrics(),
        site.log()
    );
}

#[test]
fn invariant_4_a_wrong_configuration_is_refused_with_its_reason_and_the_last_good_one_stays() {
    let site = Site::start(PLAIN);
    let good = site.yaml(PLAIN);
    let other = free_port();
    let dir = site.pki.dir().display();
    // A new listener that would be fine, and something else that is wrong: nothing of it may be applied.
    let half = format!(
        "- name: new
  bind: ['127.0.0.1:{other}']
  tls: {{certificates: [{{chain: {dir}/missing.crt, key: {dir}/server.key}}]}}
  hosts: [{{routes: [{{respond: {{status: 200}}}}]}}]"
    );
    let wrong = [
        "version: 1\nlisteners: [".to_owned(),
        good.replace("mode: required", "mode: requried"),
        good.replace("service: app}", "service: nobody}"),
        site.yaml(Plan { listener: &half, ..PLAIN }),
    ];
    for (count, text) in wrong.iter().enumerate() {
        let before = refused(&site);
        site.handfast.rewrite(text);
        site.handfast.program.signal("HUP");
        wait(&site, &format!("wrong configuration {count} is refused"), || refused(&site) > before);
        assert_eq!(site.status(Some(&site.pki.good)), Some(200), "{count}: {}", site.log());
        assert_eq!(site.status(None), None, "{count}: {}", site.log());
        assert!(TcpStream::connect(("127.0.0.1", other)).is_err(), "{count}: half applied: {}", site.log());
    }
    let codes = site.handfast.log().into_iter().filter(|line| line["code"] == "HF4003").count();
    assert!(codes >= wrong.len(), "each refusal says why: {}", site.log());
    // The last good one, written again, ends that without a signal.
    let stale = || site.handfast.metric("handfast_reload_refused", &[]);
    assert!((stale() - 1.0).abs() < f64::EPSILON, "{}", site.handfast.metrics());
    site.handfast.rewrite(&good);
    wait(&site, "what is written is in force again", || stale() == 0.0);
    // And another good one is applied after all of that.
    let before = applied(&site);
    site.handfast.rewrite(&site.yaml(Plan { clients: ", deny: [{dns: client.test}]", ..PLAIN }));
    site.handfast.program.signal("HUP");
    wait(&site, "the good one is applied", || applied(&site) > before);
    assert_eq!(site.status(Some(&site.pki.good)), Some(403), "{}", site.log());
}

#[test]
fn invariant_4_a_broken_certificate_is_refused_and_the_last_good_one_goes_on() {
    let site = Site::start(PLAIN);
    let chain = std::fs::read_to_string(&site.pki.server.chain).unwrap();
    let stranger = std::fs::read_to_string(&site.pki.good.chain).unwrap();
    // Cut short, empty, and a certificate that the key does not belong to.
    for (count, broken) in [&chain[..chain.len() / 2], "", &stranger].into_iter().enumerate() {
        let before = refused(&site);
        site.pki.save("server.crt", broken);
        site.handfast.program.signal("HUP");
        wait(&site, &format!("broken certificate {count} is refused"), || refused(&site) > before);
        assert_eq!(site.status(Some(&site.pki.good)), Some(200), "{count}: {}", site.log());
    }
    // A new pair is served without a signal: the files are watched.
    let renewed = site.pki.site.leaf("renewed", |params| {
        params.subject_alt_names = vec![rcgen_name("app.test")];
    });
    renewed.write(site.pki.dir(), "renewed");
    for suffix in ["key", "crt"] {
        let text = std::fs::read_to_string(site.pki.file(&format!("renewed.{suffix}"))).unwrap();
        site.pki.save(&format!("server.{suffix}"), &text);
    }
    let Some(go) = GoClient::find() else { return testkit::skipped("go is not installed") };
    let addr = format!("127.0.0.1:{}", site.port);
    let served =
        || go.run(&["-addr", &addr, "-servername", "app.test", "-want", "1"]).pop().unwrap().server_leaf;
    wait(&site, "the renewed certificate is served", || served() == renewed.serial);
}

fn rcgen_name(name: &str) -> testkit::pki::SanType {
    testkit::pki::SanType::DnsName(name.try_into().unwrap())
}

#[test]
fn invariant_4_a_reload_drops_no_connection() {
    let site = Site::start(PLAIN);
    let Some(go) = GoClient::find() else { return testkit::skipped("go is not installed") };
    let (addr, good) = (format!("127.0.0.1:{}", site.port), &site.pki.good);
    // An answer that takes two seconds, with three reloads in the middle of it.
    let program = Program::start(go.command().args([
        "-addr",
        &addr,
        "-servername",
        "app.test",
        "-cert",
        good.chain.to_str().unwrap(),
        "-key",
        good.key.to_str().unwrap(),
        "-send",
        "GET /stream/20/100 HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
    ]));
    for clients in [", depth: 4", ", deny: [{dns: client.test}]", ""] {
        std::thread::sleep(Duration::from_millis(300));
        let before = applied(&site);
        let clients = clients.replace(", depth: 4", ", pinned: []");
        site.handfast.rewrite(&site.yaml(Plan { clients: &clients, ..PLAIN }));
        site.handfast.program.signal("HUP");
        wait(&site, "the reload is applied", || applied(&site) > before);
    }
    let finished = program.finish(Duration::from_secs(15));
    let round = testkit::clients::rounds(&finished.out()).pop().unwrap();
    assert!(round.read.starts_with("HTTP/1.1 200"), "{round:?}\n{}", site.log());
    assert!(round.read_bytes > 20 * 1024, "{} bytes: {}", round.read_bytes, site.log());
    assert_eq!(round.closed, "eof", "{}", round.error);
}

#[test]
fn invariant_6_a_resumed_session_passes_the_gate_of_now_not_of_then() {
    let site = Site::start(PLAIN);
    let Some(go) = GoClient::find() else { return testkit::skipped("go is not installed") };
    let (addr, good) = (format!("127.0.0.1:{}", site.port), &site.pki.good);
    let mut program = Program::start(go.command().args([
        "-addr",
        &addr,
        "-servername",
        "app.test",
        "-rounds",
        "2",
        "-wait",
        "-cert",
        good.chain.to_str().unwrap(),
        "-key",
        good.key.to_str().unwrap(),
        "-send",
        "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
    ]));
    program.wait_for("the first round", Duration::from_secs(15), |p| p.stdout().lines().count() == 1);
    site.handfast.rewrite(&site.yaml(Plan { clients: ", deny: [{dns: client.test}]", ..PLAIN }));
    let before = applied(&site);
    site.handfast.program.signal("HUP");
    wait(&site, "the reload is applied", || applied(&site) > before);
    program.write(b"\n");
    let rounds = testkit::clients::rounds(&program.finish(Duration::from_secs(15)).out());
    assert!(rounds[0].read.starts_with("HTTP/1.1 200"), "{rounds:?}");
    assert!(rounds[1].read.starts_with("HTTP/1.1 403"), "{rounds:?}\n{}", site.log());
    assert_eq!(site.app.asked().len(), 1);
}
