//! `handfast test` as a command: exit codes, formats, warnings, the environment.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testkit::handfast::Handfast;
use testkit::pki::Pki;
use testkit::program::{Finished, Program};
use testkit::{find_program, free_port, skipped};

fn handfast(dir: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let mut command = Command::new(testkit::binary!());
    command.args(arguments).current_dir(dir).env("NO_COLOR", "1").envs(environment.iter().copied());
    Program::run(&mut command, b"", Duration::from_secs(60))
}

/// A site of our own, mutual or one-way, with static files.
fn site(pki: &Pki, mutual: bool) -> (Handfast, String) {
    let (port, dir) = (free_port(), pki.dir().display());
    let clients = match mutual {
        true => format!(", clients: {{ca: [{dir}/clients.pem], crl: [{dir}/clients.crl]}}"),
        false => String::new(),
    };
    let yaml = format!(
        "version: 1
admin: ADMIN
listeners:
- name: site
  bind: ['127.0.0.1:{port}']
  tls: {{certificates: [{{chain: {dir}/server.crt, key: {dir}/server.key}}]{clients}}}
  hosts: [{{names: [localhost], default: true, routes: [{{files: {{root: '{dir}'}}}}]}}]
"
    );
    (Handfast::serve(testkit::binary!(), &yaml), format!("localhost:{port}"))
}

const MUTUAL: [&str; 18] = [
    "--skip",
    "silence,drips",
    "--ca",
    "site.pem",
    "--cert",
    "good.crt",
    "--key",
    "good.key",
    "--issuer-cert",
    "issuing.pem",
    "--issuer-key",
    "issuing.key",
    "--revoked-cert",
    "revoked.crt",
    "--revoked-key",
    "revoked.key",
    "--http-path",
    "/site.pem",
];

#[test]
fn a_good_mutual_site_gives_0_in_every_format() {
    let pki = Pki::new();
    pki.save("issuing.key", &pki.issuing.key_pem());
    let (_site, at) = site(&pki, true);
    let test = |environment: &[(&str, &str)], more: &[&str]| {
        handfast(pki.dir(), environment, &[&["test", &at], &MUTUAL[..], more].concat())
    };
    let table = test(&[], &[]);
    assert_eq!(table.code, Some(0), "{}", table.all());
    assert!(table.out().contains("0 failed") && !table.out().contains("FAIL"), "{}", table.out());

    let json = test(&[], &["-o", "json"]);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((report["version"].as_u64(), report["failed"].as_u64()), (Some(1), Some(0)), "{report:#}");
    assert_eq!(report["spoken"], serde_json::json!(["TLS 1.2", "TLS 1.3"]));
    let rows = report["rows"].as_array().unwrap();
    let revoked: Vec<_> = rows.iter().filter(|row| row["id"] == "revoked").collect();
    assert_eq!(revoked.len(), 2);
    assert!(revoked.iter().all(|row| row["alert"] == 44 && row["verdict"] == "ok"), "{revoked:#?}");

    let yaml = test(&[("HANDFAST_OUTPUT", "yaml")], &[]);
    let text = yaml.out();
    assert!(text.starts_with("version: 1\n") && text.contains("\n- id: no-certificate\n"), "{text}");
    assert!(serde_json::from_str::<Value>(&text).is_err(), "YAML is not asked for to get JSON");

    for said in ["1", "yes", "on", "true"] {
        let junit = test(&[("HANDFAST_TEST_JUNIT", said)], &[]);
        assert_eq!(junit.code, Some(0), "{said}: {}", junit.all());
        assert!(junit.out().starts_with("<?xml"), "{said}: {}", junit.out());
    }
    let off = test(&[("HANDFAST_TEST_JUNIT", "off")], &["--only", "good"]);
    assert!(off.out().contains("good client certificate"), "{}", off.all());
    let junit = test(&[], &["--junit"]);
    let (suite, cases) = parsed(&junit.stdout);
    assert_eq!(suite["failures"], "0");
    assert_eq!(suite["tests"], cases.len().to_string().as_str());
    assert_eq!(cases.len(), rows.len());
}

/// JUnit XML as Python's parser reads it: the suite's attributes, and each case's name with its children.
fn parsed(xml: &[u8]) -> (Value, Vec<Value>) {
    let script = "import json, sys, xml.etree.ElementTree as t\n\
        suite = t.parse(sys.stdin.buffer).getroot().find('testsuite')\n\
        cases = [{'name': c.get('name'), 'class': c.get('classname'), 'has': [e.tag for e in c],\n\
        'message': ' '.join(e.get('message') or '' for e in c)} for c in suite.findall('testcase')]\n\
        print(json.dumps({'suite': suite.attrib, 'cases': cases}))";
    let read = Program::run(Command::new("python3").args(["-c", script]), xml, Duration::from_secs(20));
    let document: Value = serde_json::from_slice(&read.stdout).unwrap_or_else(|_| panic!("{}", read.all()));
    (document["suite"].clone(), document["cases"].as_array().unwrap().clone())
}

