//! The error texts of real programs, produced here and now, must be recognised as the right cause: each case
//! makes one thing wrong, and several programs say what they make of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod programs;
mod servers;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use handfast_probe::explain;
use programs::{Programs, Said, Try};
use testkit::{find_program, free_port, skipped};

/// Who makes connections.
const ALL: [&str; 7] = ["curl", "openssl", "gnutls-cli", "python3", "node", "go", "java"];
/// Who says the reason of a certificate's refusal.
const OPEN: [&str; 4] = ["curl", "openssl", "python3", "node"];

/// What came out: the causes that were recognised, and the texts that were not.
#[derive(Default)]
struct Tally {
    causes: BTreeSet<&'static str>,
    texts: usize,
    wrong: Vec<String>,
}

impl Tally {
    /// Each text must be recognised as one of these causes; an empty list of texts proves nothing.
    fn check(&mut self, case: &str, said: Said, wanted: &[&'static str]) {
        if said.is_empty() {
            self.wrong.push(format!("{case}: no program said anything"));
        }
        for (program, text) in said {
            self.texts += 1;
            match explain::text(&text).map(|cause| cause.id) {
                Some(id) if wanted.contains(&id) => {
                    self.causes.insert(id);
                }
                found => {
                    self.wrong.push(format!("{case}, {program}: {found:?}, not {wanted:?}, for\n{text}"))
                }
            }
        }
    }

    /// At least this many causes, none of them wrong.
    fn finish(self, least: usize) {
        println!("{} texts, {} causes: {:?}", self.texts, self.causes.len(), self.causes);
        assert!(
            self.wrong.is_empty(),
            "{} of {}:\n{}",
            self.wrong.len(),
            self.texts,
            self.wrong.join("\n\n")
        );
        assert!(self.causes.len() >= least, "{} causes only: {:?}", self.causes.len(), self.causes);
    }
}

fn ready() -> bool {
    let missing =
        ["nginx", "openssl", "curl", "python3"].into_iter().find(|name| find_program(name).is_none());
    if let Some(name) = missing {
        skipped(&format!("{name} is not installed"));
    }
    missing.is_none()
}

#[test]
fn what_clients_say_of_a_faulty_server_is_recognised() {
    if !ready() {
        return;
    }
    let programs = Programs::new();
    let (nginx, ports) = servers::nginx(&programs.pki).unwrap();
    let mut tally = Tally::default();
    let fault = |name: &str| Try::to(ports.faults.iter().find(|(fault, _)| *fault == name).unwrap().1);
    let good = Try::to(ports.good);
    for (case, clients, one, wanted) in [
        (
            "unknown root",
            &ALL[..],
            Try { ca: "other.pem", ..good },
            &["unknown-issuer", "intermediate-missing"][..],
        ),
        ("wrong name", &ALL, Try { name: "elsewhere.test", ..good }, &["name-mismatch"]),
        ("plain port", &ALL, Try::to(ports.plain), &["not-tls"]),
        ("nobody listens", &ALL, Try::to(free_port()), &["refused"]),
        (
            "no such host",
            &["curl", "openssl", "python3", "node", "go", "java"],
            Try { host: "no.invalid", name: "no.invalid", ..good },
            &["dns"],
        ),
        ("expired", &ALL, fault("srv-expired"), &["expired"]),
        ("not yet valid", &ALL, fault("srv-not-yet-valid"), &["not-yet-valid", "expired"]),
        // Who falls back on the common name has nothing to say.
        ("no SAN", &["go"], fault("srv-no-san"), &["no-san"]),
        (
            "client certificate",
            &["curl", "openssl", "python3", "node", "go", "java"],
            fault("srv-wrong-usage"),
            &["wrong-usage"],
        ),
        (
            "critical extension",
            &["curl", "openssl", "python3", "node", "go", "java"],
            fault("srv-critical"),
            &["critical-extension"],
        ),
        (
            "path length",
            &["curl", "openssl", "python3", "node", "go", "java"],
            fault("srv-path-length"),
            &["path-length", "unknown-issuer"],
        ),
        (
            "name constraint",
            &["curl", "openssl", "python3", "node", "go", "java"],
            fault("srv-constraint"),
            &["name-constraint", "unknown-issuer"],
        ),
        ("intermediate not sent", &ALL, fault("srv-bare"), &["intermediate-missing", "unknown-issuer"]),
        (
            "private root sent along",
            &OPEN,
            Try { ca: "other.pem", ..fault("srv-rooted") },
            &["self-signed-in-chain"],
        ),
        ("self-signed", &OPEN, fault("srv-self-signed"), &["self-signed"]),
        ("only TLS 1.3", &ALL, Try { old: true, ..Try::to(ports.only_13) }, &["protocol-version"]),
        ("unknown name", &ALL, Try::to(ports.rejecting), &["unrecognized-name"]),
    ] {
        tally.check(case, programs.all_say(clients, one), wanted);
    }
    tally.check(
        "closed at once",
        programs.all_say(&ALL, Try::to(servers::mute(true))),
        &["closed", "truncated"],
    );
    tally.check("never answered", programs.all_say(&["curl"], Try::to(servers::mute(false))), &["timeout"]);
    let http = format!("http://127.0.0.1:{}/", ports.good);
    tally.check("http to https", programs.run("curl", &["-q", "-sS", &http]), &["plain-http-to-tls-port"]);
    let list =
        ["s_client", "-connect", &format!("127.0.0.1:{}", ports.good), "-CAfile", "site.pem", "-crl_check"];
    let said = programs.run("openssl", &[&list[..], &["-verify_return_error"]].concat());
    tally.check("no list", said, &["crl-missing"]);
    let said = programs.all_say(&["curl"], Try::to(ports.proxied));
    let log = nginx.log();
    tally.check("no PROXY header", said, &["closed", "truncated"]);
    let line = log.lines().find(|line| line.contains("PROXY protocol")).unwrap_or(&log).to_owned();
    tally.check("no PROXY header", vec![("nginx", line)], &["proxy-protocol-missing"]);
    tally.finish(20);
}

#[test]
fn what_both_sides_say_of_a_faulty_client_is_recognised() {
    if !ready() {
        return;
    }
    let programs = Programs::new();
    let pki = &programs.pki;
    let mut tally = Tally::default();
    for name in ["good", "expired", "revoked", "other_ca", "wrong_usage"] {
        let (key, cert, out) = (format!("{name}.key"), format!("{name}.crt"), format!("{name}.p12"));
        let store =
            ["pkcs12", "-export", "-inkey", &key, "-in", &cert, "-out", &out, "-passout", "pass:secret"];
        assert!(programs.run("openssl", &store)[0].1.is_empty());
    }
    // What a server of OpenSSL tells its clients, and what it writes itself.
    let verify = ["-Verify", "5", "-verify_return_error", "-CAfile", "clients.pem", "-naccept", "99"];
    let week = (
        time::OffsetDateTime::now_utc() - time::Duration::DAY,
        time::OffsetDateTime::now_utc() + time::Duration::WEEK,
    );
    pki.save("issuing.crl", &pki.issuing.crl(&[&pki.revoked.serial], week));
    let lists = ["-crl_check", "-CRL", "issuing.crl"];
    let (server, port) = servers::s_server(pki, &[&verify[..], &lists].concat());
    // GnuTLS and Java send nothing that the server's list of authorities does not name.
    let senders = ["curl", "openssl", "python3", "node", "go"];
    for (cert, clients, wanted, own) in [
        ("", &ALL[..], &["certificate-required", "handshake-failure"][..], "certificate-required"),
        ("expired", &senders, &["peer-says-expired"], "expired"),
        ("revoked", &senders, &["peer-says-revoked"], "revoked"),
        ("other_ca", &senders, &["peer-unknown-ca"], "unknown-issuer"),
        ("wrong_usage", &senders, &["peer-says-wrong-usage"], "wrong-usage"),
    ] {
        let before = server.output().len();
        tally.check(
            &format!("client {cert}"),
            programs.all_say(clients, Try { cert, ..Try::to(port) }),
            wanted,
        );
        std::thread::sleep(Duration::from_millis(50));
        let log = server.output()[before..].to_owned();
        tally.check(&format!("server of client {cert}"), vec![("openssl", log)], &[own]);
    }
    drop(server);
    let old = [&verify[..], &["-tls1_2"]].concat();
    let (server, port) = servers::s_server(pki, &old);
    tally.check(
        "TLS 1.2 without a certificate",
        programs.all_say(&ALL, Try::to(port)),
        &["handshake-failure"],
    );
    drop(server);
    let (server, port) = servers::s_server(pki, &["-alpn", "imap", "-naccept", "99"]);
    let offering = ["openssl", "gnutls-cli", "python3", "node", "go", "java"];
    tally.check("ALPN", programs.all_say(&offering, Try { alpn: "h2", ..Try::to(port) }), &["no-alpn"]);
    drop(server);
    let (server, port) =
        servers::s_server(pki, &["-tls1_2", "-cipher", "ECDHE-ECDSA-CAMELLIA128-SHA256", "-naccept", "99"]);
    let narrow = ["curl", "python3", "node", "go", "java"];
    let said = programs.all_say(&narrow, Try::to(port));
    tally.check("no cipher in common", said, &["handshake-failure", "no-shared-cipher"]);
    std::thread::sleep(Duration::from_millis(50));
    tally.check("no cipher in common", vec![("openssl", server.output())], &["no-shared-cipher"]);
    drop(server);

    // What nginx writes into its log, one line for each certificate. Go sends whatever it is given.
    let (nginx, ports) = servers::nginx(pki).unwrap();
    let log_of = |tally: &mut Tally, cert: &str, port: u16, wanted: &[&'static str]| {
        let before = nginx.log().len();
        if programs.all_say(&["go"], Try { cert, ..Try::to(port) }).is_empty() {
            return skipped("go is not installed");
        }
        let found =
            |line: &&str| line.contains("client SSL certificate") || line.contains("client sent no required");
        let line = || nginx.log()[before..].lines().find(found).map(str::to_owned);
        let line = (0..100).find_map(|_| {
            line().or_else(|| {
                std::thread::sleep(Duration::from_millis(10));
                None
            })
        });
        tally.check(&format!("nginx, {cert}"), vec![("nginx", line.unwrap_or_default())], wanted);
    };
    for (cert, wanted) in [
        ("self_signed", "self-signed"),
        ("expired", "expired"),
        ("not_yet_valid", "not-yet-valid"),
        ("wrong_usage", "wrong-usage"),
        ("path_too_long", "path-length"),
        ("name_constraint", "name-constraint"),
        ("rsa_1024", "weak-key"),
        ("sha1", "weak-signature"),
        ("critical_extension", "critical-extension"),
        ("missing_intermediate", "intermediate-missing"),
    ] {
        log_of(&mut tally, cert, ports.verifying, &[wanted, "unknown-issuer"]);
    }
    for (cert, wanted) in [("revoked", "revoked"), ("uncovered", "crl-missing"), ("stale", "crl-expired")] {
        log_of(&mut tally, cert, ports.verifying_crl, &[wanted]);
    }
    let page = programs.all_say(&["curl"], Try { cert: "expired", ..Try::to(ports.verifying) });
    tally.check("nginx's page", page, &["client-certificate-rejected"]);
    let page = programs.all_say(&["curl"], Try::to(ports.verifying));
    tally.check("nginx's page", page, &["certificate-required"]);
    tally.finish(20);
}

#[test]
fn what_programs_say_of_files_and_ports_is_recognised() {
    if !ready() {
        return;
    }
    let programs = Programs::new();
    let pki = &programs.pki;
    let dir = programs.dir();
    let mut tally = Tally::default();
    std::fs::write(dir.join("junk.pem"), "this is no PEM\n").unwrap();
    let lock = ["pkcs8", "-topk8", "-in", "good.key", "-out", "locked.key", "-passout", "pass:secret"];
    assert!(programs.run("openssl", &lock)[0].1.is_empty());
    let silent = servers::mute(false);
    let url = &format!("https://127.0.0.1:{silent}/");
    let python = |code: &str| format!("import ssl\nc = ssl.create_default_context()\n{code}");
    let node = |code: &str| {
        format!("const f = require('fs').readFileSync; require('tls').createSecureContext({code})")
    };
    let site = |cert: &str, key: &str| {
        let folder = dir.display();
        format!(
            "server {{ listen 127.0.0.1:{} ssl; ssl_certificate {folder}/{cert}; ssl_certificate_key {folder}/{key}; }}",
            free_port()
        )
    };
    let nginx = |cert: &str, key: &str| vec![("nginx", servers::nginx_check(pki, &site(cert, key)))];

    let mismatch = &["key-mismatch"][..];
    tally.check(
        "pair",
        programs.run("curl", &["-q", "-sS", "--cert", "good.crt", "--key", "server.key", url]),
        &["key-mismatch", "not-pem"],
    );
    tally.check(
        "pair",
        programs.run("python3", &["-c", &python("c.load_cert_chain('good.crt', 'server.key')")]),
        mismatch,
    );
    tally.check(
        "pair",
        programs.run("node", &["-e", &node("{cert: f('good.crt'), key: f('server.key')}")]),
        mismatch,
    );
    tally.check("pair", programs.run("go", &["good.crt", "server.key"]), mismatch);
    tally.check("pair", nginx("good.crt", "server.key"), mismatch);

    let junk = &["not-pem"][..];
    tally.check("junk", programs.run("python3", &["-c", &python("c.load_cert_chain('junk.pem')")]), junk);
    tally.check("junk", programs.run("node", &["-e", &node("{cert: f('junk.pem')}")]), junk);
    tally.check("junk", programs.run("go", &["junk.pem", "junk.pem"]), junk);
    tally.check("junk", programs.run("openssl", &["x509", "-in", "junk.pem", "-noout"]), junk);
    tally.check("junk", nginx("junk.pem", "junk.pem"), junk);

    let missing = &["file-missing"][..];
    tally.check(
        "missing",
        programs.run("python3", &["-c", &python("c.load_cert_chain('nowhere.pem')")]),
        missing,
    );
    tally.check("missing", programs.run("node", &["-e", &node("{cert: f('nowhere.pem')}")]), missing);
    tally.check("missing", programs.run("go", &["nowhere.pem", "nowhere.pem"]), missing);
    tally.check("missing", nginx("nowhere.pem", "good.key"), missing);
    tally.check(
        "missing",
        programs.all_say(&["curl", "java"], Try { ca: "nowhere.pem", ..Try::to(silent) }),
        missing,
    );

    let locked = &["key-locked"][..];
    tally.check(
        "locked",
        programs.run(
            "python3",
            &["-c", &python("c.load_cert_chain('good.crt', 'locked.key', password='wrong')")],
        ),
        &["key-locked", "not-pem"],
    );
    tally.check(
        "locked",
        programs
            .run("node", &["-e", &node("{cert: f('good.crt'), key: f('locked.key'), passphrase: 'wrong'}")]),
        locked,
    );
    tally.check(
        "locked",
        programs.run("openssl", &["pkey", "-in", "locked.key", "-passin", "pass:wrong", "-noout"]),
        locked,
    );

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let in_use = &["port-in-use"][..];
    tally.check("port", programs.run("python3", &["-m", "http.server", "-b", "127.0.0.1", &port]), in_use);
    tally.check(
        "port",
        programs.run("node", &["-e", &format!("require('net').createServer().listen({port}, '127.0.0.1')")]),
        in_use,
    );
    tally.check("port", programs.run("go", &[&port]), in_use);
    tally.check("port", programs.run("java", &[&port]), in_use);
    tally.check(
        "port",
        vec![("nginx", servers::nginx_check(pki, &format!("server {{ listen 127.0.0.1:{port}; }}")))],
        in_use,
    );

    if find_program("keytool").is_some() {
        tally.check(
            "store",
            programs.run("keytool", &["-list", "-keystore", "junk.pem", "-storepass", "secret"]),
            &["key-store"],
        );
    }
    tally.finish(5);
}
