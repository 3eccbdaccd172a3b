//! Wrongly set up nginx, one fault at a time: the proof must show it in its row, and in no good set-up.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::Path;
use std::time::Duration;

use handfast_probe::forge::Issuer;
use handfast_probe::identity::{ClientIdentity, certificates};
use handfast_probe::test::{Credentials, Expect, Plan, Report, Target, Verdict, run};
use testkit::free_port;
use testkit::nginx::Nginx;
use testkit::pki::{Credential, Pki};

/// Rows that OpenSSL cannot satisfy, or that only wait.
const LEFT_OUT: [&str; 3] = ["x509-v1", "silence", "drips"];

fn pair(credential: &Credential) -> ClientIdentity {
    let read = |path: &Path| std::fs::read(path).unwrap();
    ClientIdentity::from_pem(&read(&credential.chain), &read(&credential.key)).unwrap()
}

/// Runs the proof against nginx with this `http {}`; `PORT` and `DIR` are filled in.
fn prove(pki: &Pki, content: &str, change: impl FnOnce(&mut Plan)) -> Option<Report> {
    let port = free_port();
    let content = content.replace("PORT", &port.to_string()).replace("DIR", &pki.dir().display().to_string());
    let Some(_nginx) = Nginx::http(&content, port) else {
        testkit::skipped("nginx is not installed");
        return None;
    };
    let target = Target {
        endpoint: format!("127.0.0.1:{port}").parse().unwrap(),
        name: "localhost".into(),
        other_name: None,
        http_path: Some("/".into()),
    };
    let issuing = pki.issuing.pem();
    let credentials = Credentials {
        good: Some(pair(&pki.good)),
        issuer: Some(Issuer::from_pem(issuing.as_bytes(), pki.issuing.key_pem().as_bytes()).unwrap()),
        revoked: Some(pair(&pki.revoked)),
        stranger: None,
        roots: certificates(pki.site.pem().as_bytes()).unwrap(),
        ..Credentials::default()
    };
    let mut plan = Plan::new(target, credentials, Expect::Mutual);
    plan.timeout = Duration::from_secs(8);
    plan.skip = LEFT_OUT.map(String::from).to_vec();
    change(&mut plan);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut told = 0;
    let report = runtime.block_on(run(plan, |_| told += 1)).unwrap();
    assert_eq!(told, report.rows.len(), "every row is told once");
    Some(report)
}

fn red(report: &Report) -> Vec<&'static str> {
    let mut ids: Vec<_> =
        report.rows.iter().filter(|row| row.verdict == Verdict::Fail).map(|row| row.id).collect();
    ids.dedup();
    ids
}

fn site(rest: &str) -> String {
    site_with("server", rest)
}

fn site_with(server: &str, rest: &str) -> String {
    format!(
        "ssl_certificate DIR/{server}.crt; ssl_certificate_key DIR/{server}.key;\n\
         server {{ listen 127.0.0.1:PORT ssl default_server; server_name localhost;\n{rest}\n\
         location / {{ return 200 ok; }} }}"
    )
}

const TLS: &str = "ssl_protocols TLSv1.2 TLSv1.3;";
const VERIFY: &str = "ssl_client_certificate DIR/clients.pem; ssl_verify_client on; ssl_verify_depth 4;";
const CRL: &str = "ssl_crl DIR/fresh.crl;";

/// The authority with lists that have not expired.
fn pki() -> Pki {
    let pki = Pki::new();
    let now = time::OffsetDateTime::now_utc();
    let week = (now - time::Duration::DAY, now + time::Duration::DAY * 7);
    let lists = pki.clients.crl(&[], week) + &pki.issuing.crl(&[&pki.revoked.serial], week);
    pki.save("fresh.crl", &lists);
    pki
}

#[test]
fn a_well_set_up_mutual_site_is_green() {
    let pki = pki();
    let Some(report) = prove(&pki, &site(&format!("{TLS}{VERIFY}{CRL}")), |_| {}) else { return };
    assert_eq!(red(&report), Vec::<&str>::new(), "{:#?}", report.rows);
    assert!(report.is_good() && report.ok > 30, "{report:#?}");
    assert_eq!(report.spoken.len(), 2);
    // A row that was not tried proves nothing: the bad certificates must all have been made.
    for id in ["rsa-1024", "sha1", "path-too-long", "ca-as-leaf", "revoked", "no-intermediate", "expired"] {
        let tried = report.rows.iter().filter(|row| row.id == id && row.verdict == Verdict::Ok).count();
        assert_eq!(tried, 2, "{id}: {:#?}", report.rows);
    }
}

