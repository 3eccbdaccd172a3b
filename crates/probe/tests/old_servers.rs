//! The worst servers, as `openssl s_server` can still be made to be: they must be found, not called untestable.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::process::Command;
use std::time::Duration;

use handfast_probe::identity::certificates;
use handfast_probe::test::{Credentials, Expect, Plan, Report, Row, Target, Verdict, run};
use testkit::pki::Pki;
use testkit::program::Program;
use testkit::{find_program, free_port, skipped};

/// Runs the rows about the protocol and the server against `openssl s_server -www` with these arguments.
fn prove(pki: &Pki, expect: Expect, arguments: &[&str]) -> Option<Report> {
    let Some(openssl) = find_program("openssl") else {
        skipped("openssl is not installed");
        return None;
    };
    let port = free_port();
    let mut command = Command::new(openssl);
    command.args(["s_server", "-www", "-accept", &port.to_string()]).args(arguments).current_dir(pki.dir());
    let mut server = Program::start(&mut command);
    server.wait_for("ACCEPT", Duration::from_secs(10), |p| p.stdout().contains("ACCEPT"));
    let target = Target {
        endpoint: format!("127.0.0.1:{port}").parse().unwrap(),
        name: "localhost".into(),
        other_name: None,
        http_path: Some("/".into()),
    };
    let roots = certificates(pki.site.pem().as_bytes()).unwrap();
    let mut plan = Plan::new(target, Credentials { roots, ..Credentials::default() }, expect);
    plan.timeout = Duration::from_secs(5);
    plan.skip = ["silence", "drips", "oversized"].map(String::from).to_vec();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Some(runtime.block_on(run(plan, |_| {})).unwrap())
}

fn red(report: &Report) -> Vec<&'static str> {
    let failed = report.rows.iter().filter(|row| row.verdict == Verdict::Fail);
    let mut ids: Vec<_> = failed.map(|row| row.id).collect();
    ids.dedup();
    ids
}

fn row<'a>(report: &'a Report, id: &str) -> &'a Row {
    report.rows.iter().find(|row| row.id == id).unwrap()
}

const PAIR: [&str; 4] = ["-cert", "server.crt", "-key", "server.key"];

#[test]
fn a_server_of_tls_1_0_and_1_1_only_is_red() {
    let pki = Pki::new();
    let old = ["-no_tls1_2", "-no_tls1_3", "-cipher", "DEFAULT@SECLEVEL=0"];
    let Some(report) = prove(&pki, Expect::OneWay, &[&PAIR[..], &old].concat()) else { return };
    assert!(report.spoken.is_empty() && !report.is_good(), "{report:#?}");
    for id in ["current-tls", "tls-1.0", "tls-1.1"] {
        assert!(red(&report).contains(&id), "{id}: {:?}", red(&report));
    }
    let current = row(&report, "current-tls");
    assert!(current.observed.contains("only TLS 1.1 with TLS_"), "{current:?}");
    // Its certificate was sent in the clear, and is judged all the same.
    assert_eq!(row(&report, "server-name").verdict, Verdict::Ok, "{report:#?}");
}

#[test]
fn a_server_with_ciphers_of_the_past_only_is_red() {
    let pki = Pki::new();
    let old = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA@SECLEVEL=0"];
    let Some(report) = prove(&pki, Expect::OneWay, &[&PAIR[..], &old].concat()) else { return };
    assert_eq!(red(&report), ["current-tls"], "{report:#?}");
    let current = row(&report, "current-tls");
    assert!(current.observed.ends_with("TLS 1.2 with TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"), "{current:?}");
}

#[test]
fn a_server_with_a_key_of_1024_bits_is_tried_and_its_key_is_the_finding() {
    let pki = Pki::new();
    let dir = pki.dir();
    let make = ["req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "20", "-subj", "/CN=localhost"];
    let Some(openssl) = find_program("openssl") else { return skipped("openssl is not installed") };
    let files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "weak.key", "-out", "weak.crt"];
    let made = Command::new(openssl).args(make).args(files).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let weak = ["-cert", "weak.crt", "-key", "weak.key", "-cipher", "DEFAULT@SECLEVEL=0"];
    let Some(open) = prove(&pki, Expect::OneWay, &weak) else { return };
    assert_eq!(row(&open, "no-certificate").verdict, Verdict::Ok, "{open:#?}");
    assert!(row(&open, "server-lint").observed.contains("1024 bits"), "{open:#?}");
    assert!(red(&open).contains(&"server-lint"), "{open:#?}");
    let verify = ["-Verify", "3", "-verify_return_error", "-CAfile", "clients.pem"];
    let closed = prove(&pki, Expect::Mutual, &[&weak[..], &verify].concat()).unwrap();
    for row in closed.rows.iter().filter(|row| row.id == "no-certificate") {
        assert_eq!(row.verdict, Verdict::Ok, "{row:?}");
    }
}