#[test]
fn a_site_that_is_not_as_expected_gives_3_with_cause_and_fix() {
    let pki = Pki::new();
    let (_site, at) = site(&pki, false);
    let only =
        ["--expect", "mutual", "--ca", "site.pem", "--only", "no-certificate,self-signed,server-chain"];
    let arguments = [&["test", &at], &only[..]].concat();
    let table = handfast(pki.dir(), &[], &arguments);
    assert_eq!(table.code, Some(3), "{}", table.all());
    for word in ["FAIL  no client certificate", "never asked", "clients.mode: required", "HF5001"] {
        assert!(table.out().contains(word), "{word}: {}", table.out());
    }
    let junit = handfast(pki.dir(), &[], &[&arguments[..], &["--junit"]].concat());
    assert_eq!(junit.code, Some(3));
    let (suite, cases) = parsed(&junit.stdout);
    assert_eq!((suite["failures"].as_str(), cases.len()), (Some("4"), 5), "{suite} {cases:#?}");
    let failed: Vec<_> = cases.iter().filter(|case| case["has"] == serde_json::json!(["failure"])).collect();
    assert_eq!(failed.len(), 4, "{cases:#?}");
    // The same site is as it should be where nobody expects client certificates.
    let open = ["--expect", "one-way", "--ca", "site.pem", "--skip", "silence,drips"];
    let good = handfast(
        pki.dir(),
        &[("HANDFAST_TEST_HTTP_PATH", "/site.pem")],
        &[&["test", &at], &open[..]].concat(),
    );
    assert_eq!(good.code, Some(0), "{}", good.all());
}

#[test]
fn a_server_that_cannot_be_tried_gives_1_and_a_wrong_command_line_2() {
    let dir = tempfile::tempdir().unwrap();
    let at = format!("127.0.0.1:{}", free_port());
    let closed = handfast(dir.path(), &[], &["test", &at]);
    assert_eq!(closed.code, Some(1), "{}", closed.all());
    assert!(closed.err().contains("HF5101") && closed.err().contains("ss -ltnp"), "{}", closed.err());
    for wrong in [vec!["test"], vec!["test", &at, "--expect", "nonsense"], vec!["test", "http://x/"]] {
        let done = handfast(dir.path(), &[], &wrong);
        assert_eq!(done.code, Some(2), "{wrong:?}: {}", done.all());
    }
    let rows = handfast(dir.path(), &[("HANDFAST_TEST_ROWS", "1")], &["test", "-o", "json"]);
    let list: Value = serde_json::from_slice(&rows.stdout).unwrap();
    assert!(rows.code == Some(0) && list["rows"].as_array().unwrap().len() > 30, "{}", rows.all());
}

#[test]
fn another_alert_than_the_causes_own_is_a_warning_that_can_be_made_to_fail() {
    let Some(openssl) = find_program("openssl") else { return skipped("openssl is not installed") };
    let pki = Pki::new();
    pki.save("issuing.key", &pki.issuing.key_pem());
    let port = free_port();
    let mut server = Command::new(openssl);
    server.args(["s_server", "-www", "-accept", &port.to_string(), "-Verify", "3", "-verify_return_error"]);
    server
        .args(["-cert", "server.crt", "-key", "server.key", "-CAfile", "clients.pem"])
        .current_dir(pki.dir());
    let mut server = Program::start(&mut server);
    server.wait_for("ACCEPT", Duration::from_secs(10), |p| p.stdout().contains("ACCEPT"));
    let at = format!("localhost:{port}");
    // OpenSSL answers bad_certificate where certificate_expired ("or is not currently valid") belongs.
    let only = ["--ca", "site.pem", "--only", "expired,not-yet-valid"];
    let issuer = ["--issuer-cert", "issuing.pem", "--issuer-key", "issuing.key"];
    let arguments = [&["test", &at], &only[..], &issuer].concat();
    let shown = handfast(pki.dir(), &[], &arguments);
    assert_eq!(shown.code, Some(0), "{}", shown.all());
    let out = shown.out();
    assert!(out.contains("warn  client certificate not yet valid"), "{out}");
    assert!(out.contains("refused, but with bad_certificate (42)"), "{out}");
    assert!(out.contains("ok    expired client certificate") && out.contains("2 with a warning"), "{out}");
    let strict = handfast(pki.dir(), &[], &[&arguments[..], &["--fail-on", "warn"]].concat());
    assert_eq!(strict.code, Some(3), "{}", strict.all());
    let strict = handfast(pki.dir(), &[("HANDFAST_TEST_FAIL_ON", "warn")], &arguments);
    assert_eq!(strict.code, Some(3), "{}", strict.all());
}