#[test]
fn verification_off_lets_everybody_in() {
    let pki = pki();
    let Some(report) = prove(&pki, &site(TLS), |_| {}) else { return };
    let found = red(&report);
    for id in ["no-certificate", "self-signed", "other-ca", "expired", "revoked", "rsa-1024", "malformed"] {
        assert!(found.contains(&id), "{id} is not red: {found:?}");
    }
    let row = report.rows.iter().find(|row| row.id == "no-certificate").unwrap();
    assert_eq!(row.code, Some("HF5001"));
    assert!(row.cause.as_deref().unwrap().contains("ssl_verify_client is off"), "{row:?}");
}

#[test]
fn a_site_that_forbids_everything_to_everybody_is_no_mutual_site() {
    let pki = pki();
    let content = site(TLS).replace("return 200 ok", "return 403");
    let Some(report) = prove(&pki, &content, |_| {}) else { return };
    let found = red(&report);
    for id in
        ["no-certificate", "good", "self-signed", "other-ca", "expired", "revoked", "refused-then-resumed"]
    {
        assert!(found.contains(&id), "{id} is not red: {found:?}");
    }
    let without = prove(&pki, &content, |plan| plan.credentials = Credentials::default()).unwrap();
    for report in [&report, &without] {
        let row = report.rows.iter().find(|row| row.id == "no-certificate").unwrap();
        assert!(row.cause.as_deref().unwrap().contains("ssl_verify_client is off"), "{row:?}");
        assert!(row.observed.starts_with("answered, HTTP 403"), "{row:?}");
        assert!(row.fix.as_deref().unwrap().contains("clients.mode: required"), "{row:?}");
    }
    assert!(red(&without).contains(&"self-signed"), "{:?}", red(&without));
    // Where no client certificate is expected, the application may forbid what it likes.
    let open = prove(&pki, &content, |plan| plan.expect = Expect::OneWay).unwrap();
    assert_eq!(red(&open), Vec::<&str>::new());
}

#[test]
fn a_status_that_the_good_certificate_gets_too_refuses_nobody() {
    let pki = pki();
    let verify = VERIFY.replace("client on", "client optional_no_ca");
    let content = site(&format!("{TLS}{verify}")).replace("return 200 ok", "return 403");
    let Some(report) = prove(&pki, &content, |_| {}) else { return };
    let found = red(&report);
    for id in ["no-certificate", "good", "self-signed", "other-ca"] {
        assert!(found.contains(&id), "{id} is not red: {found:?}");
    }
    let row = report.rows.iter().find(|row| row.id == "good").unwrap();
    assert!(row.cause.as_deref().unwrap().contains("without any certificate"), "{row:?}");
    // Without a good pair to compare with, it cannot be told; it must not be green in silence.
    let without = prove(&pki, &content, |plan| plan.credentials = Credentials::default()).unwrap();
    let row = without.rows.iter().find(|row| row.id == "no-certificate").unwrap();
    assert_eq!(row.verdict, Verdict::Warn, "{row:?}");
}

#[test]
fn optional_verification_is_red_where_mutual_is_expected_and_green_where_optional_is() {
    let pki = pki();
    let content = site(&format!("{TLS}{}{CRL}", VERIFY.replace("client on", "client optional")));
    let Some(report) = prove(&pki, &content, |_| {}) else { return };
    assert_eq!(red(&report), ["no-certificate", "refused-then-resumed"]);
    let row = report.rows.iter().find(|row| row.id == "no-certificate").unwrap();
    assert!(row.cause.as_deref().unwrap().contains("ssl_verify_client is optional"), "{row:?}");
    let report = prove(&pki, &content, |plan| plan.expect = Expect::Optional).unwrap();
    assert_eq!(red(&report), Vec::<&str>::new());
}

#[test]
fn optional_no_ca_accepts_what_nobody_signed() {
    let pki = pki();
    let content = site(&format!("{TLS}{}", VERIFY.replace("client on", "client optional_no_ca")));
    let Some(report) = prove(&pki, &content, |_| {}) else { return };
    let found = red(&report);
    for id in ["no-certificate", "self-signed", "other-ca", "no-intermediate", "revoked"] {
        assert!(found.contains(&id), "{id} is not red: {found:?}");
    }
}

#[test]
fn the_wrong_ca_file_refuses_the_good_pair() {
    let pki = pki();
    let content = site(&format!("{TLS}{}", VERIFY.replace("clients.pem", "other.pem")));
    let Some(report) = prove(&pki, &content, |_| {}) else { return };
    assert_eq!(red(&report), ["good"]);
}

