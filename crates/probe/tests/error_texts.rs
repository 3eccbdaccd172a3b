//! The error texts of real programs, produced here and now, must be recognised as the right cause.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use handfast_probe::explain;
use testkit::nginx::Nginx;
use testkit::pki::Pki;
use testkit::program::Program;
use testkit::{find_program, free_port, skipped};

const GO: &str = r#"package main
import ("crypto/tls"; "crypto/x509"; "fmt"; "os")
func main() {
  pem, _ := os.ReadFile(os.Args[3]); pool := x509.NewCertPool(); pool.AppendCertsFromPEM(pem)
  c, err := tls.Dial("tcp", os.Args[1], &tls.Config{ServerName: os.Args[2], RootCAs: pool})
  if err == nil { _, err = c.Read(make([]byte, 1)) }
  fmt.Println(err)
}"#;

const JAVA: &str = r#"import javax.net.ssl.*; import java.io.*; import java.security.*; import java.security.cert.*;
public class T { public static void main(String[] a) throws Exception {
  KeyStore ks = KeyStore.getInstance(KeyStore.getDefaultType()); ks.load(null, null);
  ks.setCertificateEntry("r", CertificateFactory.getInstance("X.509").generateCertificate(new FileInputStream(a[3])));
  TrustManagerFactory f = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm()); f.init(ks);
  SSLContext c = SSLContext.getInstance("TLS"); c.init(null, f.getTrustManagers(), null);
  try (java.net.Socket p = new java.net.Socket(a[0], Integer.parseInt(a[1]))) {
    SSLSocket s = (SSLSocket) c.getSocketFactory().createSocket(p, a[2], Integer.parseInt(a[1]), true);
    SSLParameters q = s.getSSLParameters(); q.setEndpointIdentificationAlgorithm("HTTPS"); s.setSSLParameters(q);
    s.startHandshake(); System.out.println(s.getInputStream().read());
  } catch (Exception e) { System.out.println(e); } } }"#;

const PYTHON: &str = "import socket, ssl, sys\n\
    c = ssl.create_default_context(cafile=sys.argv[3])\n\
    s = c.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1]))), server_hostname=sys.argv[2])\n\
    print(s.recv(1))\n";

const NODE: &str = "const [p, n, ca] = process.argv.slice(1); const s = require('tls').connect({host: '127.0.0.1', \
    port: +p, servername: n, ca: require('fs').readFileSync(ca)}, () => {}); \
    s.on('error', e => { console.log(e); process.exit(1) })";

/// What each program says when it connects to `port` as `name` and trusts `ca` only.
fn all_say(dir: &Path, port: u16, name: &str, ca: &str) -> Vec<(&'static str, String)> {
    let ca = dir.join(ca).display().to_string();
    let at = format!("127.0.0.1:{port}");
    let digits = port.to_string();
    let url = format!("https://{name}:{port}/");
    let resolve = format!("{name}:{port}:127.0.0.1");
    std::fs::write(dir.join("t.go"), GO).unwrap();
    std::fs::write(dir.join("T.java"), JAVA).unwrap();
    let (go, java) = (dir.join("t.go").display().to_string(), dir.join("T.java").display().to_string());
    let lines: [(&'static str, Vec<&str>); 7] = [
        ("curl", vec!["-sS", "--cacert", &ca, "--resolve", &resolve, &url]),
        (
            "openssl",
            vec![
                "s_client",
                "-connect",
                &at,
                "-CAfile",
                &ca,
                "-verify_hostname",
                name,
                "-verify_return_error",
            ],
        ),
        ("gnutls-cli", vec!["--x509cafile", &ca, "--verify-hostname", name, "-p", &digits, "127.0.0.1"]),
        ("python3", vec!["-c", PYTHON, &digits, name, &ca]),
        ("node", vec!["-e", NODE, &digits, name, &ca]),
        ("go", vec!["run", &go, &at, name, &ca]),
        ("java", vec![&java, "127.0.0.1", &digits, name, &ca]),
    ];
    let mut said = Vec::new();
    for (program, arguments) in lines {
        let Some(path) = find_program(program) else { continue };
        let mut command = Command::new(path);
        command.args(arguments).current_dir(dir);
        let input = if program == "openssl" { "" } else { "GET / HTTP/1.0\r\n\r\n" };
        said.push((program, Program::run(&mut command, input.as_bytes(), Duration::from_secs(60)).all()));
    }
    said
}

fn check(case: &str, said: &[(&'static str, String)], wanted: &[&str]) {
    assert!(said.len() >= 3, "{case}: too few programs are installed");
    let mut wrong = Vec::new();
    for (program, text) in said {
        let found = explain::text(text).map(|cause| cause.id);
        if !found.is_some_and(|id| wanted.contains(&id)) {
            wrong.push(format!("{case}, {program}: {found:?} for\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_real_programs_print_is_recognised() {
    let pki = Pki::new();
    let dir = pki.dir();
    let [tls, plain, expired, required] = [free_port(), free_port(), free_port(), free_port()];
    let folder = dir.display();
    let old = pki.site.leaf("old", |params| {
        let day = time::Duration::DAY;
        params.not_before = time::OffsetDateTime::now_utc() - day * 20;
        params.not_after = time::OffsetDateTime::now_utc() - day;
        params.subject_alt_names = vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    old.write(dir, "old");
    let content = format!(
        "server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {folder}/server.crt;\n\
           ssl_certificate_key {folder}/server.key; location / {{ return 200 ok; }} }}\n\
         server {{ listen 127.0.0.1:{plain}; location / {{ return 200 ok; }} }}\n\
         server {{ listen 127.0.0.1:{expired} ssl; ssl_certificate {folder}/old.crt;\n\
           ssl_certificate_key {folder}/old.key; location / {{ return 200 ok; }} }}"
    );
    let Some(nginx) = Nginx::http(&content, tls) else { return skipped("nginx is not installed") };
    check(
        "unknown root",
        &all_say(dir, tls, "localhost", "other.pem"),
        &["unknown-issuer", "intermediate-missing"],
    );
    check("wrong name", &all_say(dir, tls, "elsewhere.test", "site.pem"), &["name-mismatch"]);
    check("plain port", &all_say(dir, plain, "localhost", "site.pem"), &["not-tls"]);
    check("nobody listens", &all_say(dir, free_port(), "localhost", "site.pem"), &["refused"]);
    check("expired", &all_say(dir, expired, "localhost", "site.pem"), &["expired"]);
    drop(nginx);

    let Some(openssl) = find_program("openssl") else { return skipped("openssl is not installed") };
    let mut server = Command::new(openssl);
    server.args(["s_server", "-accept", &required.to_string(), "-Verify", "2", "-verify_return_error"]);
    server.args(["-cert", "server.crt", "-key", "server.key", "-CAfile", "clients.pem"]).current_dir(dir);
    let mut server = Program::start(&mut server);
    server.wait_for("ACCEPT", Duration::from_secs(10), |p| p.stdout().contains("ACCEPT"));
    let said = all_say(dir, required, "localhost", "site.pem");
    check("certificate required", &said, &["certificate-required", "handshake-failure"]);
    let log = server.output();
    assert_eq!(explain::text(&log).map(|cause| cause.id), Some("certificate-required"), "{log}");
}
