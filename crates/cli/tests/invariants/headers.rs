//! Invariant 7: identity headers from outside are stripped before ours are set, in every spelling.

use testkit::handfast::Handfast;
use testkit::program::Program;

use crate::site::{PLAIN, Plan, Site};

/// Every form of identity that any of the three switches sets, in the spellings that frameworks fold together.
const SPOOFED: [&str; 14] = [
    "x-forwarded-client-cert",
    "X-Forwarded-Client-Cert",
    "X_Forwarded_Client_Cert",
    "Client-Cert",
    "client_cert",
    "Client-Cert-Chain",
    "X-SSL-Client-Verify",
    "x-ssl-client-verify",
    "X_SSL_Client_Verify",
    "X-SSL-Client-S-DN",
    "X-SSL-Client-I-DN",
    "X-SSL-Client-Serial",
    "X-SSL-Client-Fingerprint",
    "X-SSL-Client-Cert",
];

fn reaches_the_application(site: &Site, http: &str) -> Vec<(String, String)> {
    let url = format!("https://app.test:{}/headers", site.port);
    let resolve = format!("app.test:{}:127.0.0.1", site.port);
    let mut command = std::process::Command::new("curl");
    command.args(["-q", "-s", "-S", "-k", "--max-time", "10", http, "--resolve", &resolve]);
    command.arg("--cert").arg(&site.pki.good.chain).arg("--key").arg(&site.pki.good.key);
    for (n, name) in SPOOFED.iter().enumerate() {
        command.args(["-H", &format!("{name}: spoofed-{n}"), "-H", &format!("{name}: spoofed-again-{n}")]);
    }
    // Declaring it hop by hop must not make it survive, nor take ours away.
    command.args(["-H", "Connection: x-forwarded-client-cert, client-cert, x-ssl-client-verify", &url]);
    let finished = Program::run(&mut command, b"", std::time::Duration::from_secs(15));
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.all(), site.log());
    let asked = site.app.asked().pop().unwrap_or_else(|| panic!("{}\n{}", finished.all(), site.log()));
    asked.headers
}

#[test]
fn invariant_7_identity_headers_from_outside_never_reach_the_application() {
    for (identity, ours) in [
        ("off", &[][..]),
        ("xfcc", &["x-forwarded-client-cert"]),
        ("rfc9440", &["client-cert", "client-cert-chain"]),
        ("nginx", &["x-ssl-client-verify", "x-ssl-client-serial"]),
    ] {
        let proxy = format!(", identity: '{identity}'");
        let site = Site::start(Plan { proxy: &proxy, ..PLAIN });
        for http in ["--http1.1", "--http2"] {
            let headers = reaches_the_application(&site, http);
            let spoofed: Vec<_> = headers.iter().filter(|(_, value)| value.contains("spoofed")).collect();
            assert!(spoofed.is_empty(), "{identity} {http}: {spoofed:?}");
            for name in ours {
                let values: Vec<_> = headers.iter().filter(|(n, _)| n == name).collect();
                assert_eq!(values.len(), 1, "{identity} {http}: {name} in {headers:?}");
            }
            if identity == "xfcc" {
                let (_, value) = headers.iter().find(|(name, _)| name == "x-forwarded-client-cert").unwrap();
                assert!(value.contains("URI=spiffe://cluster.local/ns/local/sa/client"), "{value}");
            }
        }
    }
}

#[test]
fn invariant_7_holds_where_nobody_is_asked_for_a_certificate() {
    let site = Site::start(PLAIN);
    let open = testkit::free_port();
    let dir = site.pki.dir().display();
    let yaml = format!(
        "version: 1
admin: ADMIN
listeners:
- name: plain
  bind: ['127.0.0.1:{open}']
  hosts: [{{routes: [{{proxy: {{service: app}}}}]}}]
services:
  app: {{endpoints: [{{address: '{}'}}]}}
# {dir}
",
        site.app.addr()
    );
    let plain = Handfast::serve(testkit::binary!(), &yaml);
    let mut command = std::process::Command::new("curl");
    command.args(["-q", "-s", "-S", "--max-time", "10"]);
    for name in SPOOFED {
        command.args(["-H", &format!("{name}: spoofed")]);
    }
    command.arg(format!("http://127.0.0.1:{open}/"));
    let finished = Program::run(&mut command, b"", std::time::Duration::from_secs(15));
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.all(), plain.program.output());
    let asked = site.app.asked().pop().unwrap();
    let spoofed: Vec<_> = asked.headers.iter().filter(|(_, value)| value.contains("spoofed")).collect();
    assert!(spoofed.is_empty(), "{spoofed:?}");
}