#[test]
fn a_missing_crl_lets_the_revoked_in() {
    let pki = pki();
    let Some(report) = prove(&pki, &site(&format!("{TLS}{VERIFY}")), |_| {}) else { return };
    assert_eq!(red(&report), ["revoked"]);
    let row = report.rows.iter().find(|row| row.verdict == Verdict::Fail).unwrap();
    assert!(row.cause.as_deref().unwrap().contains("ssl_crl"), "{row:?}");
}

#[test]
fn old_tls_versions_are_found() {
    let pki = pki();
    let old = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2; ssl_ciphers DEFAULT@SECLEVEL=0;";
    let Some(report) = prove(&pki, &site(&format!("{old}{VERIFY}{CRL}")), |_| {}) else { return };
    let found = red(&report);
    for id in ["tls-1.0", "tls-1.1", "rsa-1024", "sha1"] {
        assert!(found.contains(&id), "{id} is not red: {found:?}");
    }
    assert_eq!(report.spoken.len(), 1);
}

#[test]
fn the_servers_own_faults_are_found() {
    let pki = pki();
    // An expired certificate of another authority, without a server's name.
    let content = site_with("expired", &format!("{TLS}{VERIFY}{CRL}"));
    let Some(report) = prove(&pki, &content, |_| {}) else { return };
    assert_eq!(red(&report), ["server-name", "server-chain", "server-dates", "server-lint"]);
    let wrong_name = |plan: &mut Plan| plan.target.name = "elsewhere.test".into();
    let report = prove(&pki, &site(&format!("{TLS}{VERIFY}{CRL}")), wrong_name).unwrap();
    assert_eq!(red(&report), ["server-name"]);
}

#[test]
fn early_data_and_unknown_names_and_strangers_are_found() {
    let pki = pki();
    let content = site(&format!("{TLS}{VERIFY}{CRL} ssl_early_data on;"));
    let Some(report) = prove(&pki, &content, |plan| {
        plan.names_enforced = true;
        plan.has_list = true;
    }) else {
        return;
    };
    assert_eq!(red(&report), ["not-on-the-list", "early-data", "unknown-name"]);
}

#[test]
fn a_connection_that_says_nothing_for_too_long_is_found() {
    let pki = pki();
    let only = |plan: &mut Plan| {
        plan.skip.clear();
        plan.only = vec!["silence".into(), "drips".into()];
    };
    let good = site(&format!("{TLS}{VERIFY} client_header_timeout 2s;"));
    let Some(report) = prove(&pki, &good, only) else { return };
    assert_eq!(red(&report), Vec::<&str>::new(), "{:#?}", report.rows);
    let report = prove(&pki, &site(&format!("{TLS}{VERIFY}")), only).unwrap();
    assert_eq!(red(&report), ["silence", "drips"]);
    assert!(report.milliseconds < 20_000, "the run is bounded");
}

#[test]
fn a_host_beside_it_without_verification_opens_no_door() {
    let pki = pki();
    let content = format!(
        "{}\nserver {{ listen 127.0.0.1:PORT ssl; server_name other.test; {TLS}\n\
         location / {{ return 200 open; }} }}",
        site(&format!("{TLS}{VERIFY}{CRL}"))
    );
    let Some(report) = prove(&pki, &content, |plan| {
        plan.target.other_name = Some("other.test".into());
        plan.only = vec!["resumed-elsewhere".into(), "misdirected".into()];
    }) else {
        return;
    };
    assert_eq!(report.rows.len(), 4);
    // Patched nginx refuses both; what must not happen is that a row is not tried.
    assert!(report.rows.iter().all(|row| row.verdict == Verdict::Ok), "{:#?}", report.rows);
}

#[test]
fn a_plain_port_and_a_closed_one_are_no_proof() {
    let Some(_) = testkit::find_program("nginx") else {
        return testkit::skipped("nginx is not installed");
    };
    let port = free_port();
    let content = format!("server {{ listen 127.0.0.1:{port}; location / {{ return 200 ok; }} }}");
    let nginx = Nginx::http(&content, port).unwrap();
    let plan = |port: u16| {
        let endpoint = format!("127.0.0.1:{port}").parse().unwrap();
        let target =
            Target { endpoint, name: "localhost".into(), other_name: None, http_path: Some("/".into()) };
        Plan::new(target, Credentials::default(), Expect::OneWay)
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(run(plan(port), |_| {})).unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    drop(nginx);
    let error = runtime.block_on(run(plan(free_port()), |_| {})).unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}
